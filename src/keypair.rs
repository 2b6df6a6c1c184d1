//! The key pair that a device makes at its first boot, and the server's own
//! for licences: Ed25519 (RFC 8032).
//!
//! The private half never leaves who made it. What it signs is said here and
//! in `signed`, each under words of its own, so that no signature can be taken
//! for another.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::entropy::Entropy;

/// The private half: 32 bytes that never leave the device.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// Draws a new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// One that was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for whoever keeps it.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.signing().verifying_key().to_bytes())
    }

    /// Signs these bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing().sign(message).to_bytes()
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// The public half: a point of the curve, written as 43 characters of
/// base64url, as the `x` of a JWK is (RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublicKey([u8; 32]);

/// A text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key is 43 characters of base64url without padding: the 32 bytes of an Ed25519 key"
)]
pub struct InvalidPublicKey;

impl PublicKey {
    /// Reads the 43 characters. Points of small order are refused: everybody
    /// can sign for them.
    pub fn parse(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPublicKey)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| InvalidPublicKey)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidPublicKey)?;
        match key.is_weak() {
            true => Err(InvalidPublicKey),
            false => Ok(Self(bytes)),
        }
    }

    /// One that is kept as bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the private half signed these bytes.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn agrees_with_rfc_8032() {
        // Section 7.1, test 2.
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).expect("hex");
        let private = PrivateKey::from_bytes(bytes);
        assert_eq!(
            hex::encode(private.public().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = private.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(private.public().has_signed(&[0x72], &signature));
        assert!(!private.public().has_signed(&[0x73], &signature));
        assert!(!private.public().has_signed(&[0x72], &signature[1..]));
    }

    #[test]
    fn public_keys_are_written_as_in_a_jwk() {
        let key = PrivateKey::generate(&Counting::default()).public();
        assert_eq!(key.to_string().len(), 43);
        assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        let padded = format!("{key}=");
        for wrong in ["", "AAAA", &padded, &"A".repeat(43), &"!".repeat(43)] {
            assert_eq!(PublicKey::parse(wrong), Err(InvalidPublicKey), "{wrong}");
        }
    }

    #[test]
    fn the_private_half_is_not_shown() {
        let private = PrivateKey::generate(&Counting::default());
        assert_eq!(format!("{private:?}"), "PrivateKey(…)");
    }
}
