//! What services and commands show in place of an operator's password.
//!
//! A token has the length and alphabet of an API key, so that programs written
//! for Xively's master keys can carry one, and begins with [`PREFIX`], so that
//! it is told from a device's key by its shape and found by those who search
//! repositories for secrets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock::Timestamp;
use crate::entropy::{Entropy, url_safe};
use crate::operator::OperatorName;
use crate::secret::ApiKey;

/// How every token begins.
pub(crate) const PREFIX: &str = "fwo_";

/// An operator's token: 48 characters, 44 of them random. Shown once; the
/// registry keeps its digest.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OperatorToken(String);

impl OperatorToken {
    /// Draws a new token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let random = url_safe(entropy, ApiKey::LENGTH - PREFIX.len());
        Self(format!("{PREFIX}{}", random.as_str()))
    }

    /// Reads a token that somebody presented.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        match text.starts_with(PREFIX) && ApiKey::fits(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidToken),
        }
    }

    /// What the registry stores and finds the token by.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The characters, for the one moment they are shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(…)")
    }
}

/// A text is not a token. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 48 characters of A-Z a-z 0-9 _ - and begins with fwo_")]
pub struct InvalidToken;

/// SHA-256 of an [`OperatorToken`]. The token has 264 random bits, so its bare
/// hash tells nothing.
#[derive(Clone, Copy, Eq, Serialize, Deserialize)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

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
    fn tokens_have_their_shape_and_print_nothing() {
        let token = OperatorToken::generate(&Counting::default());
        assert_eq!(token.expose().len(), 48);
        let again = OperatorToken::parse(token.expose()).expect("own shape");
        assert!(again.digest() == token.digest());
        assert_eq!(
            format!("{token:?} {:?}", token.digest()),
            "OperatorToken(…) TokenDigest(…)"
        );
        for wrong in [
            "",
            "fwo_",
            &"a".repeat(48),
            &format!("fwo_{}", "+".repeat(44)),
        ] {
            assert!(OperatorToken::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids() {
        let id = TokenId::generate(&Counting::default());
        assert_eq!(TokenId::parse(id.as_str()), Ok(id));
        for wrong in ["", "short", "has spaces", "elevenchars"] {
            assert!(TokenId::parse(wrong).is_err(), "{wrong}");
        }
    }
}
