//! What services and commands show in place of an operator's password.
//!
//! The token itself is a secret ([`OperatorToken`](crate::OperatorToken)); this
//! is what the registry keeps of one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::entropy::{Entropy, url_safe};
use crate::operator::OperatorName;
use crate::secret::TokenDigest;

/// What a token is called: 10 characters of `[A-Za-z0-9_-]`, no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(Arc<str>);

/// A text is not a token's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token's id is 10 characters of A-Z a-z 0-9 _ -; `firstwake token list` shows them")]
pub struct InvalidTokenId;

impl TokenId {
    const LENGTH: usize = 10;

    /// Draws a new id. It never starts with `-`, as it is given to commands.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            let id = url_safe(entropy, Self::LENGTH);
            if !id.starts_with('-') {
                return Self(id.as_str().into());
            }
        }
    }

    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenId> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.len() == Self::LENGTH && text.bytes().all(in_alphabet) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTokenId)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;

    fn try_from(text: String) -> Result<Self, InvalidTokenId> {
        Self::parse(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// A token as the registry keeps it. It has the rights that its operator has
/// when it is used, and ends with its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called.
    pub id: TokenId,
    /// Whose it is.
    pub operator: OperatorName,
    /// What it is for, in its operator's words.
    pub label: String,
    /// What it is found by.
    pub digest: TokenDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is of no use.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// Whether it may still be used.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn ids() {
        let id = TokenId::generate(&Counting::default());
        assert_eq!(TokenId::parse(id.as_str()), Ok(id));
        for wrong in ["", "short", "has spaces", "elevenchars"] {
            assert!(TokenId::parse(wrong).is_err(), "{wrong}");
        }
    }
}
