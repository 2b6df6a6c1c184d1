//! How a device shows that a public key is its own: it signs what the server
//! has just made up.
//!
//! The server keeps nothing for that. A challenge is the moment it was made
//! and an HMAC that binds the moment to the device; whoever brings one back
//! brings all that is needed to know it again.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::clock::Timestamp;
use crate::identity::{ProductId, Serial};
use crate::keypair::{PrivateKey, PublicKey};
use crate::sealing::SealingKey;

/// How long a challenge can be answered.
const GOOD_FOR: Duration = Duration::from_secs(120);

/// Makes challenges, and knows its own again.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Challenger([u8; 32]);

impl Challenger {
    /// Servers with the same sealing key know each other's.
    pub(crate) fn new(sealing: &SealingKey) -> Self {
        Self(sealing.derive(b"firstwake challenges v1"))
    }

    /// What a device is to sign now: 32 characters.
    pub(crate) fn challenge(&self, product: &ProductId, serial: &Serial, now: Timestamp) -> String {
        let mut bytes = now.as_millis().to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.mac(product, serial, now).finalize().into_bytes()[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether it is a challenge for this device that can still be answered.
    pub(crate) fn knows(
        &self,
        challenge: &str,
        product: &ProductId,
        serial: &Serial,
        now: Timestamp,
    ) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(challenge) else {
            return false;
        };
        let Some((when, tag)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let when = Timestamp::from_millis(u64::from_be_bytes(*when));
        tag.len() == 16
            && self
                .mac(product, serial, when)
                .verify_truncated_left(tag)
                .is_ok()
            && when <= now.plus(GOOD_FOR)
            && now.since(when) <= GOOD_FOR
    }

    fn mac(&self, product: &ProductId, serial: &Serial, when: Timestamp) -> Hmac<Sha256> {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104)"
        )]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.chain_update(product.as_str())
            .chain_update(b"\0")
            .chain_update(serial.as_str())
            .chain_update(b"\0")
            .chain_update(when.as_millis().to_be_bytes())
    }
}

/// `"firstwake enrolment v1" ‖ 0x00 ‖ product ‖ 0x00 ‖ serial ‖ 0x00 ‖
/// challenge`.
fn message(product: &ProductId, serial: &Serial, challenge: &str) -> Vec<u8> {
    let parts = [
        "firstwake enrolment v1",
        product.as_str(),
        serial.as_str(),
        challenge,
    ];
    parts.join("\0").into_bytes()
}

impl PrivateKey {
    /// Answers a challenge: the signature, as 86 characters of base64url.
    pub fn sign_enrolment(&self, product: &ProductId, serial: &Serial, challenge: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.sign(&message(product, serial, challenge)))
    }
}

impl PublicKey {
    /// Whether the private half has answered that challenge so.
    pub(crate) fn answers(
        &self,
        product: &ProductId,
        serial: &Serial,
        challenge: &str,
        signature: &str,
    ) -> bool {
        URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|bytes| self.has_signed(&message(product, serial, challenge), &bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;

    #[test]
    fn a_challenge_is_for_one_device_and_two_minutes() {
        let challenger = Challenger::new(&SealingKey::generate(&Counting::default()));
        let product = ProductId::parse("abcdefghijklmnopqrst").expect("product");
        let other = ProductId::parse("bbcdefghijklmnopqrst").expect("product");
        let (one, two) = (
            Serial::parse("S1").expect("serial"),
            Serial::parse("S2").expect("serial"),
        );
        let at = |seconds: u64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1000);
        let challenge = challenger.challenge(&product, &one, at(0));
        assert_eq!(challenge.len(), 32);
        let check = |product, serial, when, knows| {
            assert_eq!(challenger.knows(&challenge, product, serial, when), knows);
        };
        check(&product, &one, at(0), true);
        check(&product, &one, at(120), true);
        check(&product, &one, at(121), false);
        check(&product, &two, at(0), false);
        check(&other, &one, at(0), false);
        for wrong in [
            "",
            "AAAA",
            &challenge[1..],
            &format!("B{}", &challenge[1..]),
        ] {
            assert!(!challenger.knows(wrong, &product, &one, at(0)), "{wrong}");
        }
    }

    #[test]
    fn only_the_private_half_answers() {
        let (product, serial) = (
            ProductId::parse("abcdefghijklmnopqrst").expect("product"),
            Serial::parse("S1").expect("serial"),
        );
        let key = PrivateKey::generate(&Counting::default());
        let signature = key.sign_enrolment(&product, &serial, "challenge");
        assert_eq!(signature.len(), 86);
        let public = key.public();
        assert!(public.answers(&product, &serial, "challenge", &signature));
        assert!(!public.answers(&product, &serial, "another", &signature));
        let other = PrivateKey::from_bytes([7; 32]).public();
        assert!(!other.answers(&product, &serial, "challenge", &signature));
    }
}
