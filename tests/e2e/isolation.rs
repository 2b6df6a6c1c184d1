//! What is another's stays another's.

use crate::support::wire::{PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::support::{Peer, TestBroker, Version};

fn no(version: Version) -> u8 {
    if version.is_5() { 0x87 } else { 0x80 }
}

/// What neither a device nor an activating one may read.
fn foreign(other: u64) -> Vec<String> {
    vec![
        "#".to_owned(),
        "+/+/+".to_owned(),
        "provision/other/response".to_owned(),
        "provision/+/response".to_owned(),
        format!("feeds/{other}/#"),
        "feeds/+/config".to_owned(),
        "provisioning/events/#".to_owned(),
        "$SYS/#".to_owned(),
    ]
}

#[test]
fn a_device_reads_nothing_of_others() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["mine", "other", "new"]);
        let (mut writer, other) = broker.device(version, "other");
        let (mut device, _) = broker.device(version, "mine");
        let mut activating = broker.activating(version, "new");
        let filters = foreign(other.feed);
        for peer in [&mut device, &mut activating] {
            for filter in &filters {
                peer.subscribe(&[(filter, 2)], &[no(version)]);
            }
        }
        let topic = format!("feeds/{}/status", other.feed);
        writer.send(&version.publish(&topic, 1, 1, b"secret"));
        writer.expect(&version.acknowledgement(PUBACK, 1, 0));
        device.expect_alive();
        activating.expect_alive();
    }
}

#[test]
fn a_device_writes_nothing_of_others() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["mine", "other"]);
        let (_, other) = broker.device(version, "other");
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("feeds/#", 2), ("app/#", 2)], &[2, 2]);
        let (mut device, mine) = broker.device(version, "mine");
        let reason = if version.is_5() { 0x87 } else { 0 };
        let feed = other.feed;
        for (id, topic) in [
            (1, format!("feeds/{feed}/data")),
            (2, format!("/v2/feeds/{feed}.json")),
            (3, "provision/other/response".to_owned()),
            (4, "app/x".to_owned()),
        ] {
            // Quality 0 has no answer; 1 and 2 are told, where there is a word.
            device.send(&version.publish(&topic, 0, 0, b"forged"));
            device.send(&version.publish(&topic, 1, id, b"forged"));
            device.expect(&version.acknowledgement(PUBACK, id, reason));
        }
        device.send(&version.publish("app/x", 2, 9, b"forged"));
        device.expect(&version.acknowledgement(PUBREC, 9, reason));
        if !version.is_5() {
            device.send(&version.acknowledgement(PUBREL, 9, 0));
            device.expect(&version.acknowledgement(PUBCOMP, 9, 0));
        }
        // Its own topics are still its own, and nothing came before this.
        let own = format!("feeds/{}/status", mine.feed);
        device.send(&version.publish(&own, 0, 0, b"genuine"));
        let message = watcher.message();
        assert_eq!((message.topic, message.payload), (own, b"genuine".to_vec()));
    }
}

/// Does something forbidden ten times: that ends the session.
fn ten_times(peer: &mut Peer, act: impl Fn(&mut Peer, u16)) {
    (1..=10).for_each(|n| act(peer, n));
    peer.expect_farewell(0x87);
}

#[test]
fn ten_forbidden_things_end_a_session() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["mine", "other", "third"]);
        let no = no(version);
        let (mut device, _) = broker.device(version, "mine");
        ten_times(&mut device, |peer, _| peer.subscribe(&[("#", 0)], &[no]));

        // All at once count as well.
        let mut device = broker.activating(version, "other");
        device.subscribe(&[("#", 0); 10], &[no; 10]);
        device.expect_farewell(0x87);

        let mut device = broker.activating(version, "third");
        let reason = if version.is_5() { 0x87 } else { 0 };
        ten_times(&mut device, |peer, id| {
            peer.send(&version.publish("provision/mine/request", 1, id, b""));
            peer.expect(&version.acknowledgement(PUBACK, id, reason));
        });
    }
}

#[test]
fn nine_are_forgiven_and_asking_for_ones_own_is_no_offence() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["mine"]);
        let (mut device, mine) = broker.device(version, "mine");
        let no = no(version);
        for _ in 0..9 {
            device.subscribe(&[("#", 0)], &[no]);
        }
        // Nothing is delivered there, and it may ask all the same.
        let data = format!("feeds/{}/data/#", mine.feed);
        let status = format!("feeds/{}/status", mine.feed);
        for _ in 0..20 {
            device.subscribe(&[(&data, 1), (&status, 1)], &[no, no]);
        }
        device.expect_alive();
    }
}

#[test]
fn an_operator_with_every_topic_sees_no_answer() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("provision/#", 1)], &[no(version)]);
        watcher.subscribe(&[("provision/S1/response", 1)], &[no(version)]);
        watcher.subscribe(&[("#", 1), ("+/S1/response", 1)], &[1, 1]);

        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/status", credentials.feed);
        device.send(&version.publish(&topic, 1, 1, b"marker"));
        device.expect(&version.acknowledgement(PUBACK, 1, 0));

        // The log's and the bus's last word: all before them was seen.
        let (mut confirmed, mut marker) = (false, false);
        while !(confirmed && marker) {
            let message = watcher.message();
            assert!(!message.topic.starts_with("provision/"), "{message:?}");
            let payload = String::from_utf8_lossy(&message.payload);
            assert!(!payload.contains(&credentials.key), "{message:?}");
            confirmed |= message.topic.ends_with("/activation_confirmed");
            marker |= message.topic == topic;
        }
    }
}
