//! People and services that log in with a name and a password.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, SaltString};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credential::Shape;
use crate::entropy::Entropy;
use crate::topic::TopicFilter;

/// An operator or a service, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// What it logs in with.
    pub name: OperatorName,
    /// Counts the writes to this operator.
    pub version: u64,
    /// Argon2id; the password itself is kept nowhere.
    pub password: PasswordHash,
    /// What it may do by default.
    pub role: Role,
    /// Topics it may publish to, beside those of its role.
    pub publish: Vec<TopicFilter>,
    /// Topics it may read, beside those of its role.
    pub subscribe: Vec<TopicFilter>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// The rights that an operator has by default. Roles are ordered: each may do
/// more than the one before. `docs/operators.md` lists the rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    // Rows hold the position in this list: a new role comes at its end.
    /// Watches.
    Viewer,
    /// Watches and talks to devices.
    Operator,
    /// Everything an operator can be allowed.
    Admin,
    /// Has requests that devices signed verified, and may do nothing else: the
    /// role of an API server that asks which device it speaks with.
    Verifier,
}

impl Role {
    /// All roles, from the least to the most, as a command line offers them.
    pub const ALL: [Self; 4] = [Self::Verifier, Self::Viewer, Self::Operator, Self::Admin];

    const fn rank(self) -> u8 {
        match self {
            Self::Verifier => 0,
            Self::Viewer => 1,
            Self::Operator => 2,
            Self::Admin => 3,
        }
    }

    /// The name in commands and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Verifier => "verifier",
        }
    }
}

impl Ord for Role {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Role {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| "use verifier, viewer, operator or admin".to_owned())
    }
}

/// Why a text is no operator's name or password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOperator {
    /// See [`OperatorName`].
    #[error("an operator's name is 1 to 32 of a-z A-Z 0-9 . _ - @, and starts with a letter")]
    Name,
    /// Too short, or too long to hash in good time.
    #[error("an operator's password has 12 to 128 characters")]
    PasswordLength,
    /// It would be taken for a device's credential before anybody looked at the name.
    #[error(
        "this text has the shape of an activation code, an API key or a signed login; choose another"
    )]
    LooksLikeDevice,
}

/// 1 to 32 characters of `[A-Za-z0-9._@-]`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperatorName(Arc<str>);

impl OperatorName {
    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidOperator> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(in_alphabet);
        if fits && text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidOperator::Name)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OperatorName {
    type Err = InvalidOperator;

    fn from_str(text: &str) -> Result<Self, InvalidOperator> {
        Self::parse(text)
    }
}

impl TryFrom<String> for OperatorName {
    type Error = InvalidOperator;

    fn try_from(text: String) -> Result<Self, InvalidOperator> {
        Self::parse(&text)
    }
}

impl From<OperatorName> for String {
    fn from(name: OperatorName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// An Argon2id hash in PHC text form, with its own salt and cost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a new password. Slow by design: call it off the async threads.
    pub fn create(password: &str, entropy: &dyn Entropy) -> Result<Self, InvalidOperator> {
        if !(12..=128).contains(&password.chars().count()) {
            return Err(InvalidOperator::PasswordLength);
        }
        if Shape::of(password.as_bytes()) != Shape::Other {
            return Err(InvalidOperator::LooksLikeDevice);
        }
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let hash = SaltString::encode_b64(&salt).and_then(|salt| {
            Ok(Argon2::default()
                .hash_password(password.as_bytes(), &salt)?
                .to_string())
        });
        #[expect(
            clippy::expect_used,
            reason = "16 bytes of salt and default costs are valid"
        )]
        Ok(Self(hash.expect("a valid salt and valid costs")))
    }

    /// Holds a password against the hash. Slow by design: call it off the
    /// async threads.
    pub fn verify(&self, password: &[u8]) -> bool {
        argon2::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
impl Operator {
    pub(crate) fn for_tests(name: OperatorName, role: Role) -> Self {
        Self {
            name,
            version: 0,
            password: PasswordHash(String::new()),
            role,
            publish: Vec::new(),
            subscribe: Vec::new(),
            created_at: Timestamp::from_millis(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn names() {
        for fine in ["a", "ops", "alice@example.com", "svc_1"] {
            assert!(OperatorName::parse(fine).is_ok(), "{fine}");
        }
        for wrong in ["", "1a", "-a", "a b", "a/b", "é", &"a".repeat(33)] {
            assert!(OperatorName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }

    #[test]
    fn passwords_are_hashed_and_checked() {
        let entropy = Counting::default();
        let hash = PasswordHash::create("correct horse", &entropy).expect("long enough");
        assert!(hash.verify(b"correct horse"));
        assert!(!hash.verify(b"correct hors"));
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
    }

    #[test]
    fn passwords_that_look_like_a_device_are_refused() {
        let check = |password: &str, expected| {
            assert_eq!(
                PasswordHash::create(password, &Counting::default()).err(),
                expected
            );
        };
        check("short", Some(InvalidOperator::PasswordLength));
        check(&"x".repeat(129), Some(InvalidOperator::PasswordLength));
        check(&"a1".repeat(20), Some(InvalidOperator::LooksLikeDevice));
        check(&"A_-9".repeat(12), Some(InvalidOperator::LooksLikeDevice));
        check(
            "eyJhbGci.eyJzdWIi.c2lnbmF0",
            Some(InvalidOperator::LooksLikeDevice),
        );
    }
}
