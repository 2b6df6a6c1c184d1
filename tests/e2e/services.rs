//! Messages between operators and services.

use crate::support::wire::{DISCONNECT, PUBACK, text};
use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version};

/// A service that may publish and subscribe under `app/`.
fn service(broker: &TestBroker, version: Version, name: &str) -> Peer {
    let filters = ["--publish", "app/#", "--subscribe", "app/#"];
    broker.add_operator(name, "viewer", &filters);
    broker.operator(version, name)
}

#[test]
fn messages_pass_at_the_lower_quality() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut writer = service(&broker, version, "writer");
        let mut reader = service(&broker, version, "reader");
        for subscribed in 0..=2 {
            reader.subscribe(&[("app/+", subscribed)], &[subscribed]);
            for published in 0..=2 {
                let payload = [published; 3];
                writer.deliver("app/x", published, &payload);
                let message = reader.message();
                assert_eq!(message.topic, "app/x");
                assert_eq!(message.payload, payload);
                assert_eq!(message.qos(), subscribed.min(published));
            }
        }
        // Large ones, too.
        let large = vec![b'x'; 900_000];
        writer.deliver("app/large", 1, &large);
        assert_eq!(reader.message().payload.len(), large.len());
    }
}

#[test]
fn overlapping_filters_deliver_once() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut writer = service(&broker, version, "writer");
        let mut reader = service(&broker, version, "reader");
        reader.subscribe(&[("app/#", 0), ("app/+", 1), ("app/x", 0)], &[0, 1, 0]);
        writer.deliver("app/x", 2, b"1");
        assert_eq!(reader.message().qos(), 1);
        writer.deliver("app/y", 0, b"2");
        assert_eq!(reader.message().payload, b"2");
    }
}

#[test]
fn unsubscribing_ends_the_delivery() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut writer = service(&broker, version, "writer");
        let mut reader = service(&broker, version, "reader");
        reader.subscribe(&[("app/a", 0), ("app/b", 0)], &[0, 0]);
        reader.send(&version.unsubscribe(9, &["app/a", "app/never"]));
        reader.expect(&version.unsuback(9, &[0, 0x11]));
        writer.deliver("app/a", 1, b"not to be seen");
        writer.deliver("app/b", 1, b"seen");
        assert_eq!(reader.message().payload, b"seen");
    }
}

#[test]
fn what_is_retained_is_delivered_on_subscribing() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut writer = service(&broker, version, "writer");
        let mut reader = service(&broker, version, "reader");
        reader.subscribe(&[("app/#", 1)], &[1]);
        let mut retain = |topic, payload: &[u8]| {
            writer.send(&version.publish_with(0x33, topic, 4, &[], payload));
            writer.expect(&version.acknowledgement(PUBACK, 4, 0));
            // Carried on as news: without the flag.
            let news = reader.message();
            assert_eq!((news.payload.as_slice(), news.retain()), (payload, false));
        };
        retain("app/1", b"old");
        retain("app/1", b"new");
        retain("app/2", b"gone");
        retain("app/2", b"");
        retain("app/3", b"three");
        reader.subscribe(&[("app/+", 0)], &[0]);
        let messages = reader.messages(2);
        let seen: Vec<_> = messages
            .iter()
            .map(|m| (m.topic.as_str(), m.payload.as_slice(), m.qos(), m.retain()))
            .collect();
        assert_eq!(
            seen,
            [
                ("app/1", b"new".as_slice(), 0, true),
                ("app/3", b"three".as_slice(), 0, true)
            ]
        );
        reader.expect_alive();
    }
}

#[test]
fn version_5_chooses_what_of_it_and_how() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let mut writer = service(&broker, version, "writer");
    let mut reader = service(&broker, version, "reader");
    writer.send(&version.publish_with(0x33, "app/r", 4, &[], b"kept"));
    writer.expect(&version.acknowledgement(PUBACK, 4, 0));

    // Retain handling 2: none; 1: only for a new subscription.
    reader.subscribe(&[("app/r", 0x20)], &[0]);
    reader.expect_alive();
    reader.subscribe(&[("app/r", 0x10)], &[0]);
    reader.expect_alive();
    reader.subscribe(&[("app/+", 0x10)], &[0]);
    assert!(reader.message().retain());
    reader.send(&version.unsubscribe(2, &["app/r", "app/+"]));
    reader.expect(&version.unsuback(2, &[0, 0]));

    // Retain as published.
    reader.subscribe(&[("app/r", 0x28)], &[0]);
    writer.send(&version.publish_with(0x31, "app/r", 0, &[], b"again"));
    let message = reader.message();
    assert!(message.retain());
    assert_eq!(message.payload, b"again");
}

