//! What the server says on the response topic. Pure.
//!
//! Either the three fields `{"apikey":…,"feed_id":…,"datastreams":[…]}` or
//! `{"error":{"code":…,"message":…}}`; fields not known are skipped, so that a
//! newer server may say more. An answer that cannot be read is never quoted:
//! it may hold a key.

use firstwake::{ApiKey, FeedId};
use serde::Deserialize;

/// The server's answer to an activation.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A feed, and the key to it.
    Issued(Issued),
    /// A refusal, in the server's words.
    Refused {
        /// One of the server's closed list, for machines.
        code: String,
        /// For people.
        message: String,
    },
}

/// What an activation brings.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) api_key: ApiKey,
    pub(crate) feed_id: FeedId,
    pub(crate) datastreams: Vec<String>,
}

/// The payload is not an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Answer {
    /// Reads the payload of one message.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Unreadable> {
        match serde_json::from_slice(payload).map_err(|_| Unreadable)? {
            Document::Error { error } => Ok(Self::Refused {
                code: error.code,
                message: error.message,
            }),
            Document::Issued {
                apikey,
                feed_id,
                datastreams,
            } => Ok(Self::Issued(Issued {
                api_key: ApiKey::parse(apikey).map_err(|_| Unreadable)?,
                feed_id,
                datastreams,
            })),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document<'a> {
    Error {
        error: ErrorDocument,
    },
    Issued {
        apikey: &'a str,
        feed_id: FeedId,
        #[serde(default)]
        datastreams: Vec<String>,
    },
}

#[derive(Deserialize)]
struct ErrorDocument {
    code: String,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS-_0";

    #[test]
    fn the_published_answer() {
        let check = |text: String| {
            let Ok(Answer::Issued(issued)) = Answer::parse(text.as_bytes()) else {
                panic!("not read: {text}");
            };
            assert_eq!(issued.api_key.expose(), KEY);
            assert_eq!(issued.feed_id.as_u32(), 123_456);
            assert_eq!(issued.datastreams, ["temperature"]);
        };
        check(format!(
            r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"]}}"#
        ));
        check(format!(
            r#"{{"apikey":"{KEY}","feed_id":123456,"datastreams":["temperature"],"serial":"S","status":"issued"}}"#
        ));
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
