//! What the server says on the response topic. Pure.
//!
//! One object of JSON, told apart by what is in it; fields not known are
//! skipped, so that a newer server may say more. An answer that cannot be read
//! is never quoted: it may hold a key.

use firstwake::hardware::Pepper;
use firstwake::{ApiKey, FeedId, ProductId, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The server's answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An API key, and what it opens.
    Issued(ApiKey, Place),
    /// Something to sign, so that a key pair is enrolled.
    Challenge(Challenge),
    /// What the device is: after an enrolment, or because it was asked.
    Identity(Identity),
    /// A licence token.
    Licence(String),
    /// A refusal, in the server's words.
    Refused {
        /// One of the server's closed list, for machines.
        code: String,
        /// For people.
        message: String,
    },
}

/// What a device's secret opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device's own data channel.
    pub feed_id: FeedId,
    /// The datastreams that the server named.
    pub datastreams: Vec<String>,
}

/// What a device has to know before it can enrol.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) challenge: String,
    pub(crate) product: ProductId,
    pub(crate) pepper: Pepper,
    pub(crate) server_time: Timestamp,
}

/// What the server has written down about the device.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) place: Place,
    pub(crate) product: Option<ProductId>,
    pub(crate) pepper: Option<Pepper>,
}

/// The payload is not an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Answer {
    /// Reads the payload of one message.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Unreadable> {
        let document: Document = serde_json::from_slice(payload).map_err(|_| Unreadable)?;
        document.answer().ok_or(Unreadable)
    }
}

#[derive(Deserialize)]
struct Document {
    error: Option<ErrorDocument>,
    apikey: Option<Zeroizing<String>>,
    feed_id: Option<FeedId>,
    #[serde(default)]
    datastreams: Vec<String>,
    challenge: Option<String>,
    product_id: Option<ProductId>,
    pepper: Option<Zeroizing<String>>,
    server_time: Option<Timestamp>,
    licence: Option<String>,
}

#[derive(Deserialize)]
struct ErrorDocument {
    code: String,
    message: String,
}

impl Document {
    fn answer(self) -> Option<Answer> {
        if let Some(ErrorDocument { code, message }) = self.error {
            return Some(Answer::Refused { code, message });
        }
        if let Some(licence) = self.licence {
            return Some(Answer::Licence(licence));
        }
        let pepper = match &self.pepper {
            Some(text) => Some(Pepper::parse(text)?),
            None => None,
        };
        if let Some(challenge) = self.challenge {
            return Some(Answer::Challenge(Challenge {
                challenge,
                product: self.product_id?,
                pepper: pepper?,
                server_time: self.server_time?,
            }));
        }
        let place = Place {
            feed_id: self.feed_id?,
            datastreams: self.datastreams,
        };
        Some(match self.apikey {
            Some(key) => Answer::Issued(ApiKey::parse(&key).ok()?, place),
            None => Answer::Identity(Identity {
                place,
                product: self.product_id,
                pepper,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS-_0";

    #[test]
    fn the_published_answer() {
        let check = |text: String| {
            let Ok(Answer::Issued(api_key, place)) = Answer::parse(text.as_bytes()) else {
                panic!("not read: {text}");
            };
            assert_eq!(api_key.expose(), KEY);
            assert_eq!(place.feed_id.as_u32(), 123_456);
            assert_eq!(place.datastreams, ["temperature"]);
        };
        check(format!(
            r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"]}}"#
        ));
        check(format!(
            r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"],"serial":"S","status":"issued"}}"#
        ));
    }

    #[test]
    fn a_challenge_is_read_whole_or_not_at_all() {
        let pepper = "0b".repeat(32);
        let text = format!(
            r#"{{"challenge":"abc","pepper":"{pepper}","serial":"S","product_id":"thermo-thermo-thermo","server_time":"2026-01-01T00:00:00.123Z"}}"#
        );
        let Ok(Answer::Challenge(challenge)) = Answer::parse(text.as_bytes()) else {
            panic!("not read: {text}");
        };
        assert_eq!(challenge.challenge, "abc");
        assert_eq!(challenge.product.as_str(), "thermo-thermo-thermo");
        assert_eq!(challenge.pepper.expose_hex().as_str(), pepper);
        assert_eq!(challenge.server_time.as_millis(), 1_767_225_600_123);
        for (part, instead) in [
            ("pepper", "salt"),
            ("product_id", "p"),
            ("0b0b", "0b"),
            ("T00", ""),
        ] {
            let wrong = text.replacen(part, instead, 1);
            assert!(Answer::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_identity_and_a_licence() {
        let answer = Answer::parse(br#"{"feed_id":7}"#);
        assert!(matches!(
            answer,
            Ok(Answer::Identity(Identity { place, product: None, pepper: None }))
                if place.feed_id.as_u32() == 7 && place.datastreams.is_empty()
        ));
        let answer = Answer::parse(br#"{"licence":"a.b.c","expires_at":"2026-01-01T00:00:00Z"}"#);
        assert!(matches!(answer, Ok(Answer::Licence(token)) if token == "a.b.c"));
    }

    #[test]
    fn a_refusal_keeps_its_words() {
        let answer = Answer::parse(br#"{"error":{"code":"code_spent","message":"spent"}}"#);
        let Ok(Answer::Refused { code, message }) = answer else {
            panic!("not a refusal");
        };
        assert_eq!((code.as_str(), message.as_str()), ("code_spent", "spent"));
    }

    #[test]
    fn what_is_no_answer() {
        for wrong in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            r#"{"error":"no"}"#.to_owned(),
            format!(r#"{{"apikey":"{KEY}x","feed_id":1,"datastreams":[]}}"#),
            format!(r#"{{"apikey":"{KEY}","feed_id":0,"datastreams":[]}}"#),
            format!(r#"{{"apikey":"{KEY}","feed_id":2147483648,"datastreams":[]}}"#),
            format!(r#"{{"apikey":"{KEY}","feed_id":"1","datastreams":[]}}"#),
            format!(r#"{{"apikey":"{KEY}","feed_id":1,"datastreams":["a""#),
        ] {
            assert!(Answer::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Answer::parse(&[0xff, 0xfe]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn only_the_published_shapes_hold_a_key(
            key in "[A-Za-z0-9_+-]{47,49}",
            feed in 0_u64..1 << 32,
        ) {
            let text = format!(r#"{{"apikey":"{key}","feed_id":{feed},"datastreams":[]}}"#);
            let valid = ApiKey::parse(&key).is_ok() && (1..1 << 31).contains(&feed);
            assert_eq!(Answer::parse(text.as_bytes()).is_ok(), valid);
        }
    }
}
