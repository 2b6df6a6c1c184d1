//! Operators' and services' sessions that outlive their connections.

use crate::support::wire::{DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, packet, text};
use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version, eventually};

/// Version 5's CONNECT properties: a session expiry of 100 s.
const LASTING: [u8; 5] = [0x11, 0, 0, 0, 100];
/// Of 1 s.
const FLEETING: [u8; 5] = [0x11, 0, 0, 0, 1];

fn start(names: &[&str]) -> TestBroker {
    let broker = TestBroker::start();
    let filters = ["--publish", "app/#", "--subscribe", "app/#"];
    for name in names {
        broker.add_operator(name, "viewer", &filters);
    }
    broker
}

/// A CONNECT for a session that lasts.
fn lasting<'a>(version: Version, name: &'a str) -> Connect<'a> {
    Connect {
        clean: false,
        properties: if version.is_5() { &LASTING } else { &[] },
        ..Connect::new(name, PASSWORD)
    }
}

/// Connects; whether the session was there. 3.1 is not told.
fn resume(broker: &TestBroker, version: Version, connect: &Connect<'_>) -> (Peer, bool) {
    let mut peer = Peer::connect(broker.address(), version, connect);
    let connack = peer.packet();
    assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{version:?}");
    (peer, connack.body[0] == 1)
}

fn present(version: Version) -> bool {
    version != Version::V31
}

