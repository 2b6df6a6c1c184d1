//! What activation hands a device: a feed id and a key.
//!
//! The answer is compact JSON, `{"apikey":"…","feed_id":1,"datastreams":[…]}`,
//! perhaps with more fields. The key is some broker's, so it may have any
//! shape; it must never be shown.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::outcome::{Mishap, Refusal};

/// What activation hands a device.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The device's own data channel.
    pub feed_id: u64,
    /// Its password from now on.
    pub key: IssuedKey,
}

/// An API key as the broker wrote it: `Debug` is silent, memory is wiped.
#[derive(Clone)]
pub struct IssuedKey(Zeroizing<String>);

impl IssuedKey {
    /// As some broker wrote it, some time ago.
    pub(crate) fn new(key: Zeroizing<String>) -> Self {
        Self(key)
    }

    /// The characters.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedKey(…)")
    }
}

/// Reads the payload of an answer.
pub(crate) fn parse_answer(payload: &[u8]) -> Result<Credentials, Mishap> {
    match serde_json::from_slice::<Answer<'_>>(payload) {
        Ok(answer) => Ok(Credentials {
            feed_id: answer.feed_id,
            key: IssuedKey(Zeroizing::new(answer.apikey.into_owned())),
        }),
        Err(_) => match serde_json::from_slice::<ErrorAnswer>(payload) {
            Ok(_) => Err(Mishap::Refused(Refusal::Answer)),
            Err(_) => Err(Mishap::Malformed),
        },
    }
}

/// The three fields that every answer has; `datastreams` must be a list.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    apikey: Cow<'a, str>,
    feed_id: u64,
    #[serde(rename = "datastreams")]
    _datastreams: Vec<IgnoredAny>,
}

/// What comes in place of an answer.
#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "error")]
    _error: IgnoredAny,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let check = |payload: &str, expected: Result<(u64, &str), Mishap>| {
            let parsed = parse_answer(payload.as_bytes());
            let parsed = parsed.as_ref().map(|got| (got.feed_id, got.key.expose()));
            assert_eq!(parsed.map_err(|mishap| *mishap), expected, "{payload}");
        };
        check(
            r#"{"apikey":"k","feed_id":7,"datastreams":[]}"#,
            Ok((7, "k")),
        );
        check(
            r#"{"apikey":"\u006b","feed_id":7,"datastreams":["a","b"],"serial":"S1"}"#,
            Ok((7, "k")),
        );
        check(
            r#"{"error":{"code":"no_seats","message":"full"}}"#,
            Err(Mishap::Refused(Refusal::Answer)),
        );
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"apikey":"k","feed_id":7}"#,
            r#"{"apikey":"k","feed_id":-7,"datastreams":[]}"#,
            r#"{"apikey":"k","feed_id":"7","datastreams":[]}"#,
            r#"{"apikey":"k","feed_id":7,"datastreams":"a"}"#,
        ] {
            check(wrong, Err(Mishap::Malformed));
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let parsed = parse_answer(br#"{"apikey":"k","feed_id":7,"datastreams":[]}"#);
        let shown = format!("{:?}", parsed.expect("an answer"));
        assert_eq!(shown, "Credentials { feed_id: 7, key: IssuedKey(…) }");
    }
}
