//! What a peer showed, told apart by shape alone.
//!
//! A credential is classified once and never tried as one kind after another:
//! nothing can be guessed by being offered twice, and what has no shape costs
//! no hash.

use std::fmt;

use crate::code::ActivationCode;
use crate::secret::{ApiKey, OperatorToken, TOKEN_PREFIX};

/// The shape of one field, username or password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 40 hex characters.
    ActivationCode,
    /// 48 characters of the key alphabet.
    ApiKey,
    /// The same, beginning as tokens of operators do.
    OperatorToken,
    /// Three base64url parts with dots between: a signed login.
    Token,
    /// None of these.
    Other,
}

impl Shape {
    /// Tells the shape of a field.
    pub fn of(field: &[u8]) -> Self {
        let in_key_alphabet =
            |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
        if field.len() == 40 && field.iter().all(u8::is_ascii_hexdigit) {
            return Self::ActivationCode;
        }
        if field.len() == ApiKey::LENGTH && field.iter().all(in_key_alphabet) {
            return match field.starts_with(TOKEN_PREFIX.as_bytes()) {
                true => Self::OperatorToken,
                false => Self::ApiKey,
            };
        }
        let parts: Vec<&[u8]> = field.split(|byte| *byte == b'.').collect();
        if parts.len() == 3
            && parts
                .iter()
                .all(|part| !part.is_empty() && part.iter().all(in_key_alphabet))
        {
            return Self::Token;
        }
        Self::Other
    }
}

/// A token as it came: whoever reads it in a log could use it.
pub struct SignedText<'a>(pub(crate) &'a str);

impl fmt::Debug for SignedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedText(…)")
    }
}

/// What a peer showed, parsed.
#[derive(Debug)]
pub enum Credential<'a> {
    /// A device's code, with the name it gave.
    Code {
        /// `SERIAL` or `PRODUCT_ID/SERIAL`, not yet parsed.
        username: &'a str,
        /// The code.
        code: ActivationCode,
    },
    /// A device's key. The username may be absent, may name the device, or,
    /// Xively's way, may have been the key itself.
    Key {
        /// What else the peer called itself.
        username: Option<&'a str>,
        /// The key.
        key: ApiKey,
    },
    /// A signed login.
    Token {
        /// What else the peer called itself.
        username: Option<&'a str>,
        /// The token, not yet read.
        token: SignedText<'a>,
    },
    /// An operator's token. The username may be absent, may be the operator's
    /// name, or, as with keys, may have been the token itself.
    OperatorToken {
        /// What else the peer called itself.
        username: Option<&'a str>,
        /// The token.
        token: OperatorToken,
    },
    /// Perhaps an operator's password.
    Password {
        /// The name it belongs to.
        username: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// Neither username nor password.
    Nothing,
    /// Something without a shape.
    Malformed,
}

impl<'a> Credential<'a> {
    /// Classifies what a peer showed.
    pub fn classify(username: Option<&'a str>, password: Option<&'a [u8]>) -> Self {
        let username = username.filter(|name| !name.is_empty());
        let text = |field: &'a [u8]| std::str::from_utf8(field).unwrap_or_default();
        match (username, password.map(|field| (Shape::of(field), field))) {
            (_, Some((Shape::Token, field))) => Self::Token {
                username,
                token: SignedText(text(field)),
            },
            (Some(username), Some((Shape::ActivationCode, field))) => {
                ActivationCode::parse(text(field))
                    .map_or(Self::Malformed, |code| Self::Code { username, code })
            }
            (_, Some((Shape::ApiKey, field))) => {
                ApiKey::parse(text(field)).map_or(Self::Malformed, |key| Self::Key {
                    // The key in both places names nobody else.
                    username: username.filter(|name| name.as_bytes() != field),
                    key,
                })
            }
            (_, Some((Shape::OperatorToken, field))) => {
                OperatorToken::parse(text(field)).map_or(Self::Malformed, |token| {
                    Self::OperatorToken { username, token }
                })
            }
            (Some(name), _) if Shape::of(name.as_bytes()) == Shape::OperatorToken => {
                OperatorToken::parse(name).map_or(Self::Malformed, |token| Self::OperatorToken {
                    username: None,
                    token,
                })
            }
            (Some(name), _) if Shape::of(name.as_bytes()) == Shape::ApiKey => ApiKey::parse(name)
                .map_or(Self::Malformed, |key| Self::Key {
                    username: None,
                    key,
                }),
            (Some(username), Some((Shape::Other, password))) => {
                Self::Password { username, password }
            }
            (None, None) => Self::Nothing,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
    const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST_-";
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    fn kind(username: Option<&str>, password: Option<&str>) -> &'static str {
        match Credential::classify(username, password.map(str::as_bytes)) {
            Credential::Code { .. } => "code",
            Credential::Key { username: None, .. } => "key alone",
            Credential::Key { .. } => "key",
            Credential::Token { .. } => "token",
            Credential::OperatorToken { username: None, .. } => "operator's token alone",
            Credential::OperatorToken { .. } => "operator's token",
            Credential::Password { .. } => "password",
            Credential::Nothing => "nothing",
            Credential::Malformed => "malformed",
        }
    }

    #[test]
    fn shapes() {
        let (upper, cut, grown) = (CODE.to_uppercase(), &CODE[1..], format!("{CODE}0"));
        let check = |username, password, expected| {
            assert_eq!(
                kind(username, password),
                expected,
                "{username:?} {password:?}"
            );
        };
        check(Some("S1"), Some(CODE), "code");
        check(Some("S1"), Some(&upper), "code");
        check(None, Some(CODE), "malformed");
        check(Some(""), Some(CODE), "malformed");
        check(Some("S1"), Some(cut), "password");
        check(Some("S1"), Some(&grown), "password");
        check(Some("S1"), Some(KEY), "key");
        check(None, Some(KEY), "key alone");
        check(Some(KEY), Some("anything"), "key alone");
        check(Some(KEY), None, "key alone");
        check(Some("S1"), Some(TOKEN), "token");
        let token = format!("fwo_{}", &KEY[4..]);
        check(None, Some(&token), "operator's token alone");
        check(Some(&token), None, "operator's token alone");
        check(Some("ops"), Some(&token), "operator's token");
        check(Some("ops"), Some("correct horse"), "password");
        check(Some("ops"), None, "malformed");
        check(Some("ops"), Some(""), "password");
        check(None, None, "nothing");
        check(Some(""), None, "nothing");
        check(None, Some("x"), "malformed");
    }

    #[test]
    fn a_password_need_not_be_text() {
        let credential = Credential::classify(Some("ops"), Some(&[0xff; 40]));
        assert!(matches!(credential, Credential::Password { .. }));
    }

    #[test]
    fn nothing_shows_the_secret() {
        let shown = format!(
            "{:?}",
            Credential::classify(Some("S1"), Some(CODE.as_bytes()))
        );
        assert!(!shown.contains(CODE));
    }
}