#[test]
fn what_comes_meanwhile_waits() {
    for version in Version::ALL {
        let broker = start(&["reader", "writer"]);
        let connect = lasting(version, "reader");
        let (mut reader, there) = resume(&broker, version, &connect);
        assert!(!there);
        reader.subscribe(&[("app/#", 2), ("app/0", 0)], &[2, 0]);
        reader.vanish();
        let mut writer = broker.operator(version, "writer");
        for (qos, payload) in [(0, b"0"), (1, b"1"), (2, b"2")] {
            writer.deliver("app/x", qos, payload);
        }
        let (mut reader, there) = resume(&broker, version, &connect);
        assert_eq!(there, present(version));
        let seen: Vec<_> = reader
            .messages(2)
            .iter()
            .map(|message| (message.qos(), message.payload.clone()))
            .collect();
        assert_eq!(seen, [(1, b"1".to_vec()), (2, b"2".to_vec())]);
        // The subscriptions are there; what was received is not sent again.
        writer.deliver("app/x", 0, b"live");
        assert_eq!(reader.message().payload, b"live");
        reader.send(&DISCONNECT);
        reader.expect_close();
        // A goodbye ends the connection, not the session.
        writer.deliver("app/x", 1, b"later");
        let (mut reader, _) = resume(&broker, version, &connect);
        assert_eq!(reader.message().payload, b"later");
        reader.expect_alive();
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_its_order() {
    for version in Version::ALL {
        let broker = start(&["reader", "writer"]);
        let connect = lasting(version, "reader");
        let (mut reader, _) = resume(&broker, version, &connect);
        reader.subscribe(&[("app/#", 2)], &[2]);
        let mut writer = broker.operator(version, "writer");
        for (qos, payload) in [(1, b"a"), (2, b"b"), (2, b"c"), (1, b"d"), (1, b"e")] {
            writer.deliver("app/x", qos, payload);
        }
        let sent: Vec<_> = (0..5).map(|_| reader.publish()).collect();
        assert!(sent.iter().all(|message| message.first & 8 == 0));
        let ids: Vec<u16> = sent.iter().filter_map(|message| message.id).collect();
        // The first is received, the second's first half.
        reader.send(&version.acknowledgement(PUBACK, ids[0], 0));
        reader.send(&version.acknowledgement(PUBREC, ids[1], 0));
        reader.expect(&version.acknowledgement(PUBREL, ids[1], 0));
        reader.vanish();
        let (mut reader, there) = resume(&broker, version, &connect);
        assert_eq!(there, present(version));
        reader.expect(&version.acknowledgement(PUBREL, ids[1], 0));
        for (n, payload) in [(2, b"c"), (3, b"d"), (4, b"e")] {
            let again = reader.publish();
            assert_eq!(again.first & 8, 8, "a duplicate");
            assert_eq!((again.id, again.qos()), (Some(ids[n]), sent[n].qos()));
            assert_eq!(again.payload, payload);
        }
        reader.send(&version.acknowledgement(PUBCOMP, ids[1], 0));
        reader.send(&version.acknowledgement(PUBREC, ids[2], 0));
        reader.expect(&version.acknowledgement(PUBREL, ids[2], 0));
        reader.send(&version.acknowledgement(PUBCOMP, ids[2], 0));
        reader.send(&version.acknowledgement(PUBACK, ids[3], 0));
        reader.send(&version.acknowledgement(PUBACK, ids[4], 0));
        reader.expect_alive();
        drop(reader);
        let (mut reader, _) = resume(&broker, version, &connect);
        writer.deliver("app/x", 1, b"new");
        let news = reader.message();
        assert_eq!((news.first & 8, news.payload.as_slice()), (0, &b"new"[..]));
    }
}

#[test]
fn a_smaller_window_is_kept_when_sending_again() {
    let version = Version::V5;
    let broker = start(&["reader", "writer"]);
    let (mut reader, _) = resume(&broker, version, &lasting(version, "reader"));
    reader.subscribe(&[("app/#", 2)], &[2]);
    let mut writer = broker.operator(version, "writer");
    for payload in [b"1", b"2", b"3"] {
        writer.deliver("app/x", 2, payload);
    }
    let ids: Vec<u16> = (0..3).filter_map(|_| reader.publish().id).collect();
    reader.send(&version.acknowledgement(PUBREC, ids[0], 0));
    reader.expect(&version.acknowledgement(PUBREL, ids[0], 0));
    reader.vanish();
    // Receive maximum 1.
    let connect = Connect {
        properties: &[0x11, 0, 0, 0, 100, 0x21, 0, 1],
        ..lasting(version, "reader")
    };
    let (mut reader, _) = resume(&broker, version, &connect);
    reader.expect(&version.acknowledgement(PUBREL, ids[0], 0));
    reader.expect_alive();
    reader.send(&version.acknowledgement(PUBCOMP, ids[0], 0));
    for (n, payload) in [(1, b"2"), (2, b"3")] {
        let again = reader.publish();
        assert_eq!((again.id, again.first & 8), (Some(ids[n]), 8));
        assert_eq!(again.payload, payload);
        reader.expect_alive();
        reader.send(&version.acknowledgement(PUBREC, ids[n], 0));
        reader.expect(&version.acknowledgement(PUBREL, ids[n], 0));
        reader.send(&version.acknowledgement(PUBCOMP, ids[n], 0));
    }
    writer.deliver("app/x", 1, b"new");
    assert_eq!(reader.message().payload, b"new");
}

#[test]
fn a_message_of_the_peers_comes_once_over_two_connections() {
    for version in Version::ALL {
        let broker = start(&["reader", "writer"]);
        let mut reader = broker.operator(version, "reader");
        reader.subscribe(&[("app/#", 0)], &[0]);
        let connect = lasting(version, "writer");
        let (mut writer, _) = resume(&broker, version, &connect);
        writer.send(&version.publish("app/x", 2, 5, b"once"));
        writer.expect(&version.acknowledgement(PUBREC, 5, 0));
        writer.vanish();
        let (mut writer, _) = resume(&broker, version, &connect);
        writer.send(&version.publish_with(0x3c, "app/x", 5, &[], b"once"));
        assert_eq!(writer.packet().first, PUBREC);
        writer.send(&version.acknowledgement(PUBREL, 5, 0));
        writer.expect(&version.acknowledgement(PUBCOMP, 5, 0));
        writer.deliver("app/x", 1, b"another");
        assert_eq!(reader.message().payload, b"once");
        assert_eq!(reader.message().payload, b"another");
    }
}

#[test]
fn no_event_is_lost_while_one_is_away() {
    for version in Version::ALL {
        let broker = start(&["watcher"]);
        let product = broker.fleet(&["S1"]);
        let connect = lasting(version, "watcher");
        let (mut watcher, _) = resume(&broker, version, &connect);
        watcher.subscribe(&[("provisioning/events/#", 1)], &[1]);
        let seen = broker.events().len();
        watcher.vanish();
        let register = ["device", "register", &product, "--generate", "x:400"];
        broker.cli(&register).ok();
        let (mut watcher, _) = resume(&broker, version, &connect);
        let events: Vec<_> = watcher.messages(400).iter().map(|m| m.json()).collect();
        assert_eq!(events, broker.events()[seen..]);
        watcher.expect_alive();
    }
}

#[test]
fn one_version_takes_up_the_session_of_another() {
    let broker = start(&["reader", "writer"]);
    let mut writer = broker.operator(Version::V5, "writer");
    let (mut reader, _) = resume(&broker, Version::V311, &lasting(Version::V311, "reader"));
    reader.subscribe(&[("app/#", 1)], &[1]);
    let versions = [Version::V5, Version::V31, Version::V5, Version::V311];
    for version in versions {
        reader.vanish();
        writer.deliver("app/x", 1, b"waits");
        let there;
        (reader, there) = resume(&broker, version, &lasting(version, "reader"));
        assert_eq!(there, present(version));
        assert_eq!(reader.message().payload, b"waits");
        reader.expect_alive();
    }
}

#[test]
fn a_clean_start_ends_the_session() {
    for version in Version::ALL {
        let broker = start(&["reader", "writer"]);
        let mut writer = broker.operator(version, "writer");
        for leaves in [true, false] {
            let connect = lasting(version, "reader");
            let (mut reader, _) = resume(&broker, version, &connect);
            reader.subscribe(&[("app/#", 1)], &[1]);
            let kicked = (!leaves).then_some(reader);
            let clean = Connect {
                clean: true,
                ..connect.clone()
            };
            let (mut reader, there) = resume(&broker, version, &clean);
            assert!(!there);
            if let Some(mut kicked) = kicked {
                kicked.expect_farewell(0x8e);
            }
            writer.deliver("app/x", 1, b"not to be seen");
            reader.expect_alive();
            reader.send(&DISCONNECT);
            reader.expect_close();
            let (_, there) = resume(&broker, version, &connect);
            // Version 5 asked for a session that lasts all the same.
            assert_eq!(there, version.is_5());
            resume(
                &broker,
                version,
                &Connect {
                    properties: &[],
                    ..clean
                },
            );
        }
    }
}

#[test]
fn a_newcomer_takes_the_session_over() {
    for version in Version::ALL {
        let broker = start(&["reader", "writer"]);
        let mut writer = broker.operator(version, "writer");
        let connect = lasting(version, "reader");
        let (mut reader, _) = resume(&broker, version, &connect);
        reader.subscribe(&[("app/#", 1)], &[1]);
        for round in 0..20 {
            let payload = [round];
            writer.deliver("app/x", 1, &payload);
            let (newer, there) = resume(&broker, version, &connect);
            assert_eq!(there, present(version));
            let mut older = std::mem::replace(&mut reader, newer);
            // The older one may have been sent it before, and did not say so.
            while let Some(packet) = older.next() {
                let farewell = version.farewell(0x8e);
                let is_message = packet.publish(version).is_some();
                assert!(is_message || Some(packet.bytes()) == farewell);
            }
            assert_eq!(reader.message().payload, payload);
        }
        reader.expect_alive();
    }
}

#[test]
fn another_client_id_is_another_session() {
    for version in Version::ALL {
        let broker = start(&["reader", "other"]);
        let (reader, _) = resume(&broker, version, &lasting(version, "reader"));
        reader.vanish();
        let connect = Connect {
            client_id: "elsewhere",
            ..lasting(version, "reader")
        };
        assert!(!resume(&broker, version, &connect).1);
        let connect = Connect {
            client_id: "reader",
            ..lasting(version, "other")
        };
        assert!(!resume(&broker, version, &connect).1, "of another operator");
    }
}

#[test]
fn a_restart_ends_sessions_and_says_so() {
    for version in Version::ALL {
        let mut broker = start(&["reader"]);
        let connect = lasting(version, "reader");
        resume(&broker, version, &connect);
        broker.kill_and_restart();
        assert!(!resume(&broker, version, &connect).1);
    }
}

#[test]
fn removing_an_operator_ends_a_session_that_waits() {
    for version in Version::ALL {
        let broker = start(&["reader"]);
        let connect = lasting(version, "reader");
        resume(&broker, version, &connect).0.vanish();
        broker.cli(&["operator", "remove", "reader"]).ok();
        broker.add_operator("reader", "viewer", &[]);
        assert!(!resume(&broker, version, &connect).1);
    }
}

#[test]
fn version_5_is_told_how_long_a_session_lasts() {
    let version = Version::V5;
    let broker = start(&["reader"]);
    let connect = Connect {
        properties: &[0x11, 0xff, 0xff, 0xff, 0xff],
        ..Connect::new("reader", PASSWORD)
    };
    let mut reader = Peer::connect(broker.address(), version, &connect);
    let connack = reader.packet().body;
    let week = [&[0x11], (7u32 * 24 * 3600).to_be_bytes().as_slice()].concat();
    assert!(
        connack.windows(5).any(|part| part == week),
        "{connack:02x?}"
    );
    // The goodbye ends it after all.
    reader.send(&packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 0]));
    reader.expect_close();
    assert!(!resume(&broker, version, &lasting(version, "reader")).1);
}

