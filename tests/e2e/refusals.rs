//! What refused peers are told, byte by byte.

use std::time::{Duration, Instant};

use crate::support::wire::{PINGRESP, packet, text};
use crate::support::{Connect, Peer, TestBroker, Version, code};

/// "No", and nothing more: what everybody reads who proved nothing.
fn no(version: Version) -> Option<Vec<u8>> {
    Some(version.connack(if version.is_5() { 0x86 } else { 4 }))
}

#[test]
fn who_proves_nothing_reads_no_and_nothing_more() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    broker.add_operator("watcher", "viewer", &[]);
    let mine = code("S1");
    let long = format!("{mine}0");
    let elsewhere = format!("{}/S1", product.chars().rev().collect::<String>());
    // Made with the secret's text as the key: an operator is told, not a peer.
    let near_miss = "22efed57875ea782faa9089ea7308b9f2527f7f7";
    for version in Version::ALL {
        for (username, password) in [
            ("S1", code("S2").as_str()),
            ("S2", &mine),
            ("s1", &mine),
            ("unknown", &mine),
            ("S1", &mine[1..]),
            ("S1", &long),
            ("S1", ""),
            ("S1", "zz"),
            ("", &mine),
            ("S 1", &mine),
            (&elsewhere, &mine),
            ("S1", near_miss),
            ("S1", &"k".repeat(48)),
            ("watcher", "not its password"),
            ("nobody", "not its password"),
            ("S1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"),
        ] {
            let connect = Connect::new(username, password);
            let connect = Connect {
                client_id: "c",
                ..connect
            };
            let told = broker.told(version, &connect);
            assert_eq!(told, no(version), "{version:?} {username} {password}");
        }
        let only_name = Connect {
            password: None,
            ..Connect::new("S1", "")
        };
        assert_eq!(broker.told(version, &only_name), no(version));
        let nothing = Connect {
            username: None,
            ..only_name
        };
        assert_eq!(broker.told(version, &nothing), no(version));
    }
    assert_eq!(broker.lifecycle("S1"), "registered");
}

#[test]
fn who_proved_a_secret_reads_why() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let (_, credentials) = broker.device(Version::V311, "S1");
    for (act, reason, undo) in [
        ("suspend", "an operator suspended this device", "resume"),
        (
            "quarantine",
            "this device is quarantined: two may be using one identity",
            "release",
        ),
        ("revoke", "an operator revoked this device", ""),
    ] {
        broker.cli(&["device", act, "S1"]).ok();
        for version in Version::ALL {
            for password in [&code("S1"), &credentials.key] {
                let told = broker.told(version, &Connect::new("S1", password));
                let code = if version.is_5() { 0x87 } else { 5 };
                assert_eq!(told, Some(version.connack_because(code, reason)), "{act}");
            }
        }
        if !undo.is_empty() {
            broker.cli(&["device", undo, "S1"]).ok();
        }
    }
}

#[test]
fn a_code_in_capitals_and_a_product_before_the_serial_are_fine() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let capitals = code("S1").to_uppercase();
    let full_name = format!("{product}/S1");
    for version in Version::ALL {
        for (username, password) in [("S1", &capitals), (full_name.as_str(), &code("S1"))] {
            let mut peer = broker.admitted(version, &Connect::new(username, password));
            peer.subscribe(&[("provision/S1/response", 0)], &[0]);
            assert_eq!(peer.publish().topic, "provision/S1/response");
        }
    }
}

#[test]
fn a_key_may_come_as_xively_sent_it() {
    let broker = TestBroker::start();
    broker.fleet(&["S1", "S2"]);
    let one = broker.activate(Version::V311, "S1");
    let other = broker.activate(Version::V311, "S2");
    let feed = one.feed.to_string();
    for version in Version::ALL {
        for username in ["S1", &feed, &one.key] {
            let connect = Connect {
                client_id: "c",
                ..Connect::new(username, &one.key)
            };
            broker.admitted(version, &connect).expect_alive();
        }
        let only_name = Connect {
            client_id: "c",
            password: None,
            ..Connect::new(&one.key, "")
        };
        broker.admitted(version, &only_name).expect_alive();
        let only_password = Connect {
            client_id: "c",
            username: None,
            ..Connect::new("", &one.key)
        };
        if version.is_5() {
            broker.admitted(version, &only_password).expect_alive();
        }
        // Any other username is refused, whether a device is called so or not.
        for username in ["S2", "anything", &other.feed.to_string()] {
            let connect = Connect::new(username, &one.key);
            assert_eq!(broker.told(version, &connect), no(version), "{username}");
        }
    }
}

#[test]
fn empty_client_ids() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let password = code("S1");
    let told = |version, clean| {
        let connect = Connect {
            client_id: "",
            clean,
            ..Connect::new("S1", &password)
        };
        broker.told(version, &connect).map(|bytes| bytes[3])
    };
    assert_eq!(told(Version::V31, true), Some(2));
    assert_eq!(told(Version::V31, false), Some(2));
    assert_eq!(told(Version::V311, true), Some(0));
    assert_eq!(told(Version::V311, false), Some(2));
    assert_eq!(told(Version::V5, true), Some(0));
    assert_eq!(told(Version::V5, false), Some(0));
}

