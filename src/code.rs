//! Activation codes: what a device knows before it has ever been online.
//!
//! `activation_code = hex(HMAC-SHA1(key = unhex(product secret), serial))`,
//! as Xively's activation API defined it. The key is the secret's 20 *bytes*;
//! using its 40 characters of text is the classic mistake, and [`matches`]
//! recognises it so that an operator can be told.
//!
//! Checking does the same work whatever the outcome: both HMACs, always.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::Serial;
use crate::secret::{CodeDigest, InvalidSecret, ProductSecret};

/// A device's activation code: 20 bytes, written as 40 hex characters.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ActivationCode([u8; 20]);

impl ActivationCode {
    /// The code that the factory burns into the device with this serial.
    pub fn compute(secret: &ProductSecret, serial: &Serial) -> Self {
        Self(hmac_sha1(secret.expose_bytes(), serial))
    }

    /// What comes out if the secret's text is taken for the key: no code.
    pub(crate) fn near_miss(secret: &ProductSecret, serial: &Serial) -> Self {
        Self(hmac_sha1(secret.expose_hex().as_bytes(), serial))
    }

    /// The code of a text that need not be a serial: good for finding out what a
    /// wrong code was made of.
    pub(crate) fn of_text(secret: &ProductSecret, text: &str) -> Self {
        let mut mac = keyed::<Hmac<Sha1>>(secret.expose_bytes());
        mac.update(text.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }

    /// The hex digits that come out with HMAC-SHA256 in place of HMAC-SHA1: no code.
    pub(crate) fn with_sha256(secret: &ProductSecret, serial: &Serial) -> String {
        let mut mac = keyed::<Hmac<Sha256>>(secret.expose_bytes());
        mac.update(serial.as_str().as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Reads the 40 hex characters, in either case.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSecret::ActivationCode)?;
        Ok(Self(bytes))
    }

    /// The 40 lower-case hex characters.
    pub fn expose_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// What the registry finds a device by when it shows its code alone.
    pub fn digest(&self) -> CodeDigest {
        CodeDigest::of(&self.0)
    }

    /// Holds the code against what this secret and serial make of it.
    pub fn matches(&self, secret: &ProductSecret, serial: &Serial) -> CodeMatch {
        let right = hmac_sha1(secret.expose_bytes(), serial).ct_eq(&self.0);
        let near = hmac_sha1(secret.expose_hex().as_bytes(), serial).ct_eq(&self.0);
        CodeMatch::from_choices(right, near)
    }
}

impl fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationCode(…)")
    }
}

/// What holding a code against a secret showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeMatch {
    /// Made with the secret's bytes: proved.
    Right,
    /// Made with the secret's 40 characters of text: a mistake in the factory
    /// or the firmware, worth telling an operator.
    SecretAsText,
    /// Made with something else.
    Wrong,
}

impl CodeMatch {
    fn from_choices(right: Choice, near: Choice) -> Self {
        match (bool::from(right), bool::from(near)) {
            (true, _) => Self::Right,
            (false, true) => Self::SecretAsText,
            (false, false) => Self::Wrong,
        }
    }
}

/// `HMAC-SHA256(product secret, "firstwake device key v1" ‖ 0x00 ‖ serial)`:
/// what a factory burns in, in place of the product secret, when devices sign.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// Derives the key of one device.
    pub fn derive(secret: &ProductSecret, serial: &Serial) -> Self {
        let mut mac = keyed::<Hmac<Sha256>>(secret.expose_bytes());
        mac.update(b"firstwake device key v1\0");
        mac.update(serial.as_str().as_bytes());
        Self(mac.finalize().into_bytes().into())
    }

    /// Reads the 64 hex characters that a factory burnt in.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSecret::DeviceKey)?;
        Ok(Self(bytes))
    }

    /// The 64 lower-case hex characters, for the factory.
    pub fn expose_hex(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(hex::encode(self.0))
    }

    pub(crate) fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(…)")
    }
}

fn hmac_sha1(key: &[u8], serial: &Serial) -> [u8; 20] {
    let mut mac = keyed::<Hmac<Sha1>>(key);
    mac.update(serial.as_str().as_bytes());
    mac.finalize().into_bytes().into()
}

fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    #[expect(
        clippy::expect_used,
        reason = "HMAC takes a key of any length (RFC 2104)"
    )]
    <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        #[serde(rename = "match")]
        matching: Vec<Vector>,
        must_not_match: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        product_secret: String,
        serial: String,
        activation_code: String,
    }

    impl Vector {
        fn check(&self, expected: CodeMatch) {
            let secret = ProductSecret::parse(&self.product_secret).expect("secret");
            let serial = Serial::parse(&self.serial).expect("serial");
            for text in [
                self.activation_code.clone(),
                self.activation_code.to_uppercase(),
            ] {
                let code = ActivationCode::parse(&text).expect("code");
                assert_eq!(code.matches(&secret, &serial), expected, "{}", self.serial);
            }
            let computed = ActivationCode::compute(&secret, &serial).expose_hex();
            assert_eq!(
                computed == self.activation_code,
                expected == CodeMatch::Right
            );
        }
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../tests/vectors/activation-codes.json"))
                .expect("vectors");
        assert_eq!(
            (vectors.matching.len(), vectors.must_not_match.len()),
            (5, 1)
        );
        for vector in &vectors.matching {
            vector.check(CodeMatch::Right);
        }
        for vector in &vectors.must_not_match {
            vector.check(CodeMatch::SecretAsText);
        }
    }

    #[test]
    fn another_serial_or_secret_does_not_match() {
        let secret =
            ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef").expect("secret");
        let other =
            ProductSecret::parse("be0f6928e3653cf175b7f8ebb2da50c6658b30b7").expect("secret");
        let serial = Serial::parse("0123456789").expect("serial");
        let code = ActivationCode::compute(&secret, &serial);
        assert_eq!(code.matches(&other, &serial), CodeMatch::Wrong);
        let sibling = Serial::parse("0123456788").expect("serial");
        assert_eq!(code.matches(&secret, &sibling), CodeMatch::Wrong);
    }

    #[test]
    fn a_code_is_forty_hex_characters() {
        for wrong in [
            "",
            "b8b6",
            &"g".repeat(40),
            &"a".repeat(39),
            &"a".repeat(41),
        ] {
            assert!(ActivationCode::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_device_key_is_the_documented_hmac() {
        // Computed with: (printf 'firstwake device key v1\0'; printf 0123456789) | openssl dgst
        //   -sha256 -mac HMAC -macopt hexkey:488f40ff3d0b2c6188e272f8d86416b73b3cb4ef
        let secret =
            ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef").expect("secret");
        let serial = Serial::parse("0123456789").expect("serial");
        assert_eq!(
            DeviceKey::derive(&secret, &serial).expose_hex().as_str(),
            "75cf4aadbc61df5abaf23c3d2cfe0b955d703a5a5c629ca6c2a5745c1394042d"
        );
    }
}
