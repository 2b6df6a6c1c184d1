//! What a peer did that MQTT does not allow, in words for operators.

/// Describes the packet that ended a connection, as far as its bytes came at once.
pub(super) fn describe(packet: &[u8]) -> &'static str {
    let Some(first) = packet.first() else {
        return "a packet came in pieces and is not allowed in MQTT";
    };
    let no_id = || packet_id(packet) == Some(0);
    match first >> 4 {
        1 => "a second CONNECT is not allowed in MQTT",
        3 if first & 0b110 == 0b110 => "a PUBLISH of QoS 3 is not allowed in MQTT",
        3 if first & 0b110 != 0 && publish_id(packet) == Some(0) => {
            "PUBLISH with packet id 0 is not allowed in MQTT"
        }
        3 => "a PUBLISH is malformed: look at its topic and its properties",
        4..=7 if no_id() => "an acknowledgement with packet id 0 is not allowed in MQTT",
        4..=7 => "an acknowledgement is malformed, or for a message that was not sent",
        8 if no_id() => "SUBSCRIBE with packet id 0 is not allowed in MQTT",
        8 => "a SUBSCRIBE is malformed: look at its filters and their options",
        10 if no_id() => "UNSUBSCRIBE with packet id 0 is not allowed in MQTT",
        10 => "an UNSUBSCRIBE is malformed: look at its filters",
        12 => "a PINGREQ is malformed",
        14 => "a DISCONNECT is malformed, or asks for what was not agreed on",
        15 => "AUTH is not allowed: no such authentication was agreed on",
        2 | 9 | 11 | 13 => "only a server sends such a packet",
        _ => "the bytes are no MQTT packet",
    }
}

/// Where the part behind the length begins.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let length = packet.get(1..5.min(packet.len()))?;
    let end = length.iter().position(|byte| byte & 0x80 == 0)?;
    packet.get(end + 2..)
}

fn packet_id(packet: &[u8]) -> Option<u16> {
    number(body(packet)?)
}

/// It follows the topic.
fn publish_id(packet: &[u8]) -> Option<u16> {
    let body = body(packet)?;
    let topic = usize::from(number(body)?);
    number(body.get(2 + topic..)?)
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_named_with_what_is_wrong() {
        let check = |packet: &[u8], word: &str| {
            let described = describe(packet);
            assert!(described.contains(word), "{packet:02x?}: {described}");
        };
        check(b"\x82\x06\0\0\0\x01a\0", "SUBSCRIBE with packet id 0");
        check(b"\xa2\x05\0\0\0\x01a", "UNSUBSCRIBE with packet id 0");
        check(b"\x32\x05\0\x01a\0\0", "PUBLISH with packet id 0");
        check(b"\x82\x06\0\x01\0\x01a\0", "look at its filters");
        check(b"\x36", "QoS 3");
        check(b"\x82", "SUBSCRIBE");
        check(b"\x10\x0c\0\x04MQTT", "second CONNECT");
        check(b"", "pieces");
        check(b"\x82\xff\xff\xff\xff\xff", "SUBSCRIBE");
    }
}
