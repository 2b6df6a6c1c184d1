//! What an activating device asks and is told, as bytes on the wire.
//!
//! The answer is Xively's: compact JSON, three fields in one order, `feed_id`
//! never last. Shipped firmware tokenises it on `: , "` and has room for 256
//! bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::device::Device;
use crate::hardware::{Fact, Facts, Pepper};
use crate::identity::{FeedId, ProductId, Serial};
use crate::keypair::PublicKey;
use crate::product::{Datastream, DatastreamId};
use crate::secret::ApiKey;

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

/// What an activating device is told. Its bytes hold a secret or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// The answer that hands over credentials.
    pub(super) fn handover(handover: &Handover<'_>, request: &ProvisionRequest) -> Self {
        match request.format {
            AnswerFormat::Json => Self::json(handover, request),
            AnswerFormat::Csv => Self::csv(handover),
        }
    }

    /// No field holds a comma or a quote, so nothing is quoted.
    fn csv(handover: &Handover<'_>) -> Self {
        let key = handover.key.map_or("", ApiKey::expose);
        let mut line = zeroize::Zeroizing::new(key.to_owned());
        line.push_str(&format!(
            ",{},{}",
            handover.feed,
            handover.datastreams.len()
        ));
        for datastream in handover.datastreams {
            line.push(',');
            line.push_str(datastream.id.as_str());
        }
        Self(line.as_bytes().to_vec())
    }

    fn json(handover: &Handover<'_>, request: &ProvisionRequest) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            apikey: Option<&'a str>,
            feed_id: FeedId,
            datastreams: Vec<&'a DatastreamId>,
            #[serde(flatten)]
            details: Option<Details<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            nonce: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Details<'a> {
            serial: &'a Serial,
            product_id: &'a ProductId,
            status: &'a str,
            server_time: Timestamp,
        }
        let details = (request.detail == Detail::Full).then_some(Details {
            serial: handover.serial,
            product_id: handover.product,
            status: "issued",
            server_time: handover.now,
        });
        Self::of(&Wire {
            apikey: handover.key.map(ApiKey::expose),
            feed_id: handover.feed,
            datastreams: handover.datastreams.iter().map(|one| &one.id).collect(),
            details,
            nonce: request.nonce.as_deref(),
        })
    }

    /// Something to sign, and what is needed to hash the facts of a board.
    pub(super) fn challenge(
        challenge: &str,
        pepper: &Pepper,
        product: &ProductId,
        serial: &Serial,
        now: Timestamp,
    ) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            challenge: &'a str,
            pepper: &'a str,
            serial: &'a Serial,
            product_id: &'a ProductId,
            server_time: Timestamp,
        }
        Self::of(&Wire {
            challenge,
            pepper: &pepper.expose_hex(),
            serial,
            product_id: product,
            server_time: now,
        })
    }

    /// Who the server takes a device for.
    pub(super) fn identity(identity: &Identity<'_>) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            feed_id: FeedId,
            datastreams: Vec<&'a DatastreamId>,
            serial: &'a Serial,
            product_id: &'a ProductId,
            status: &'a str,
            proof: &'a str,
            hardware: Vec<Fact>,
            pepper: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            lease_until: Option<Timestamp>,
            server_time: Timestamp,
            #[serde(skip_serializing_if = "Option::is_none")]
            nonce: Option<&'a str>,
        }
        let device = identity.device;
        Self::of(&Wire {
            feed_id: device.feed,
            datastreams: identity.datastreams.iter().map(|one| &one.id).collect(),
            serial: &device.serial,
            product_id: &device.product,
            status: device.lifecycle().as_str(),
            proof: identity.proof,
            hardware: device.hardware.iter().map(|(fact, _)| fact).collect(),
            pepper: &identity.pepper.expose_hex(),
            lease_until: device.lease_until,
            server_time: identity.now,
            nonce: identity.nonce,
        })
    }

    /// A licence token.
    pub(super) fn licence(licence: &str, expires_at: Timestamp, nonce: Option<&str>) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            licence: &'a str,
            expires_at: Timestamp,
            #[serde(skip_serializing_if = "Option::is_none")]
            nonce: Option<&'a str>,
        }
        Self::of(&Wire {
            licence,
            expires_at,
            nonce,
        })
    }

    /// The answer to what cannot be served.
    pub fn error(code: &str, message: &str) -> Self {
        #[derive(Serialize)]
        struct Wire<'a> {
            error: Error<'a>,
        }
        #[derive(Serialize)]
        struct Error<'a> {
            code: &'a str,
            message: &'a str,
        }
        Self::of(&Wire {
            error: Error { code, message },
        })
    }

    /// The payload.
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(wire: &impl Serialize) -> Self {
        #[expect(clippy::expect_used, reason = "texts and numbers always serialise")]
        Self(serde_json::to_vec(wire).expect("texts and numbers serialise"))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(…)")
    }
}

/// What is handed over.
pub(super) struct Handover<'a> {
    /// `None` for a device that signs.
    pub(super) key: Option<&'a ApiKey>,
    pub(super) feed: FeedId,
    pub(super) datastreams: &'a [Datastream],
    pub(super) serial: &'a Serial,
    pub(super) product: &'a ProductId,
    pub(super) now: Timestamp,
}

/// What a device that is in may know of itself.
pub(super) struct Identity<'a> {
    pub(super) device: &'a Device,
    /// What it proved itself with.
    pub(super) proof: &'a str,
    pub(super) datastreams: &'a [Datastream],
    pub(super) pepper: &'a Pepper,
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST_-";

    fn answer(request: &ProvisionRequest) -> String {
        let answer = Answer::handover(
            &Handover {
                key: Some(&ApiKey::parse(KEY).expect("valid")),
                feed: FeedId::new(123_456).expect("valid"),
                datastreams: &[DatastreamId::parse("temperature").expect("valid").into()],
                serial: &Serial::parse("S1").expect("valid"),
                product: &ProductId::parse("abcdefghijklmnopqrst").expect("valid"),
                now: Timestamp::from_millis(0),
            },
            request,
        );
        String::from_utf8(answer.0).expect("JSON is text")
    }

    #[test]
    fn the_brief_answer_is_xivelys_to_the_byte() {
        assert_eq!(
            answer(&ProvisionRequest::default()),
            format!(r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"]}}"#)
        );
    }

    #[test]
    fn csv_is_one_line_without_an_end() {
        let request = ProvisionRequest {
            format: AnswerFormat::Csv,
            ..ProvisionRequest::default()
        };
        assert_eq!(answer(&request), format!("{KEY},123456,1,temperature"));
    }

    #[test]
    fn details_and_nonce_come_behind() {
        let request = ProvisionRequest::parse(br#"{"details":true,"nonce":"n1"}"#).expect("valid");
        assert_eq!(
            answer(&request),
            format!(
                r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"],"serial":"S1","product_id":"abcdefghijklmnopqrst","status":"issued","server_time":"1970-01-01T00:00:00.000Z","nonce":"n1"}}"#
            )
        );
    }

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

    #[test]
    fn errors_name_code_and_message() {
        let error = Answer::error("code_spent", "already active");
        assert_eq!(
            error.expose_bytes(),
            br#"{"error":{"code":"code_spent","message":"already active"}}"#
        );
        assert_eq!(format!("{error:?}"), "Answer(…)");
    }
}
