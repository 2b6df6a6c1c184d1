//! What devices publish, and who gets it.

use std::time::{Duration, Instant};

use crate::support::wire::{DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, packet, text};
use crate::support::{Connect, HUNG, PASSWORD, TestBroker, Version};

#[test]
fn uplinks_arrive_under_canonical_topics_at_the_lower_quality() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        broker.add_operator("boss", "admin", &[]);
        let (mut device, credentials) = broker.device(version, "S1");
        let feed = credentials.feed;
        let topics = [
            (format!("feeds/{feed}/data"), format!("feeds/{feed}/data")),
            (
                format!("feeds/{feed}/data/temperature"),
                format!("feeds/{feed}/data/temperature"),
            ),
            (
                format!("feeds/{feed}/data/a%2Bb"),
                format!("feeds/{feed}/data/a%2Bb"),
            ),
            (
                format!("feeds/{feed}/status"),
                format!("feeds/{feed}/status"),
            ),
            (
                format!("/v2/feeds/{feed}.json"),
                format!("feeds/{feed}/data"),
            ),
            (
                format!("/v2/feeds/{feed}.csv"),
                format!("feeds/{feed}/data"),
            ),
            (
                format!("/v2/feeds/{feed}/datastreams/0.csv"),
                format!("feeds/{feed}/data/0"),
            ),
        ];
        for subscribed in 0..=2 {
            let mut watcher = broker.operator(version, "boss");
            watcher.subscribe(&[("feeds/#", subscribed)], &[subscribed]);
            for published in 0..=2 {
                for (topic, canonical) in &topics {
                    let payload = match topic {
                        it if it.ends_with("/data") => "t,1",
                        it if it.ends_with(".json") => {
                            r#"{"datastreams":[{"id":"t","current_value":"1"}]}"#
                        }
                        it if it.ends_with(&format!("{feed}.csv")) => "t,2",
                        other => other,
                    };
                    device.deliver(topic, published, payload.as_bytes());
                    let message = watcher.message();
                    assert_eq!(message.topic, *canonical);
                    assert_eq!(message.payload, payload.as_bytes());
                    assert_eq!(message.qos(), subscribed.min(published));
                    assert!(!message.retain());
                }
            }
        }
    }
}

#[test]
fn quality_2_is_carried_on_once() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("feeds/#", 1)], &[1]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/status", credentials.feed);
        device.send(&version.publish(&topic, 2, 5, b"once"));
        device.expect(&version.acknowledgement(PUBREC, 5, 0));
        // The PUBREC was lost: sent again, with DUP.
        let again = version.publish_with(0x3c, &topic, 5, &[], b"once");
        device.send(&again);
        device.expect(&packet(PUBREC, &[0, 5]));
        device.send(&version.acknowledgement(PUBREL, 5, 0));
        device.expect(&version.acknowledgement(PUBCOMP, 5, 0));
        // And the PUBCOMP, too: a release of what is not known any more.
        device.send(&version.acknowledgement(PUBREL, 5, 0));
        device.expect(&version.acknowledgement(PUBCOMP, 5, 0x92));
        device.deliver(&topic, 2, b"last");
        assert_eq!(watcher.message().payload, b"once");
        assert_eq!(watcher.message().payload, b"last");
    }
}

#[test]
fn acknowledgements_of_nothing_change_nothing() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "S2"]);
        let (mut device, _) = broker.device(version, "S1");
        let not_found = match version.is_5() {
            true => packet(PUBREL, &[0, 7, 0x92]),
            false => packet(PUBREL, &[0, 7]),
        };
        for mut peer in [broker.admin(version), broker.activating(version, "S2")] {
            peer.send(&version.acknowledgement(PUBACK, 7, 0));
            peer.send(&version.acknowledgement(PUBCOMP, 7, 0));
            // In pieces, too.
            let pubrec = packet(PUBREC, &[0, 7]);
            let (start, rest) = pubrec.split_at(1);
            peer.send(start);
            peer.send(rest);
            peer.expect(&not_found);
            peer.expect_alive();
        }
        device.send(&[packet(PUBREC, &[0, 7]), packet(PUBACK, &[0, 8])].concat());
        device.expect(&not_found);
        device.expect_alive();
        // A flood of them ends the session.
        for _ in 0..1_000 {
            device.send(&packet(PUBACK, &[0, 7]));
        }
        device.expect_farewell(0x82);
    }
}

#[test]
fn acknowledgements_that_are_too_long_end_a_session_before_version_5() {
    for version in [Version::V31, Version::V311] {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        for first in [PUBACK, PUBREC, PUBREL, PUBCOMP] {
            let mut device = broker.device(version, "S1").0;
            device.send(&packet(first, &[0, 7, 0]));
            device.expect_close();
            broker.cli(&["device", "reset", "S1"]).ok();
        }
    }
}

