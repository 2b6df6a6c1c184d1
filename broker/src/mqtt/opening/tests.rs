//! First packets, byte by byte.

use proptest::prelude::*;

use super::*;

/// A CONNECT with the given protocol name, level, flags and payload fields.
fn connect(name: &str, level: u8, flags: u8, fields: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    let put = |body: &mut Vec<u8>, text: &str| {
        body.extend_from_slice(&(text.len() as u16).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    };
    put(&mut body, name);
    body.extend_from_slice(&[level, flags, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    for field in fields {
        put(&mut body, field);
    }
    let mut packet = vec![0x10, body.len() as u8];
    packet.extend_from_slice(&body);
    packet
}

fn read(bytes: &[u8]) -> Progress {
    Reader::new().feed(&mut &*bytes)
}

fn opened(bytes: &[u8]) -> Opening {
    match read(bytes) {
        Progress::Opened(opening) => *opening,
        other => panic!("{other:?}"),
    }
}

fn rejected(bytes: &[u8]) -> (Rejection, Version) {
    match read(bytes) {
        Progress::Rejected(rejection, version) => (rejection, version),
        other => panic!("{bytes:?}: {other:?}"),
    }
}

/// Only MQTT 5 has a place for it.
#[test]
fn a_device_may_say_what_it_runs_on() {
    let property = |key: &str, value: &str| {
        let mut bytes = vec![0x26];
        for text in [key, value] {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    };
    let with = |properties: &[u8]| {
        let mut packet = connect("MQTT", 5, 0b1100_0010, &["id", "user", "pass"]);
        packet[1] += properties.len() as u8;
        packet[12] = properties.len() as u8;
        packet.splice(13..13, properties.iter().copied());
        opened(&packet).connect.hardware
    };
    assert_eq!(with(&[]), None);
    assert_eq!(with(&property("firmware", "7")), None);
    let pairs = [
        property("firmware", "7"),
        property("hardware", "{}"),
        property("hardware", "later"),
    ];
    assert_eq!(with(&pairs.concat()).as_deref(), Some("{}"));
}

#[test]
fn three_versions_on_one_port() {
    for (name, level, version) in [
        ("MQIsdp", 3, Version::V31),
        ("MQTT", 4, Version::V311),
        ("MQTT", 5, Version::V5),
    ] {
        let bytes = connect(name, level, 0b1100_0010, &["id", "user", "pass"]);
        let opening = opened(&bytes);
        assert_eq!(opening.connect.version, version);
        assert_eq!(opening.connect.client_id, "id");
        assert_eq!(opening.connect.start, Start::Clean);
        assert_eq!(opening.connect.username.as_deref(), Some("user"));
        assert_eq!(
            opening.connect.password.as_ref().map(|p| p.as_slice()),
            Some(b"pass".as_slice())
        );
        assert_eq!(opening.connect.keep_alive, NonZeroU16::new(60));
        let hidden = |text: &[u8]| !opening.frame.windows(text.len()).any(|part| part == text);
        assert!(hidden(b"pass") && hidden(b"user"), "nothing secret goes on");
    }
}

#[test]
fn other_levels_are_told_so() {
    let check = |name, level, version| {
        let bytes = connect(name, level, 2, &["id"]);
        assert_eq!(rejected(&bytes), (Rejection::ProtocolLevel, version));
    };
    check("MQTT", 3, Version::V311);
    check("MQTT", 6, Version::V5);
    check("MQTT", 0x84, Version::V311);
    check("MQIsdp", 4, Version::V31);
}

#[test]
fn nameless_clients() {
    let bytes = |name, level, flags| connect(name, level, flags, &[""]);
    assert!(opened(&bytes("MQTT", 4, 2)).connect.client_id.is_empty());
    assert!(opened(&bytes("MQTT", 5, 0)).connect.client_id.is_empty());
    assert_eq!(
        rejected(&bytes("MQTT", 4, 0)),
        (Rejection::ClientId, Version::V311)
    );
    assert_eq!(
        rejected(&bytes("MQIsdp", 3, 2)),
        (Rejection::ClientId, Version::V31)
    );
}

#[test]
fn a_password_may_come_alone_since_version_5() {
    let opening = opened(&connect("MQTT", 5, 0b0100_0010, &["id", "pass"]));
    assert_eq!(opening.connect.username.as_deref(), Some(""));
    let password = opening.connect.password.as_ref().map(|p| p.as_slice());
    assert_eq!(password, Some(b"pass".as_slice()));
    let cut = connect("MQTT", 5, 0b0100_0010, &["id"]);
    assert_eq!(rejected(&cut), (Rejection::Malformed, Version::V5));
}

#[test]
fn what_is_not_a_connect_is_closed() {
    let closed = |bytes: &[u8]| assert!(matches!(read(bytes), Progress::Close), "{bytes:?}");
    closed(&[0x30, 3, 0, 1, b'a']);
    closed(&[0xc0, 0]);
    closed(&[0x11, 2, 0, 0]);
    closed(&[0xff, 0xff, 0xff, 0x7f]);
    closed(&[0x10, 0xff, 0xff, 0xff, 0xff, 0x01]);
    closed(&[0x10, 0xff, 0xff, 0xff, 0x7f]);
    closed(&[0x10, 0x81, 0x40]);
    closed(b"GET / HTTP/1.1\r\n\r\n");
    closed(&connect("AMQP", 4, 2, &["id"]));
}

#[test]
fn malformed_connects_are_told_so_where_there_is_a_word() {
    for (bytes, version) in [
        (connect("MQTT", 4, 3, &["id"]), Version::V311),
        (connect("MQTT", 5, 3, &["id"]), Version::V5),
        (connect("MQTT", 4, 0b0000_1010, &["id"]), Version::V311),
        (connect("MQTT", 4, 0b0010_0010, &["id"]), Version::V311),
        (
            connect("MQTT", 4, 0b0001_1110, &["id", "t", "p"]),
            Version::V311,
        ),
        (connect("MQTT", 4, 0b0100_0010, &["id", "p"]), Version::V311),
        (connect("MQTT", 4, 2, &["id", "too much"]), Version::V311),
        (connect("MQTT", 4, 2, &["i\0d"]), Version::V311),
        (connect("MQTT", 5, 0b1000_0010, &["id", "u\0"]), Version::V5),
        (connect("MQTT", 4, 2, &[]), Version::V311),
    ] {
        assert_eq!(rejected(&bytes), (Rejection::Malformed, version));
    }
}

#[test]
fn bytes_may_come_one_by_one_and_more_may_follow() {
    let mut bytes = connect("MQTT", 4, 2, &["id"]);
    let length = bytes.len();
    bytes.extend_from_slice(&[0xc0, 0]);
    let mut reader = Reader::new();
    for (n, byte) in bytes[..length].iter().enumerate() {
        let progress = reader.feed(&mut std::slice::from_ref(byte));
        match progress {
            Progress::More => assert!(n + 1 < length),
            Progress::Opened(_) => assert_eq!(n + 1, length),
            other => panic!("{other:?}"),
        }
    }
    let mut rest = bytes.as_slice();
    assert!(matches!(Reader::new().feed(&mut rest), Progress::Opened(_)));
    assert_eq!(rest, [0xc0, 0]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let mut framed = vec![0x10, bytes.len() as u8 & 0x7f];
        framed.extend_from_slice(&bytes);
        let _ = read(&framed);
        let mut named = connect("MQTT", 5, 2, &[]);
        named[1] = (named.len() - 2 + bytes.len()).min(127) as u8;
        named.extend_from_slice(&bytes);
        let _ = read(&named);
    }
}
