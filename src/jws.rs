//! Signed JSON (RFC 7515, compact form) as far as Firstwake speaks it.
//!
//! Two algorithms, and whoever checks a token says which one and with what
//! key: a header can only agree. The crate `jsonwebtoken` reads and writes the
//! form; what it may compute stands in [`provider`], and is nothing else. Times
//! are not its business either: no clock is read here.

mod provider;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::code::DeviceKey;
use crate::keypair::{PrivateKey, PublicKey};

/// Bytes of a token.
const MOST: usize = 4096;
/// Characters of its header, as it is written: a `kid` and little more.
const MOST_HEADER: usize = 512;

/// What a token is signed with.
#[derive(Clone, Debug)]
pub enum Signer {
    /// HS256 with the key that the factory burnt in.
    DeviceKey(DeviceKey),
    /// EdDSA with a key that never left its maker.
    Ed25519(PrivateKey),
}

/// What its signature is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verifier<'a> {
    /// HS256.
    DeviceKey(&'a DeviceKey),
    /// EdDSA.
    Ed25519(&'a PublicKey),
}

impl Signer {
    /// Signs these claims. A `kid` tells the reader which key to take.
    pub(crate) fn sign(&self, claims: &impl Serialize, kid: Option<&str>) -> String {
        provider::install();
        let (algorithm, key) = match self {
            Self::DeviceKey(key) => (
                Algorithm::HS256,
                EncodingKey::from_secret(key.expose_bytes()),
            ),
            Self::Ed25519(key) => (
                Algorithm::EdDSA,
                EncodingKey::from_ed_der(key.expose_bytes()),
            ),
        };
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        #[expect(
            clippy::expect_used,
            reason = "our claims serialise, and both algorithms sign any bytes"
        )]
        jsonwebtoken::encode(&header, claims, &key).expect("claims can be signed")
    }
}

/// The claims of a token whose signature holds; `None` for whatever reason it
/// does not, or if they have another shape.
pub(crate) fn read<T: DeserializeOwned>(token: &str, verifier: Verifier<'_>) -> Option<T> {
    provider::install();
    if !fits(token) {
        return None;
    }
    let (algorithm, key) = match verifier {
        Verifier::DeviceKey(key) => (
            Algorithm::HS256,
            DecodingKey::from_secret(key.expose_bytes()),
        ),
        Verifier::Ed25519(key) => (Algorithm::EdDSA, DecodingKey::from_ed_der(key.as_bytes())),
    };
    let mut validation = Validation::new(algorithm);
    // Who calls decides about times and names, with the clock it was given.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode(token, &key, &validation)
        .ok()
        .map(|data| data.claims)
}

/// What a token says, whoever wrote it: good for finding the key that it is to
/// be held against, and for nothing else.
pub(crate) fn dangerous_read_unproved<T: DeserializeOwned>(token: &str) -> Option<T> {
    match fits(token) {
        true => jsonwebtoken::dangerous::insecure_decode_claims(token).ok(),
        false => None,
    }
}

/// Whether a token is small enough to be looked at, and asks for nothing that
/// has to be understood (RFC 7515, 4.1.11).
fn fits(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    token.len() <= MOST
        && header.len() <= MOST_HEADER
        && jsonwebtoken::decode_header(token).is_ok_and(|header| header.crit.is_none())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::entropy::counting::Counting;
    use crate::identity::Serial;
    use crate::secret::ProductSecret;

    fn device_key() -> DeviceKey {
        let secret =
            ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef").expect("secret");
        DeviceKey::derive(&secret, &Serial::parse("0123456789").expect("serial"))
    }

    /// A token with a header of one's own, signed rightly.
    fn with_header(header: &str, key: &PrivateKey) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(r#"{"sub":"a"}"#)
        );
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[test]
    fn both_algorithms_agree_with_themselves_only() {
        let (derived, private) = (device_key(), PrivateKey::generate(&Counting::default()));
        let public = private.public();
        let claims = json!({"sub": "a"});
        let hs256 = Signer::DeviceKey(derived.clone()).sign(&claims, None);
        let eddsa = Signer::Ed25519(private).sign(&claims, None);

        let check = |token: &str, verifier, fits| {
            assert_eq!(read::<Value>(token, verifier).is_some(), fits, "{token}");
        };
        check(&hs256, Verifier::DeviceKey(&derived), true);
        check(&eddsa, Verifier::Ed25519(&public), true);
        check(&hs256, Verifier::Ed25519(&public), false);
        check(&eddsa, Verifier::DeviceKey(&derived), false);
        check(&format!("{eddsa}A"), Verifier::Ed25519(&public), false);
    }

    #[test]
    fn hs256_is_that_of_rfc_7515() {
        // Computed with: printf '%s' "$HEADER.$CLAIMS" | openssl dgst -sha256 -mac HMAC
        //   -macopt hexkey:75cf4aad… (the device key of the published vector).
        let token = Signer::DeviceKey(device_key()).sign(&json!({"sub": "0123456789"}), None);
        assert_eq!(
            token,
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTIzNDU2Nzg5In0.01JPA5z6Lf67popi457fBaM_LWW3Z5za3M4qgwymv9U"
        );
    }

    #[test]
    fn headers_are_small_and_ask_for_nothing() {
        let key = PrivateKey::generate(&Counting::default());
        let public = key.public();
        let check = |header: &str, fits| {
            let token = with_header(header, &key);
            let claims = read::<Value>(&token, Verifier::Ed25519(&public));
            assert_eq!(claims.is_some(), fits, "{header}");
        };
        check(r#"{"alg":"EdDSA"}"#, true);
        check(r#"{"alg":"EdDSA","typ":"JWT","kid":"1"}"#, true);
        check(r#"{"alg":"none"}"#, false);
        check(r#"{"alg":"HS256"}"#, false);
        check(r#"{"alg":"RS256"}"#, false);
        check(r#"{"alg":["EdDSA"]}"#, false);
        check("{}", false);
        check(r#"{"alg":"EdDSA","crit":["exp"]}"#, false);
        let huge = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, "k".repeat(400));
        check(&huge, false);
    }

    #[test]
    fn nothing_else_can_be_computed() {
        use jsonwebtoken::Algorithm::{ES256, HS384, HS512, PS256, RS256};
        provider::install();
        let secret = DecodingKey::from_secret(&[0; 64]);
        for algorithm in [HS384, HS512, RS256, PS256, ES256] {
            let verified = jsonwebtoken::crypto::verify("", b"", &secret, algorithm);
            assert!(verified.is_err(), "{algorithm:?}");
        }
    }
}