#[test]
fn a_session_that_was_to_end_cannot_be_prolonged() {
    let version = Version::V5;
    let broker = start(&["reader"]);
    let mut reader = broker.operator(version, "reader");
    reader.send(&packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]));
    reader.expect_farewell(0x82);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let version = Version::V5;
    let broker = start(&["reader"]);
    let connect = Connect {
        clean: false,
        properties: &FLEETING,
        // Told that the session is over: published then, whatever its delay.
        will: Some((0, "app/over", b"over")),
        will_properties: &[0x18, 0, 0, 0, 99],
        ..Connect::new("reader", PASSWORD)
    };
    let watching = ["--subscribe", "app/#"];
    broker.add_operator("watcher", "viewer", &watching);
    let mut watcher = broker.operator(version, "watcher");
    watcher.subscribe(&[("app/over", 0)], &[0]);
    resume(&broker, version, &connect).0.vanish();
    assert_eq!(watcher.message().payload, b"over");
    // A will waits no longer than its session.
    let connect = Connect {
        will: None,
        ..connect
    };
    assert!(!resume(&broker, version, &connect).1);
}

#[test]
fn a_message_that_waits_too_long_is_not_delivered() {
    let version = Version::V5;
    let broker = start(&["reader", "writer"]);
    let connect = lasting(version, "reader");
    let (mut reader, _) = resume(&broker, version, &connect);
    reader.subscribe(&[("app/#", 1)], &[1]);
    reader.vanish();
    let mut writer = broker.operator(version, "writer");
    // Message expiry: one second, and a hundred.
    for (seconds, payload) in [(1, b"short"), (100, b"long ")] {
        let property = [0x02, 0, 0, 0, seconds];
        writer.send(&version.publish_with(0x33, "app/x", 4, &property, payload));
        writer.expect(&version.acknowledgement(PUBACK, 4, 0));
    }
    // Both are retained as well: the effect is seen there.
    eventually("the short one has expired", || {
        let mut watcher = broker.operator(version, "writer");
        watcher.subscribe(&[("app/x", 0)], &[0]);
        let kept = watcher.message();
        let left = kept.properties.as_slice();
        (kept.payload == b"long " && left[4] < 99).then_some(())
    });
    let (mut reader, _) = resume(&broker, version, &connect);
    let message = reader.message();
    assert_eq!(message.payload, b"long ");
    assert!(message.properties[4] < 100, "counted down");
    reader.expect_alive();
}

