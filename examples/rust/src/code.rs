//! The activation code.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// 40 hex characters. It has no `Debug`, so that it is not printed by accident.
pub(crate) struct ActivationCode(String);

impl ActivationCode {
    /// As the factory wrote it into the device.
    pub(crate) fn burnt_in(code: String) -> Self {
        Self(code)
    }

    /// The key is the secret's 20 bytes. Its 40 characters, as they are, give
    /// another code, and everybody tries that first: unhex it.
    pub(crate) fn compute(secret_hex: &str, serial: &str) -> Option<Self> {
        let secret = hex::decode(secret_hex).ok()?;
        let mut mac = Hmac::<Sha1>::new_from_slice(&secret).ok()?;
        mac.update(serial.as_bytes());
        Some(Self(hex::encode(mac.finalize().into_bytes())))
    }

    /// For the server, and nobody else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        r#match: Vec<Vector>,
        must_not_match: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        product_secret: String,
        serial: String,
        activation_code: String,
    }

    impl Vector {
        fn matches(&self) -> bool {
            let code = ActivationCode::compute(&self.product_secret, &self.serial);
            code.expect("a secret").expose() == self.activation_code
        }
    }

    #[test]
    fn the_shared_vectors() {
        let json = include_str!("../../../tests/vectors/activation-codes.json");
        let vectors: Vectors = serde_json::from_str(json).expect("vectors");
        assert!(!vectors.r#match.is_empty());
        assert!(vectors.r#match.iter().all(Vector::matches));
        assert!(!vectors.must_not_match.iter().any(Vector::matches));
    }
}