#[test]
fn version_5_properties_are_carried_on() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let mut watcher = broker.admin(version);
    watcher.subscribe(&[("feeds/#", 1)], &[1]);
    let (mut device, credentials) = broker.device(version, "S1");
    let topic = format!("feeds/{}/data", credentials.feed);
    let properties = [
        &[0x01, 1, 0x02, 0, 0, 0, 60, 0x03],
        text("text/csv").as_slice(),
        &[0x08],
        &text("reply"),
        &[0x09, 0, 2, 0, 0xff, 0x26],
        &text("key"),
        &text("value"),
    ]
    .concat();
    device.send(&version.publish_with(0x30, &topic, 0, &properties, b"t,1"));
    assert_eq!(watcher.message().properties, properties);
    // Under an alias, and then by the alias alone.
    device.send(&version.publish_with(0x30, &topic, 0, &[0x23, 0, 1], b"named"));
    device.send(&version.publish_with(0x30, "", 0, &[0x23, 0, 1], b"alias"));
    for payload in [b"named", b"alias"] {
        let message = watcher.message();
        assert_eq!(
            (message.topic.as_str(), message.payload.as_slice()),
            (topic.as_str(), payload.as_slice())
        );
        assert!(message.properties.is_empty());
    }
}

#[test]
fn a_will_is_published_when_the_device_vanishes_and_only_then() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("feeds/#", 2)], &[2]);
        let (_, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/status", credentials.feed);
        let login = |will: &'static str| {
            let connect = Connect {
                // Quality 1.
                will: Some((0b1000, &topic, will.as_bytes())),
                ..Connect::new("S1", &credentials.key)
            };
            broker.admitted(version, &connect)
        };
        login("vanished").vanish();
        let message = watcher.message();
        assert_eq!(message.payload, b"vanished");
        assert_eq!((message.topic.as_str(), message.qos()), (topic.as_str(), 1));

        let mut polite = login("not to be seen");
        polite.send(&DISCONNECT);
        polite.expect_close();

        let mut older = login("taken over");
        let mut newer = login("broke the protocol");
        older.expect_farewell(0x8e);
        assert_eq!(watcher.message().payload, b"taken over");
        // Only a server sends this.
        newer.send(&[0xd0, 0]);
        while newer.next().is_some() {}
        assert_eq!(watcher.message().payload, b"broke the protocol");

        if version.is_5() {
            let mut device = login("disconnected with will");
            device.send(&[0xe0, 1, 4]);
            device.expect_close();
            assert_eq!(watcher.message().payload, b"disconnected with will");
        }
    }
}

#[test]
fn a_will_for_anothers_topic_is_refused_at_once() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut device, credentials) = broker.device(version, "S1");
        let foreign = format!("feeds/{}/status", credentials.feed + 1);
        let told = |flags, topic: &str| {
            let connect = Connect {
                client_id: "another",
                will: Some((flags, topic, b"x")),
                ..Connect::new("S1", &credentials.key)
            };
            broker.told(version, &connect)
        };
        let refused = if version.is_5() { 0x87 } else { 5 };
        let reason = "the will's topic is not yours to publish to";
        for topic in [foreign.as_str(), "app/x", "a/+", "provision/S1/response"] {
            assert_eq!(
                told(0, topic),
                Some(version.connack_because(refused, reason))
            );
        }
        if version.is_5() {
            let own = format!("feeds/{}/status", credentials.feed);
            assert_eq!(told(0b10_0000, &own), Some(version.connack(0x9a)));
        }
        device.expect_alive();
    }
}

#[test]
fn a_silent_device_is_given_up() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let credentials = broker.activate(version, "S1");
        let connect = Connect {
            keep_alive: 1,
            ..Connect::new("S1", &credentials.key)
        };
        let mut device = broker.admitted(version, &connect);
        let begun = Instant::now();
        device.expect_farewell(0x8d);
        assert!(begun.elapsed() < HUNG / 3);
    }
}

#[test]
fn a_device_or_operator_that_pings_is_not() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "silent"]);
        broker.add_operator("boss", "admin", &[]);
        let pinging = broker.activate(version, "S1");
        let silent = broker.activate(version, "silent");
        let login = |serial, password| {
            let connect = Connect {
                keep_alive: 1,
                ..Connect::new(serial, password)
            };
            broker.admitted(version, &connect)
        };
        let mut device = login("S1", &pinging.key);
        let mut operator = login("boss", PASSWORD);
        // As long as two silent ones live, one after the other.
        for _ in 0..2 {
            let mut silent = login("silent", &silent.key);
            while !silent.says_something_within(Duration::from_millis(200)) {
                device.expect_alive();
                operator.expect_alive();
            }
            silent.expect_farewell(0x8d);
        }
        device.expect_alive();
        operator.expect_alive();
    }
}

#[test]
fn forbidden_messages_are_acknowledged_and_dropped() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("app/#", 0), ("feeds/#", 0)], &[0, 0]);
        let (mut device, credentials) = broker.device(version, "S1");
        let refused = if version.is_5() { 0x87 } else { 0 };
        device.send(&version.publish("app/x", 1, 1, b"x"));
        device.expect(&version.acknowledgement(PUBACK, 1, refused));
        device.send(&version.publish("app/x", 2, 2, b"x"));
        device.expect(&version.acknowledgement(PUBREC, 2, refused));
        let topic = format!("feeds/{}/status", credentials.feed);
        device.send(&version.publish(&topic, 0, 0, b"fine"));
        assert_eq!(watcher.message().payload, b"fine");
    }
}

/// Before MQTT 5 no number of messages on their way is too many.
#[test]
fn a_burst_before_version_5_is_acknowledged_whole() {
    for version in [Version::V31, Version::V311] {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/data/t", credentials.feed);
        let burst: Vec<u8> = (1..=200)
            .flat_map(|id| version.publish(&topic, 1, id, b"1"))
            .collect();
        device.send(&burst);
        for id in 1..=200 {
            device.expect(&version.acknowledgement(PUBACK, id, 0));
        }
        device.expect_alive();
    }
}
