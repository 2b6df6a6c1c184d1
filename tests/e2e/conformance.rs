//! What MQTT promises to operators and services, clause by clause.

use crate::support::wire::{PINGREQ, PUBACK, text};
use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version, eventually};

fn start(names: &[&str]) -> TestBroker {
    let broker = TestBroker::start();
    let filters = ["--publish", "app/#", "--subscribe", "app/#"];
    for name in names {
        broker.add_operator(name, "viewer", &filters);
    }
    broker
}

/// The properties of version 5's CONNACK.
fn connack(broker: &TestBroker, connect: &Connect<'_>) -> (Peer, Vec<u8>) {
    let mut peer = Peer::connect(broker.address(), Version::V5, connect);
    let body = peer.packet().body;
    assert_eq!(body[1], 0, "let in: {body:02x?}");
    (peer, body[3..].to_vec())
}

fn holds(properties: &[u8], part: &[u8]) -> bool {
    properties.windows(part.len()).any(|window| window == part)
}

#[test]
fn who_has_no_name_is_given_one() {
    let broker = start(&["service"]);
    let nameless = Connect {
        client_id: "",
        ..Connect::new("service", PASSWORD)
    };
    // 3.1.1 lets a clean session go without; two of them are two.
    let mut one = broker.admitted(Version::V311, &nameless);
    broker.admitted(Version::V311, &nameless);
    one.expect_alive();
    let unclean = Connect {
        clean: false,
        ..nameless.clone()
    };
    let mut refused = Peer::connect(broker.address(), Version::V311, &unclean);
    refused.expect(&[0x20, 2, 0, 2]);
    refused.expect_close();
    // Version 5 is told the name, and can come back under it.
    let lasting = Connect {
        properties: &[0x11, 0, 0, 0, 100],
        ..unclean
    };
    let (peer, properties) = connack(&broker, &lasting);
    peer.vanish();
    // The property, two bytes of length, the name.
    let name = properties.windows(5).position(|part| part == b"auto-");
    let at = name.expect("an assigned client id") - 3;
    assert_eq!(properties[at], 0x12);
    let length = usize::from(properties[at + 2]);
    let name = String::from_utf8(properties[at + 3..at + 3 + length].to_vec()).expect("UTF-8");
    let again = Connect {
        client_id: &name,
        ..lasting
    };
    let mut peer = Peer::connect(broker.address(), Version::V5, &again);
    assert_eq!(peer.packet().body[..2], [1, 0], "the session of {name}");
}

#[test]
fn version_5_is_told_a_shorter_keep_alive() {
    let broker = start(&["service"]);
    for (asked, told) in [(0, true), (61, true), (60, false), (10, false)] {
        let connect = Connect {
            keep_alive: asked,
            ..Connect::new("service", PASSWORD)
        };
        let (_, properties) = connack(&broker, &connect);
        assert_eq!(holds(&properties, &[0x13, 0, 60]), told, "{asked}");
    }
}

#[test]
fn a_silent_peer_is_ended_and_a_speaking_one_is_not() {
    for version in Version::ALL {
        let broker = start(&["silent", "speaking"]);
        let connect = |name| Connect {
            keep_alive: 1,
            ..Connect::new(name, PASSWORD)
        };
        let mut speaking = broker.admitted(version, &connect("speaking"));
        let mut silent = broker.admitted(version, &connect("silent"));
        eventually("the silent one is ended", || {
            speaking.expect_alive();
            silent
                .says_something_within(std::time::Duration::from_millis(100))
                .then_some(())
        });
        silent.expect_farewell(0x8d);
        speaking.expect_alive();
    }
}

#[test]
fn what_version_5_says_of_a_message_is_carried_on() {
    let version = Version::V5;
    let broker = start(&["asks", "answers"]);
    let mut asks = broker.operator(version, "asks");
    let mut answers = broker.operator(version, "answers");
    asks.subscribe(&[("app/answers/1", 1)], &[1]);
    answers.subscribe(&[("app/questions", 1)], &[1]);
    let properties = [
        // Payload format, content type, response topic, correlation data.
        [0x01, 1].as_slice(),
        &[0x03],
        &text("text/plain"),
        &[0x08],
        &text("app/answers/1"),
        &[0x09, 0, 3, 0, 0xff, 7],
        // User properties, in their order, one of them twice.
        &[0x26],
        &text("b"),
        &text("2"),
        &[0x26],
        &text("a"),
        &text("1"),
        &[0x26],
        &text("b"),
        &text("2"),
    ]
    .concat();
    asks.send(&version.publish_with(0x32, "app/questions", 4, &properties, "wie?".as_bytes()));
    asks.expect(&version.acknowledgement(PUBACK, 4, 0));
    let question = answers.message();
    assert_eq!(question.properties, properties);
    let correlation = [0x09, 0, 3, 0, 0xff, 7];
    answers.send(&version.publish_with(0x30, "app/answers/1", 0, &correlation, b"so"));
    let answer = asks.message();
    assert_eq!(
        (answer.properties, answer.payload),
        (correlation.to_vec(), b"so".to_vec())
    );
    // A response topic is a topic.
    let wild = [&[0x08], text("app/+").as_slice()].concat();
    asks.send(&version.publish_with(0x30, "app/questions", 0, &wild, b""));
    asks.expect_farewell(0x82);
}

