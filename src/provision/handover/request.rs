//! What a device may ask on its request topic, or over HTTP.

use serde::Deserialize;

use crate::hardware::Facts;
use crate::keypair::PublicKey;

/// A request that is not JSON of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request is empty or one JSON object of at most 4096 bytes, such as {{\"details\":true,\"nonce\":\"…\"}} with a nonce of at most 128 characters; \"ask\" is credentials, challenge, identity or licence; \"hardware\" an object of hashes; \"public_key\", \"challenge\" and \"signature\" come together"
)]
pub struct InvalidRequest;

/// How much the answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Xively's three fields.
    #[default]
    Brief,
    /// Also serial, product, status and the server's time.
    Full,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerFormat {
    /// One JSON object.
    #[default]
    Json,
    /// `KEY,FEED_ID,COUNT,NAME…` on one line without an end.
    Csv,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What an activating device came for; of a device that is in, its
    /// identity.
    #[default]
    Credentials,
    /// Something to sign, for a device that brings a public key.
    Challenge,
    /// Who the server takes the device for.
    Identity,
    /// A licence token.
    Licence,
}

/// A public key, with the answer to a challenge that shows whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The key.
    pub public_key: PublicKey,
    /// What the server asked for.
    pub challenge: String,
    /// The private half's signature, base64url.
    pub signature: String,
}

/// What a device may ask with its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvisionRequest {
    /// What for.
    pub ask: Ask,
    /// The board it runs on.
    pub hardware: Facts,
    /// The key it will sign with.
    pub enrolment: Option<Enrolment>,
    /// How much the answer should say.
    pub detail: Detail,
    /// Echoed in the answer.
    pub nonce: Option<String>,
    /// How the answer is written.
    pub format: AnswerFormat,
}

impl ProvisionRequest {
    /// Reads the payload of a request. Fields that are not known are ignored.
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidRequest> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            details: bool,
            nonce: Option<String>,
            #[serde(default)]
            ask: Ask,
            hardware: Option<serde_json::Value>,
            public_key: Option<String>,
            challenge: Option<String>,
            signature: Option<String>,
        }
        if payload.is_empty() {
            return Ok(Self::default());
        }
        if payload.len() > 4096 {
            return Err(InvalidRequest);
        }
        let wire: Wire = serde_json::from_slice(payload).map_err(|_| InvalidRequest)?;
        if wire
            .nonce
            .as_ref()
            .is_some_and(|nonce| nonce.chars().count() > 128)
        {
            return Err(InvalidRequest);
        }
        let hardware = wire.hardware.as_ref().map(Facts::from_json).transpose();
        let enrolment = match (wire.public_key, wire.challenge, wire.signature) {
            (Some(public_key), Some(challenge), Some(signature)) => Some(Enrolment {
                public_key: PublicKey::parse(&public_key).map_err(|_| InvalidRequest)?,
                challenge,
                signature,
            }),
            (None, None, None) => None,
            _ => return Err(InvalidRequest),
        };
        Ok(Self {
            ask: wire.ask,
            hardware: hardware.map_err(|_| InvalidRequest)?.unwrap_or_default(),
            enrolment,
            detail: if wire.details {
                Detail::Full
            } else {
                Detail::Brief
            },
            nonce: wire.nonce,
            format: AnswerFormat::Json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let check = |payload: &[u8], valid| {
            assert_eq!(ProvisionRequest::parse(payload).is_ok(), valid);
        };
        check(b"", true);
        check(b"{}", true);
        check(br#"{"later":[1,2]}"#, true);
        check(br#"{"ask":"challenge"}"#, true);
        check(br#"{"ask":"everything"}"#, false);
        check(
            br#"{"hardware":{"mac":"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"}}"#,
            true,
        );
        check(br#"{"hardware":{"mac":"b8:27:eb:01:02:03"}}"#, false);
        check(br#"{"challenge":"x","signature":"y"}"#, false);
        check(
            br#"{"public_key":"x","challenge":"x","signature":"y"}"#,
            false,
        );
        check(br#"{"details":"yes"}"#, false);
        check(b"[]x", false);
        check(&[b' '; 4097], false);
        check(&[0xff], false);
        let long = format!(r#"{{"nonce":"{}"}}"#, "n".repeat(129));
        check(long.as_bytes(), false);
    }
}
