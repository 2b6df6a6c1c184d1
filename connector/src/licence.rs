//! A licence: asked of the server while there is a connection, checked by
//! applications while there is none.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firstwake::PublicKey;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::ask::Desk;
use crate::decide::{self, Setback};
use crate::device::Device;
use crate::error::{ActivateError, Trouble};
use crate::wake::Waking;

/// Logs in with what is stored, and asks for a licence token.
pub async fn licence(device: &Device, give_up_after: Duration) -> Result<String, ActivateError> {
    let mut waking = Waking::new(device, None);
    let first = waking.first()?.ok_or(ActivateError::NoCode)?;
    let gave_up = |last| ActivateError::GaveUp {
        after: give_up_after,
        last,
    };
    let Ok(woken) = timeout(give_up_after, waking.wake(first)).await else {
        return Err(gave_up(waking.into_last_trouble()));
    };
    let mut connection = woken?.connection;
    let question = json!({"ask": "licence"});
    let patience = device.pace.answer;
    let asked = Desk::open(&mut connection, &device.serial, &question, patience).await;
    let setback = match asked {
        Ok((_, Answer::Licence(token))) => {
            connection.close().await;
            return Ok(token);
        }
        Ok((_, Answer::Refused { code, message })) => decide::answered(code, message),
        Ok(_) => Setback::Trouble(Trouble::UnreadableAnswer),
        Err(setback) => setback,
    };
    Err(match setback {
        Setback::Refused(refusal) => refusal.into(),
        Setback::Trouble(trouble) => gave_up(Some(trouble)),
    })
}

/// A text is none of the forms that a server's public key is given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an Ed25519 public key: expected the PEM of `firstwake licence key` or the JWK of \
     /api/v1/licence-key"
)]
pub struct InvalidKey;

/// Reads a server's public key: PEM, JWK, or the 43 characters of its `x`.
pub fn parse_key(text: &str) -> Result<PublicKey, InvalidKey> {
    let text = text.trim();
    let characters = if let Some(rest) = text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
        let body = rest.strip_suffix("-----END PUBLIC KEY-----");
        from_der(body.ok_or(InvalidKey)?)?
    } else if text.starts_with('{') {
        let key: Jwk = serde_json::from_str(text).map_err(|_| InvalidKey)?;
        if (key.kty.as_str(), key.crv.as_str()) != ("OKP", "Ed25519") {
            return Err(InvalidKey);
        }
        key.x
    } else {
        text.to_owned()
    };
    PublicKey::parse(&characters).map_err(|_| InvalidKey)
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
}

/// SubjectPublicKeyInfo (RFC 8410): always these bytes, then the 32 of the key.
fn from_der(base64: &str) -> Result<String, InvalidKey> {
    const ED25519: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let base64: String = base64.split_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(|_| InvalidKey)?;
    let key = der.strip_prefix(&ED25519).ok_or(InvalidKey)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_each_form() {
        // `openssl pkey -pubin -text` shows the same 32 bytes.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n\
                   -----END PUBLIC KEY-----\n";
        let x = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"1","use":"sig"}}"#);
        for text in [pem, x, &jwk] {
            assert_eq!(parse_key(text).map(|key| key.to_string()), Ok(x.to_owned()));
        }
    }

    #[test]
    fn what_is_no_key() {
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL\n-----END PUBLIC KEY-----";
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----";
        let p256 =
            r#"{"kty":"EC","crv":"P-256","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}"#;
        for wrong in ["", "{}", rsa, private, p256, "short"] {
            assert_eq!(parse_key(wrong), Err(InvalidKey), "{wrong}");
        }
    }
}