#[test]
fn protocol_levels() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let password = code("S1");
    let connect = Connect::new("S1", &password);
    let told = |name, level, like: Version| {
        let mut peer = broker.peer(like);
        peer.send(&connect.bytes_as(name, level, like));
        peer.next().map(|packet| packet.bytes())
    };
    let (v3, v5) = (Version::V311, Version::V5);
    assert_eq!(told("MQIsdp", 3, v3), Some(v3.connack(0)));
    assert_eq!(told("MQTT", 4, v3), Some(v3.connack(0)));
    assert_eq!(told("MQTT", 5, v5).map(|bytes| bytes[3]), Some(0));
    assert_eq!(told("MQTT", 3, v3), Some(v3.connack(1)));
    assert_eq!(told("MQIsdp", 4, v3), Some(v3.connack(1)));
    assert_eq!(told("MQTT", 0x84, v3), Some(v3.connack(1)));
    assert_eq!(told("MQTT", 6, v5), Some(v5.connack(0x84)));
    assert_eq!(told("HTTP", 4, v3), None);
}

#[test]
fn malformed_connects() {
    let broker = TestBroker::start();
    let told = |version: Version, flags: u8, fields: &[&str]| {
        let mut body = [
            text("MQTT"),
            vec![if version.is_5() { 5 } else { 4 }, flags],
        ]
        .concat();
        body.extend([0, 60]);
        if version.is_5() {
            body.push(0);
        }
        fields.iter().for_each(|field| body.extend(text(field)));
        let mut peer = broker.peer(version);
        peer.send(&packet(0x10, &body));
        let told = peer.next().map(|packet| packet.bytes());
        peer.expect_close();
        told
    };
    for (flags, fields) in [
        (0b0000_0011, ["c", "u", "p"].as_slice()),
        (0b0001_1110, &["c", "t", "p"]),
        (0b0000_1010, &["c"]),
        (0b0010_0010, &["c"]),
        (0b1100_0010, &["c", "u"]),
        (0b0000_0010, &["c", "more"]),
        (0b0000_0010, &["c\0"]),
        (0b1000_0010, &["c", "u\0"]),
    ] {
        assert_eq!(told(Version::V311, flags, fields), None, "{flags:08b}");
        let malformed = Some(Version::V5.connack(0x81));
        assert_eq!(told(Version::V5, flags, fields), malformed, "{flags:08b}");
    }
    // A password alone: allowed since version 5, and there no credential.
    assert_eq!(told(Version::V311, 0b0100_0010, &["c", "p"]), None);
    let told = told(Version::V5, 0b0100_0010, &["c", "p"]);
    assert_eq!(told, no(Version::V5));
}

#[test]
fn enhanced_authentication_is_not_offered() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let password = code("S1");
    let method = [vec![0x15], text("SCRAM-SHA-1")].concat();
    let connect = Connect {
        properties: &method,
        ..Connect::new("S1", &password)
    };
    let told = broker.told(Version::V5, &connect);
    assert_eq!(told, Some(Version::V5.connack(0x8c)));
}

#[test]
fn what_does_not_begin_with_a_connect_is_closed() {
    let broker = TestBroker::start();
    let publish = Version::V311.publish("a", 0, 0, b"x");
    for bytes in [
        publish.as_slice(),
        &[0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        // A length of five bytes, and a CONNECT of 256 MB.
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x11, 0],
        &[0x10, 0],
        &[0xc0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut peer = broker.peer(Version::V311);
        peer.send(bytes);
        peer.expect_close();
    }
}

#[test]
fn a_second_connect_ends_the_session() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    for version in Version::ALL {
        let password = code("S1");
        let connect = Connect::new("S1", &password);
        let mut peer = broker.admitted(version, &connect);
        peer.send(&connect.bytes(version));
        peer.expect_farewell(0x82);
    }
}

#[test]
fn half_a_connect_and_then_silence_is_closed_in_good_time() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let bytes = Connect::new("S1", &code("S1")).bytes(Version::V311);
    let begun = Instant::now();
    let mut silent = broker.peer(Version::V311);
    let mut half = broker.peer(Version::V311);
    half.send(&bytes[..bytes.len() / 2]);
    // Nobody else waits for them.
    broker.activate(Version::V311, "S1");
    half.expect_close();
    silent.expect_close();
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(5),
        "slow peers have time: {took:?}"
    );
    assert!(took < Duration::from_secs(20), "but not for ever: {took:?}");
}

#[test]
fn a_connect_may_come_byte_by_byte() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    for version in Version::ALL {
        let mut peer: Peer = broker.peer(version);
        for byte in Connect::new("S1", &code("S1")).bytes(version) {
            peer.send(&[byte]);
        }
        assert_eq!(peer.packet().body[..2], [0, 0]);
        for byte in crate::support::wire::PINGREQ {
            peer.send(&[byte]);
        }
        peer.expect(&PINGRESP);
    }
}
