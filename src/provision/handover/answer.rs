//! What a device is told, as bytes on the wire.
//!
//! The answer to an activation is Xively's: compact JSON, three fields in one order, `feed_id`
//! never last. Shipped firmware tokenises it on `: , "` and has room for 256
//! bytes.

use std::fmt;

use serde::Serialize;

use super::request::{AnswerFormat, Detail, ProvisionRequest};
use crate::clock::Timestamp;
use crate::device::Device;
use crate::hardware::{Fact, Pepper};
use crate::identity::{FeedId, ProductId, Serial};
use crate::product::{Datastream, DatastreamId};
use crate::secret::ApiKey;
/// What an activating device is told. Its bytes hold a secret or an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// The answer that hands over credentials.
    pub(in crate::provision) fn handover(
        handover: &Handover<'_>,
        request: &ProvisionRequest,
    ) -> Self {
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
    pub(in crate::provision) fn challenge(
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
    pub(in crate::provision) fn identity(identity: &Identity<'_>) -> Self {
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
    pub(in crate::provision) fn licence(
        licence: &str,
        expires_at: Timestamp,
        nonce: Option<&str>,
    ) -> Self {
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
pub(in crate::provision) struct Handover<'a> {
    /// `None` for a device that signs.
    pub(in crate::provision) key: Option<&'a ApiKey>,
    pub(in crate::provision) feed: FeedId,
    pub(in crate::provision) datastreams: &'a [Datastream],
    pub(in crate::provision) serial: &'a Serial,
    pub(in crate::provision) product: &'a ProductId,
    pub(in crate::provision) now: Timestamp,
}

/// What a device that is in may know of itself.
pub(in crate::provision) struct Identity<'a> {
    pub(in crate::provision) device: &'a Device,
    /// What it proved itself with.
    pub(in crate::provision) proof: &'a str,
    pub(in crate::provision) datastreams: &'a [Datastream],
    pub(in crate::provision) pepper: &'a Pepper,
    pub(in crate::provision) nonce: Option<&'a str>,
    pub(in crate::provision) now: Timestamp,
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
    fn errors_name_code_and_message() {
        let error = Answer::error("code_spent", "already active");
        assert_eq!(
            error.expose_bytes(),
            br#"{"error":{"code":"code_spent","message":"already active"}}"#
        );
        assert_eq!(format!("{error:?}"), "Answer(…)");
    }
}
