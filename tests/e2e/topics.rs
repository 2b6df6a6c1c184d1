//! Topics in every script, and texts that are none.

use crate::support::wire::{PUBACK, PUBREC};
use crate::support::{TestBroker, Version};

const LEGAL: [&str; 9] = [
    "é/x",
    "温度",
    "\u{feff}a",
    "\u{feff}",
    "/",
    "a//b",
    " ",
    "𝄞/x",
    "%2B",
];

#[test]
fn topics_in_every_script_arrive() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let writer_filters = ["--publish", "#", "--subscribe", "#"];
        broker.add_operator("service", "viewer", &writer_filters);
        let mut reader = broker.operator(version, "service");
        let mut writer = broker.admin(version);
        for topic in LEGAL {
            reader.subscribe(&[(topic, 1)], &[1]);
        }
        for (id, topic) in (1..).zip(LEGAL) {
            writer.send(&version.publish(topic, 1, id, topic.as_bytes()));
            writer.expect(&version.acknowledgement(PUBACK, id, 0));
            let message = reader.message();
            assert_eq!(message.topic, topic);
            assert_eq!(message.payload, topic.as_bytes());
        }
        let deep = "/".repeat(199);
        let long = "x".repeat(65_535);
        for topic in [&deep, &long] {
            reader.subscribe(&[(topic, 0)], &[0]);
            writer.send(&version.publish(topic, 0, 0, b"1"));
            assert_eq!(reader.message().topic, *topic);
        }
    }
}

#[test]
fn texts_that_are_no_topic_end_the_session() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        broker.add_operator("boss", "admin", &[]);
        let device = broker.activate(version, "S1");
        for as_device in [true, false] {
            let login = || match as_device {
                true => broker.login(version, "S1", &device.key),
                false => broker.operator(version, "boss"),
            };
            // Since version 5 an empty topic stands for an alias, here for none.
            for (topic, reason) in [("", 0x94), ("a\0b", 0x90), ("a/+", 0x90), ("#", 0x90)] {
                for qos in 0..=2 {
                    let mut peer = login();
                    peer.send(&version.publish(topic, qos, 1, b"x"));
                    peer.expect_farewell(reason);
                }
            }
            for filter in ["", "a/#/b", "a+", "a\0b", "#/"] {
                let mut peer = login();
                peer.send(&version.subscribe(1, &[("fine", 0), (filter, 0)]));
                peer.expect_farewell(0x8f);
            }
            // Text that is not UTF-8.
            let mut peer = login();
            let mut bytes = version.publish("ab", 0, 0, b"x");
            let at = bytes.iter().position(|byte| *byte == b'a').expect("it");
            bytes[at] = 0xff;
            peer.send(&bytes);
            peer.expect_farewell(0x81);
        }
        // And the server lives on.
        let mut reader = broker.operator(version, "boss");
        reader.subscribe(&[("é/x", 0)], &[0]);
        reader.send(&version.publish("é/x", 0, 0, b"1"));
        assert_eq!(reader.message().topic, "é/x");
    }
}

#[test]
fn a_devices_topics_have_limits() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut device, _) = broker.device(version, "S1");
        let (invalid, no) = if version.is_5() {
            (0x90, 0x8f)
        } else {
            (0, 0x80)
        };
        for (id, topic) in [(1, "x".repeat(513)), (2, "/".repeat(16))] {
            device.send(&version.publish(&topic, 1, id, b"x"));
            device.expect(&version.acknowledgement(PUBACK, id, invalid));
            device.send(&version.publish(&topic, 2, id, b"x"));
            device.expect(&version.acknowledgement(PUBREC, id, invalid));
            device.subscribe(&[(&topic, 0)], &[no]);
        }
        device.expect_alive();
    }
}

#[test]
fn dollar_topics_are_nobodys() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut admin = broker.admin(version);
        let (refused, no) = if version.is_5() {
            (0x87, 0x87)
        } else {
            (0, 0x80)
        };
        admin.subscribe(&[("$SYS/#", 0), ("+/x", 0)], &[no, 0]);
        admin.send(&version.publish("$SYS/x", 1, 1, b"x"));
        admin.expect(&version.acknowledgement(PUBACK, 1, refused));
        // Nor by way of a group.
        admin.subscribe(&[("$share/group/$SYS/#", 0)], &[no]);
    }
}