#[test]
fn a_will_waits_for_its_peer_to_come_back() {
    let version = Version::V5;
    let broker = start(&["writer", "watcher"]);
    let mut watcher = broker.operator(version, "watcher");
    watcher.subscribe(&[("app/will", 0)], &[0]);
    let with_will = |delay: &'static [u8], payload: &'static [u8]| Connect {
        will: Some((0, "app/will", payload)),
        will_properties: delay,
        ..lasting(version, "writer")
    };
    let long: &[u8] = &[0x18, 0, 0, 0, 90];
    resume(&broker, version, &with_will(long, b"first"))
        .0
        .vanish();
    // In time: it takes the will along.
    let (writer, there) = resume(&broker, version, &with_will(&[0x18, 0, 0, 0, 1], b"second"));
    assert!(there);
    watcher.expect_alive();
    writer.vanish();
    assert_eq!(watcher.message().payload, b"second");
    // Beginning anew ends the old session, and its will is due.
    resume(&broker, version, &with_will(long, b"third"))
        .0
        .vanish();
    let clean = Connect {
        clean: true,
        ..lasting(version, "writer")
    };
    resume(&broker, version, &clean);
    assert_eq!(watcher.message().payload, b"third");
}

#[test]
fn too_many_sessions_that_wait_end_the_oldest() {
    let version = Version::V311;
    let broker = start(&["reader"]);
    let connect = |client: &'static str| Connect {
        client_id: client,
        ..lasting(version, "reader")
    };
    resume(&broker, version, &connect("first")).0.vanish();
    resume(&broker, version, &connect("second")).0.vanish();
    for n in 0..99 {
        let client = format!("more-{n}");
        let connect = Connect {
            client_id: &client,
            ..lasting(version, "reader")
        };
        resume(&broker, version, &connect).0.vanish();
    }
    eventually("the oldest has ended", || {
        let (peer, there) = resume(&broker, version, &connect("first"));
        peer.vanish();
        (!there).then_some(())
    });
}

