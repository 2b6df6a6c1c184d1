//! What the floor says to the packets it has heard.
//!
//! Pure, and no parser: it looks at as few bytes as the answer needs.

use std::sync::atomic::{AtomicU32, Ordering};

use mqtt_protocol_core::mqtt::packet::{DecodeResult, FixedHeader, VariableByteInteger};

/// Writes the replies to all whole packets in `heard`, and returns how many
/// bytes those are. `issued` counts the answers given so far.
pub(super) fn to(heard: &[u8], issued: &AtomicU32, out: &mut Vec<u8>) -> usize {
    let mut rest = heard;
    while let Some((kind, body, after)) = cut(rest) {
        if kind == FixedHeader::Connect as u8 {
            out.extend_from_slice(&[FixedHeader::Connack as u8, 2, 0, 0]);
        } else if kind == FixedHeader::Subscribe as u8 {
            subscribed(body, issued, out);
        }
        rest = after;
    }
    heard.len() - rest.len()
}

/// The first packet's kind and body, and what comes after it.
fn cut(heard: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = heard.split_first()?;
    match VariableByteInteger::decode_stream(rest) {
        DecodeResult::Ok(length, size) => {
            let (body, after) = rest[size..].split_at_checked(length.to_u32() as usize)?;
            Some((*kind, body, after))
        }
        DecodeResult::Incomplete | DecodeResult::Err(_) => None,
    }
}

/// A SUBACK; and, on the topic of a device that activates, the answer.
fn subscribed(body: &[u8], issued: &AtomicU32, out: &mut Vec<u8>) {
    let [id_high, id_low, filters @ ..] = body else {
        return;
    };
    let count = count_filters(filters);
    out.extend_from_slice(&[FixedHeader::Suback as u8, 2 + count, *id_high, *id_low]);
    out.resize(out.len() + usize::from(count), 1);
    // One filter with its length in front, its QoS behind.
    if let ([topic @ .., _qos], 1) = (filters, count)
        && topic[2..].starts_with(b"provision/")
    {
        answer(topic, issued, out);
    }
}

/// Filters with their lengths in front and their QoS behind. The body came in
/// a packet of at most 512 bytes, so there are few.
fn count_filters(mut filters: &[u8]) -> u8 {
    let mut count = 0;
    while let [high, low, rest @ ..] = filters {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(after) = rest.get(length + 1..) else {
            break;
        };
        (filters, count) = (after, count + 1);
    }
    count
}

/// A PUBLISH on `topic`, which has its length in front.
fn answer(topic: &[u8], issued: &AtomicU32, out: &mut Vec<u8>) {
    const QOS_1: u8 = 0b0010;
    let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
    let payload = format!(r#"{{"apikey":"{number:048}","feed_id":{number},"datastreams":[]}}"#);
    // The body came in a packet of at most 512 bytes: this cannot be too long.
    let length = u32::try_from(topic.len() + 2 + payload.len()).unwrap_or(u32::MAX);
    if let Some(length) = VariableByteInteger::from_u32(length) {
        out.push(FixedHeader::Publish as u8 | QOS_1);
        out.extend_from_slice(length.as_bytes());
        out.extend_from_slice(topic);
        // The same packet id every time: a device hears one PUBLISH.
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(payload.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: [u8; 4] = [0x10, 2, 0, 0];
    const SUBSCRIBE: &[u8] = b"\x82\x0F\x00\x09\x00\x0Aprovision/\x01";

    fn replies(heard: &[u8]) -> (usize, Vec<u8>) {
        let mut out = Vec::new();
        let consumed = to(heard, &AtomicU32::new(41), &mut out);
        (consumed, out)
    }

    #[test]
    fn connect_gets_a_connack() {
        assert_eq!(replies(&CONNECT), (4, vec![0x20, 2, 0, 0]));
    }

    #[test]
    fn subscribe_gets_a_suback_and_the_answer() {
        let (consumed, out) = replies(SUBSCRIBE);
        assert_eq!(consumed, SUBSCRIBE.len());
        assert_eq!(out[..5], [0x90, 3, 0, 9, 1]);
        assert_eq!(out[5..21], *b"\x32\x69\x00\x0Aprovision/\x00\x01");
        let payload = String::from_utf8_lossy(&out[21..]);
        let key = format!("{:048}", 42);
        assert_eq!(
            payload,
            format!(r#"{{"apikey":"{key}","feed_id":42,"datastreams":[]}}"#)
        );
    }

    #[test]
    fn those_who_came_with_a_key_get_a_suback() {
        let two = b"\x82\x0A\x00\x07\x00\x01a\x01\x00\x01b\x01";
        assert_eq!(replies(two), (12, vec![0x90, 4, 0, 7, 1, 1]));
        let one = b"\x82\x06\x00\x07\x00\x01a\x01";
        assert_eq!(replies(one), (8, vec![0x90, 3, 0, 7, 1]));
    }

    #[test]
    fn half_a_packet_waits_for_the_rest() {
        for length in 0..SUBSCRIBE.len() {
            assert_eq!(replies(&SUBSCRIBE[..length]), (0, vec![]), "{length}");
        }
        let stream = [&CONNECT[..], &SUBSCRIBE[..3]].concat();
        assert_eq!(replies(&stream), (4, vec![0x20, 2, 0, 0]));
    }

    #[test]
    fn what_needs_no_reply_gets_none() {
        assert_eq!(replies(&[0x40, 2, 0, 1, 0xE0, 0]), (6, vec![]));
        // A request: the SUBSCRIBE before it has been answered.
        assert_eq!(replies(&[0x30, 3, 0, 1, b't']), (5, vec![]));
    }
}
