//! One level of a topic that carries a serial or a datastream id.
//!
//! Both may hold a `+`, which MQTT reads as a wildcard. Neither alphabet has a
//! `%`, so `+` is written `%2B` and nothing else needs escaping.

use std::borrow::Cow;

/// Writes a serial or datastream id as one topic level.
pub fn encode_level(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(text.replace('+', "%2B"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Reads one topic level back; `None` if it holds a `%` that [`encode_level`]
/// would not have written, or a bare `+`.
pub fn decode_level(level: &str) -> Option<Cow<'_, str>> {
    if level.contains('+') {
        return None;
    }
    if !level.contains('%') {
        return Some(Cow::Borrowed(level));
    }
    let decoded = level.replace("%2B", "+");
    (!decoded.contains('%')).then_some(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plus_is_escaped() {
        assert_eq!(encode_level("+"), "%2B");
        assert_eq!(encode_level("a+b+"), "a%2Bb%2B");
        assert_eq!(decode_level("%2B").as_deref(), Some("+"));
        for wrong in ["+", "%", "%2b", "%41", "%2", "a%2B%"] {
            assert_eq!(decode_level(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(serial in "[A-Za-z0-9+,_:-]{1,64}") {
            let level = encode_level(&serial);
            prop_assert!(!level.contains(['+', '#', '/']));
            let decoded = decode_level(&level);
            prop_assert_eq!(decoded.as_deref(), Some(serial.as_str()));
        }
    }
}
