//! Secrets at rest: XChaCha20-Poly1305, each bound to what it belongs to (a
//! product's to the product and slot), so that a sealed secret moved to another
//! row opens nowhere.
//!
//! The key lives in a file of its own that backups leave out; this module
//! never sees a path.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::Entropy;
use crate::identity::ProductId;
use crate::secret::ProductSecret;

/// The 32-byte key that all product secrets of one registry are sealed under.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Draws a new key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads the 64 hex characters of a key file; `None` if they are not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The 64 hex characters for the key file.
    pub fn expose_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }

    /// Seals a product's secret of one generation.
    pub fn seal(
        &self,
        secret: &ProductSecret,
        product: &ProductId,
        generation: u32,
        entropy: &dyn Entropy,
    ) -> SealedSecret {
        self.seal_bytes(
            secret.expose_bytes(),
            &secret_binding(product, generation),
            entropy,
        )
    }

    /// Opens what [`seal`](Self::seal) closed for the same product and generation.
    pub fn unseal(
        &self,
        sealed: &SealedSecret,
        product: &ProductId,
        generation: u32,
    ) -> Result<ProductSecret, UnsealError> {
        let bytes = self.unseal_bytes(sealed, &secret_binding(product, generation))?;
        let bytes: [u8; 20] = bytes.as_slice().try_into().map_err(|_| UnsealError)?;
        Ok(ProductSecret::from_bytes(bytes))
    }

    /// Tells this key from others, and nothing of it: for whoever has to know
    /// whose a registry is before opening it.
    pub fn mark(&self) -> String {
        hex::encode(self.derive(b"firstwake sealing mark v1"))
    }

    /// What a registry knows this key again by. It holds no secret.
    pub(crate) fn proof(&self, entropy: &dyn Entropy) -> SealedSecret {
        self.seal_bytes(&[], PROOF_BINDING, entropy)
    }

    /// Whether the proof was made with this key.
    pub(crate) fn check(&self, proof: &SealedSecret) -> Result<(), UnsealError> {
        self.unseal_bytes(proof, PROOF_BINDING).map(drop)
    }

    /// Seals for another key what this one has sealed with these words.
    pub(crate) fn hand_on(
        &self,
        next: &Self,
        sealed: &SealedSecret,
        bound_to: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<SealedSecret, UnsealError> {
        let bytes = self.unseal_bytes(sealed, bound_to)?;
        Ok(next.seal_bytes(&bytes, bound_to, entropy))
    }

    /// Seals bytes for whoever asks with the same words again.
    pub(crate) fn seal_bytes(
        &self,
        bytes: &[u8],
        bound_to: &[u8],
        entropy: &dyn Entropy,
    ) -> SealedSecret {
        let mut nonce = [0; 24];
        entropy.fill(&mut nonce);
        let payload = Payload {
            msg: bytes,
            aad: bound_to,
        };
        #[expect(clippy::expect_used, reason = "sealing fails only beyond 256 GiB")]
        let ciphertext = self
            .cipher()
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("so few bytes can be sealed");
        SealedSecret { nonce, ciphertext }
    }

    /// Opens what [`seal_bytes`](Self::seal_bytes) closed with these words.
    pub(crate) fn unseal_bytes(
        &self,
        sealed: &SealedSecret,
        bound_to: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let payload = Payload {
            msg: &sealed.ciphertext,
            aad: bound_to,
        };
        self.cipher()
            .decrypt(XNonce::from_slice(&sealed.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| UnsealError)
    }

    /// A key for something else, that tells nothing of this one.
    pub(crate) fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104)"
        )]
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.0)
            .expect("HMAC takes a key of any length");
        mac.chain_update(purpose).finalize().into_bytes().into()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// A secret that only the registry's [`SealingKey`] opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    nonce: [u8; 24],
    /// The secret's bytes and a 16-byte tag.
    ciphertext: Vec<u8>,
}

/// The sealing key does not open what the registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sealing key is not this registry's: put the key file back that belongs to it; nothing was changed"
)]
pub struct UnsealError;

/// What a sealed secret is bound to, so that it cannot be moved.
pub(crate) fn pepper_binding(product: &ProductId) -> Vec<u8> {
    [b"firstwake pepper v1\0", product.as_str().as_bytes()].concat()
}

/// What the registry's licence key is bound to.
pub(crate) const LICENCE_KEY_BINDING: &[u8] = b"firstwake licence key v1\0";

/// What the proof of a key is bound to.
const PROOF_BINDING: &[u8] = b"firstwake sealing proof v1\0";

/// What a product's secret of one generation is bound to.
pub(crate) fn secret_binding(product: &ProductId, generation: u32) -> Vec<u8> {
    let mut bytes = b"firstwake product secret v1\0".to_vec();
    bytes.extend_from_slice(product.as_str().as_bytes());
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn opens_only_where_it_was_sealed() {
        let entropy = Counting::default();
        let key = SealingKey::generate(&entropy);
        let (here, there) = (ProductId::generate(&entropy), ProductId::generate(&entropy));
        let secret = ProductSecret::generate(&entropy);
        let sealed = key.seal(&secret, &here, 1, &entropy);

        assert_eq!(key.unseal(&sealed, &here, 1), Ok(secret));
        assert_eq!(key.unseal(&sealed, &there, 1), Err(UnsealError));
        assert_eq!(key.unseal(&sealed, &here, 2), Err(UnsealError));
        let other = SealingKey::generate(&entropy);
        assert_eq!(other.unseal(&sealed, &here, 1), Err(UnsealError));
        let mut torn = sealed.clone();
        torn.ciphertext[3] ^= 1;
        assert_eq!(key.unseal(&torn, &here, 1), Err(UnsealError));
    }

    #[test]
    fn a_key_is_known_again_and_hands_on() {
        let entropy = Counting::default();
        let keys = [(); 2].map(|()| SealingKey::generate(&entropy));
        let proof = keys[0].proof(&entropy);
        assert_eq!(keys[0].check(&proof), Ok(()));
        assert_eq!(keys[1].check(&proof), Err(UnsealError));
        let sealed = keys[0].seal_bytes(b"s", b"here", &entropy);
        assert_eq!(keys[0].check(&sealed), Err(UnsealError), "not a proof");
        let handed = keys[0].hand_on(&keys[1], &sealed, b"here", &entropy);
        let handed = handed.expect("its own");
        let opened = keys[1].unseal_bytes(&handed, b"here").expect("resealed");
        assert_eq!(opened.as_slice(), b"s");
        assert!(keys[0].unseal_bytes(&handed, b"here").is_err());
        assert!(
            keys[1]
                .hand_on(&keys[0], &sealed, b"here", &entropy)
                .is_err()
        );
    }

    #[test]
    fn key_files_round_trip() {
        let key = SealingKey::generate(&Counting::default());
        let read = SealingKey::parse(&key.expose_hex()).expect("own text");
        assert_eq!(read.0, key.0);
        assert!(SealingKey::parse("abc").is_none());
    }
}