#[test]
fn topic_aliases_both_ways() {
    let version = Version::V5;
    let broker = start(&["writer", "reader"]);
    // Topic alias maximum 2.
    let connect = Connect {
        properties: &[0x22, 0, 2],
        ..Connect::new("reader", PASSWORD)
    };
    let mut reader = broker.admitted(version, &connect);
    reader.subscribe(&[("app/#", 0)], &[0]);
    let mut writer = broker.operator(version, "writer");
    for (topic, alias) in [
        ("app/a", 1),
        ("app/b", 64),
        ("", 1),
        ("", 64),
        ("app/c", 1),
        ("", 1),
    ] {
        writer.send(&version.publish_with(0x30, topic, 0, &[0x23, 0, alias], b"x"));
    }
    let mut names = std::collections::HashMap::new();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let message = reader.message();
        let [0x23, 0, alias @ 1..=2] = message.properties[..] else {
            panic!("an alias that was allowed: {message:?}");
        };
        if !message.topic.is_empty() {
            names.insert(alias, message.topic);
        }
        seen.push(names[&alias].clone());
    }
    assert_eq!(seen, ["app/a", "app/b", "app/a", "app/b", "app/c", "app/c"]);
    // None lasts longer than its connection.
    let mut reader = broker.admitted(version, &connect);
    reader.subscribe(&[("app/#", 0)], &[0]);
    writer.send(&version.publish("app/a", 0, 0, b"x"));
    assert_eq!(reader.message().topic, "app/a");
    let mut writer = broker.operator(version, "writer");
    writer.send(&version.publish_with(0x30, "", 0, &[0x23, 0, 1], b"x"));
    writer.expect_farewell(0x94);
}

#[test]
fn what_is_too_large_for_a_peer_is_left_out() {
    let version = Version::V5;
    let broker = start(&["writer", "reader"]);
    // Maximum packet size 100.
    let connect = Connect {
        properties: &[0x27, 0, 0, 0, 100],
        ..Connect::new("reader", PASSWORD)
    };
    let mut reader = broker.admitted(version, &connect);
    reader.subscribe(&[("app/#", 1)], &[1]);
    let mut writer = broker.operator(version, "writer");
    writer.deliver("app/x", 1, &[b'x'; 100]);
    writer.deliver("app/x", 1, b"fits");
    assert_eq!(reader.message().payload, b"fits");
    reader.expect_alive();
    // Ours is told with the CONNACK.
    let (mut peer, properties) = connack(&broker, &Connect::new("writer", PASSWORD));
    assert!(
        holds(&properties, &[0x27, 0, 16, 0, 0]),
        "{properties:02x?}"
    );
    peer.send(&[0x30, 0x81, 0x80, 0xc0, 0]);
    peer.expect_farewell(0x95);
}

#[test]
fn windows_both_ways() {
    let version = Version::V5;
    let broker = start(&["writer", "reader"]);
    // Receive maximum 1.
    let connect = Connect {
        properties: &[0x21, 0, 1],
        ..Connect::new("reader", PASSWORD)
    };
    let mut reader = broker.admitted(version, &connect);
    reader.subscribe(&[("app/#", 2)], &[2]);
    let (mut writer, properties) = connack(&broker, &Connect::new("writer", PASSWORD));
    assert!(holds(&properties, &[0x21, 1, 0]), "256 at once");
    for payload in [b"1", b"2", b"3"] {
        writer.deliver("app/x", 2, payload);
    }
    for payload in [b"1", b"2", b"3"] {
        assert_eq!(reader.message().payload, payload);
    }
    // One more than the window: QoS 2, and no second half.
    let flood: Vec<u8> = (1..=257)
        .flat_map(|id| version.publish("app/y", 2, id, b""))
        .collect();
    writer.send(&flood);
    let end = std::iter::from_fn(|| writer.next()).last();
    assert_eq!(end.map(|packet| packet.bytes()), version.farewell(0x93));
}

#[test]
fn topics_with_a_dollar_are_hidden() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut admin = broker.admin(version);
        let no = if version.is_5() { 0x87 } else { 0x80 };
        admin.subscribe(&[("#", 0), ("$SYS/#", 0)], &[0, no]);
        let refused = if version.is_5() { 0x87 } else { 0 };
        admin.send(&version.publish("$SYS/x", 1, 3, b"x"));
        // What is counted may come in between.
        let puback = version.acknowledgement(PUBACK, 3, refused);
        let mut packets = std::iter::from_fn(|| admin.next());
        assert!(packets.any(|packet| packet.bytes() == puback));
        admin.send(&PINGREQ);
        let mut packets = std::iter::from_fn(|| admin.next());
        let hidden = packets.find(|packet| {
            let message = packet.publish(version);
            message.is_none_or(|message| message.topic.starts_with('$'))
        });
        assert_eq!(hidden.map(|packet| packet.first), Some(0xd0), "a PINGRESP");
    }
}

#[test]
fn what_is_retained_expires() {
    let version = Version::V5;
    let broker = start(&["writer"]);
    let mut writer = broker.operator(version, "writer");
    writer.send(&version.publish_with(0x31, "app/x", 0, &[0x02, 0, 0, 0, 2], b"short"));
    let seen = eventually("it is gone", || {
        writer.subscribe(&[("app/x", 0)], &[0]);
        writer.send(&PINGREQ);
        let packet = writer.packet();
        let Some(message) = packet.publish(version) else {
            return Some(packet);
        };
        assert_eq!(message.properties[0], 0x02);
        assert!((1..=2).contains(&message.properties[4]));
        writer.packet();
        None
    });
    assert_eq!(seen.first, 0xd0);
}