#[test]
fn version_5_leaves_out_ones_own_messages_if_asked() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let mut one = service(&broker, version, "one");
    let mut other = service(&broker, version, "other");
    one.subscribe(&[("app/#", 0x04)], &[0]);
    one.deliver("app/mine", 1, b"not to be seen");
    other.deliver("app/other", 1, b"seen");
    assert_eq!(one.message().payload, b"seen");
    // Without being asked, they come.
    one.subscribe(&[("app/#", 0)], &[0]);
    one.deliver("app/mine", 0, b"my own");
    assert_eq!(one.message().payload, b"my own");
}

#[test]
fn version_5_is_told_which_subscriptions_matched() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let mut writer = service(&broker, version, "writer");
    let mut reader = service(&broker, version, "reader");
    // Identifiers 5 and 200.
    for (id, property, filter) in [
        (1, [0x0b, 5].as_slice(), "app/#"),
        (2, &[0x0b, 0xc8, 1], "app/+"),
    ] {
        reader.send(&version.subscribe_with(id, property, &[(filter, 0)]));
        reader.expect(&version.suback(id, &[0]));
    }
    let property = [&[0x26], text("k").as_slice(), &text("v")].concat();
    writer.send(&version.publish_with(0x30, "app/x", 0, &property, b"1"));
    let message = reader.message();
    assert_eq!(
        message.properties,
        [property.as_slice(), &[0x0b, 5, 0x0b, 0xc8, 1]].concat()
    );
}

#[test]
fn rights_are_those_of_the_role_and_ones_own() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut viewer = service(&broker, version, "viewer");
        let (refused, no) = if version.is_5() {
            (0x87, 0x87)
        } else {
            (0, 0x80)
        };
        for (filter, code) in [
            ("#", no),
            ("+/x", no),
            ("app/x/#", 0),
            ("feeds/#", 0),
            ("provisioning/fleet/none", 0),
        ] {
            viewer.subscribe(&[(filter, 0)], &[code]);
        }
        for topic in [
            "other",
            "feeds/1/data",
            "provisioning/fleet",
            "provision/S1/response",
        ] {
            viewer.send(&version.publish(topic, 1, 3, b"x"));
            viewer.expect(&version.acknowledgement(PUBACK, 3, refused));
        }
        viewer.deliver("app/x", 1, b"fine");
        // Nobody but a device publishes its uplink, whatever the filters.
        let mut admin = broker.admin(version);
        for topic in ["feeds/1/status", "/v2/feeds/1.csv", "provisioning/events/x"] {
            admin.send(&version.publish(topic, 1, 3, b"x"));
            admin.expect(&version.acknowledgement(PUBACK, 3, refused));
        }
    }
}

#[test]
fn a_services_will() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut reader = service(&broker, version, "reader");
        service(&broker, version, "writer");
        reader.subscribe(&[("app/#", 2)], &[2]);
        let login = |topic, payload: &'static [u8]| {
            let connect = Connect {
                // Quality 2, retained.
                will: Some((0b11_0000, topic, payload)),
                ..Connect::new("writer", PASSWORD)
            };
            Peer::connect(broker.address(), version, &connect)
        };
        let mut refused = login("other", b"");
        assert_eq!(
            refused.packet().body[1],
            if version.is_5() { 0x87 } else { 5 }
        );
        let mut polite = login("app/will", b"not to be seen");
        assert_eq!(polite.packet().body[1], 0);
        polite.send(&DISCONNECT);
        polite.expect_close();
        let mut lost = login("app/will", b"lost");
        assert_eq!(lost.packet().body[1], 0);
        lost.vanish();
        let message = reader.message();
        assert_eq!(
            (message.payload.as_slice(), message.qos()),
            (b"lost".as_slice(), 2)
        );
        reader.subscribe(&[("app/will", 0)], &[0]);
        assert!(reader.message().retain());
    }
}