#[test]
fn a_lasting_session_goes_on_under_its_own_rights() {
    let version = Version::V5;
    let broker = start(&["reader", "writer"]);
    let connect = lasting(version, "reader");
    let (mut reader, _) = resume(&broker, version, &connect);
    let user = [&[0x26], text("k").as_slice(), &text("v")].concat();
    let property = [user.as_slice(), &[0x0b, 9]].concat();
    // Retain as published, identifier 9.
    reader.send(&version.subscribe_with(3, &property, &[("app/#", 0x09)]));
    reader.expect(&version.suback(3, &[1]));
    reader.vanish();
    let mut writer = broker.operator(version, "writer");
    writer.send(&version.publish_with(0x33, "app/x", 4, &[], b"kept"));
    writer.expect(&version.acknowledgement(PUBACK, 4, 0));
    let (mut reader, _) = resume(&broker, version, &connect);
    let message = reader.message();
    assert!(message.retain(), "options last");
    assert_eq!(message.properties, [0x0b, 9], "identifiers, too");
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let version = Version::V311;
    let broker = start(&["reader", "writer"]);
    let connect = lasting(version, "reader");
    let (mut reader, _) = resume(&broker, version, &connect);
    reader.subscribe(&[("app/#", 1), ("provisioning/lost", 0)], &[1, 0]);
    reader.vanish();
    let mut writer = broker.operator(version, "writer");
    let total: u16 = 10_200;
    let numbers: Vec<u16> = (1..=total).collect();
    for some in numbers.chunks(200) {
        let publish = |n: &u16| version.publish("app/x", 1, *n, &n.to_be_bytes());
        writer.send(&some.iter().flat_map(publish).collect::<Vec<u8>>());
        for n in some {
            writer.expect(&version.acknowledgement(PUBACK, *n, 0));
        }
    }
    let (mut reader, _) = resume(&broker, version, &connect);
    // How much came before it was back, and how much after, nobody knows: but
    // it is told of all that it did not get, before it gets the rest.
    let (mut lost, mut next) = (0, 1);
    while next <= total {
        let message = reader.message();
        if message.topic == "provisioning/lost" {
            lost += message.json()["lost"].as_u64().expect("a number");
            continue;
        }
        let n = u16::from_be_bytes(message.payload.try_into().expect("two bytes"));
        assert_eq!(u64::from(n), u64::from(next) + lost, "in order");
        (next, lost) = (n + 1, 0);
    }
    assert_eq!(lost, 0);
    reader.expect_alive();
}
