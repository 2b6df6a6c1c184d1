//! Secrets, and the digests that the registry keeps in their place.
//!
//! Nothing here prints what it holds: `Debug` is silent, memory is wiped on
//! drop, and comparison takes the same time whatever the difference. A secret
//! leaves only through a method whose name says `expose`.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::entropy::{Entropy, url_safe};

/// Why a text is not a secret. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// A product secret is 20 bytes, written as 40 hex characters.
    #[error("a product secret is 40 hex characters (20 bytes)")]
    ProductSecret,
    /// An activation code is 40 hex characters.
    #[error("an activation code is 40 hex characters")]
    ActivationCode,
    /// A device key is 32 bytes, written as 64 hex characters.
    #[error("a device key is 64 hex characters (32 bytes)")]
    DeviceKey,
    /// An API key is 48 characters of `[A-Za-z0-9_-]`.
    #[error("an API key is 48 characters of A-Z a-z 0-9 _ -")]
    ApiKey,
}

/// The 20 random bytes that a product's activation codes are made with.
///
/// Shown as 40 hex characters, but the bytes are the key, never the text.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ProductSecret([u8; 20]);

impl ProductSecret {
    /// Draws a new secret.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 20];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads the 40 hex characters, in either case.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSecret::ProductSecret)?;
        Ok(Self(bytes))
    }

    /// The 40 lower-case hex characters, for the one moment they are shown.
    pub fn expose_hex(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(hex::encode(self.0))
    }

    pub(crate) fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Debug for ProductSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProductSecret(…)")
    }
}

/// A device's own credential after activation: 48 characters `[A-Za-z0-9_-]`,
/// 288 random bits. Handed out once; the registry keeps its [`KeyDigest`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ApiKey(String);

impl ApiKey {
    /// How long an API key is, in characters.
    pub const LENGTH: usize = 48;

    /// Draws a new key. It never begins as an operator's token does.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            let key = url_safe(entropy, Self::LENGTH);
            if !key.starts_with(TOKEN_PREFIX) {
                return Self(key.to_string());
            }
        }
    }

    /// Reads a key that a peer presented.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        match Self::fits(text) && !text.starts_with(TOKEN_PREFIX) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidSecret::ApiKey),
        }
    }

    /// Whether a text has the length and alphabet of a key.
    pub(crate) fn fits(text: &str) -> bool {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        text.len() == Self::LENGTH && text.bytes().all(in_alphabet)
    }

    /// What the registry stores and finds the key by.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The characters, for the answer that hands them over.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// SHA-256 of an [`ApiKey`]. The key has 288 random bits, so its bare hash
/// tells nothing.
#[derive(Clone, Copy, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "equality is the derived one, in constant time"
)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// How every operator's token begins: so it is told from a device's key by its
/// shape, and found by those who search repositories for secrets.
pub(crate) const TOKEN_PREFIX: &str = "fwo_";

/// What stands for an operator's password: 48 characters, 44 of them random,
/// as long and of the same alphabet as an API key, so that programs written
/// for Xively's master keys can carry it. Shown once; the registry keeps its
/// digest.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct OperatorToken(String);

impl OperatorToken {
    /// Draws a new token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let random = url_safe(entropy, ApiKey::LENGTH - TOKEN_PREFIX.len());
        Self(format!("{TOKEN_PREFIX}{}", random.as_str()))
    }

    /// Reads a token that somebody presented.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        match text.starts_with(TOKEN_PREFIX) && ApiKey::fits(text) {
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

/// SHA-256 of an activation code's 40 lower-case hex characters: how a device
/// is found by its code alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CodeDigest([u8; 32]);

impl CodeDigest {
    pub(crate) fn of(code: &[u8; 20]) -> Self {
        Self(Sha256::digest(hex::encode(code)).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn keys_have_the_published_shape() {
        let entropy = Counting::default();
        let one = ApiKey::generate(&entropy);
        let two = ApiKey::generate(&entropy);
        assert_ne!(one.expose(), two.expose());
        assert_eq!(
            ApiKey::parse(one.expose()).expect("own shape").digest(),
            one.digest()
        );
    }

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
    fn shapes_are_checked() {
        assert!(ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef").is_ok());
        assert!(ProductSecret::parse("488F40FF3D0B2C6188E272F8D86416B73B3CB4EF").is_ok());
        for wrong in ["", "48", "488f40ff3d0b2c6188e272f8d86416b73b3cb4eg"] {
            assert_eq!(
                ProductSecret::parse(wrong),
                Err(InvalidSecret::ProductSecret)
            );
        }
        assert!(ApiKey::parse(&"a".repeat(47)).is_err());
        assert!(ApiKey::parse(&"a".repeat(49)).is_err());
        assert!(ApiKey::parse(&"+".repeat(48)).is_err());
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret =
            ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef").expect("valid");
        let key = ApiKey::generate(&Counting::default());
        let shown = format!("{secret:?} {key:?} {:?}", key.digest());
        assert_eq!(shown, "ProductSecret(…) ApiKey(…) KeyDigest(…)");
    }
}
