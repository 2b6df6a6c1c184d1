//! Sessions that somebody else ends.

use crate::support::{Connect, PASSWORD, TestBroker, Version};

#[test]
fn an_operators_act_ends_the_session_at_once() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "bystander"]);
        let (mut bystander, _) = broker.device(version, "bystander");
        let mut credentials = broker.activate(version, "S1");
        for (act, back, words) in [
            (
                "suspend",
                Some("resume"),
                "an operator suspended this device",
            ),
            (
                "quarantine",
                Some("release"),
                "this device is quarantined: two may be using one identity",
            ),
            (
                "reset",
                None,
                "an operator reset this device: it may activate again",
            ),
            ("revoke", None, "an operator revoked this device"),
        ] {
            let mut device = broker.login(version, "S1", &credentials.key);
            device.expect_alive();
            broker.cli(&["device", act, "S1"]).ok();
            device.expect_farewell_because(0x98, words);
            assert!(!broker.works("S1", &credentials.key), "{act}");
            match back {
                Some(back) => {
                    broker.cli(&["device", back, "S1"]).ok();
                    assert!(broker.works("S1", &credentials.key), "{back}");
                }
                None if act == "reset" => {
                    let feed = credentials.feed;
                    credentials = broker.activate(version, "S1");
                    assert_eq!(credentials.feed, feed, "the feed stays");
                }
                None => {}
            }
        }
        bystander.expect_alive();
    }
}

#[test]
fn an_activation_is_ended_as_well() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut device = broker.activating(version, "S1");
        broker.cli(&["device", "suspend", "S1"]).ok();
        device.expect_farewell_because(0x98, "an operator suspended this device");
    }
}

#[test]
fn an_operator_that_is_changed_or_removed_is_out() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.add_operator("other", "viewer", &[]);
        let mut other = broker.operator(version, "other");
        let mut boss = broker.admin(version);
        broker.add_operator("boss", "viewer", &[]);
        boss.expect_farewell_because(0x98, "this operator was changed or removed");
        let mut boss = broker.operator(version, "boss");
        broker.cli(&["operator", "remove", "boss"]).ok();
        boss.expect_farewell_because(0x98, "this operator was changed or removed");
        let told = broker.told(version, &Connect::new("boss", PASSWORD));
        let no = if version.is_5() { 0x86 } else { 4 };
        assert_eq!(told, Some(version.connack(no)));
        other.expect_alive();
    }
}

#[test]
fn operators_take_over_by_client_id() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut first = broker.admin(version);
        let other = Connect {
            client_id: "another",
            ..Connect::new("boss", PASSWORD)
        };
        let mut beside = broker.admitted(version, &other);
        first.expect_alive();
        let mut second = broker.operator(version, "boss");
        first.expect_farewell(0x8e);
        second.expect_alive();
        beside.expect_alive();
    }
}

#[test]
fn a_server_that_is_told_to_stop_says_so_and_ends_well() {
    let mut broker = TestBroker::start();
    broker.fleet(&["V31", "V311", "V5", "new"]);
    let mut peers: Vec<_> = Version::ALL
        .into_iter()
        .map(|version| broker.device(version, &format!("{version:?}")).0)
        .collect();
    let mut activating = broker.activating(Version::V5, "new");
    broker.terminate();
    for peer in &mut peers {
        peer.expect_farewell(0x8b);
    }
    activating.expect_farewell(0x8b);
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn what_was_known_is_known_after_a_restart() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1", "S2"]);
    let (_, confirmed) = broker.device(Version::V5, "S1");
    let pending = broker.activate(Version::V5, "S2");
    let events = broker.events();
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    broker.restart();
    assert_eq!(broker.events(), events);
    assert!(broker.works("S1", &confirmed.key));
    assert!(broker.works("S2", &pending.key));
}

#[test]
fn a_peer_of_small_packets_is_told_without_words() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let key = broker.activate(Version::V5, "S1").key;
    let connect = Connect {
        // Maximum packet size: 30 bytes.
        properties: &[0x27, 0, 0, 0, 30],
        ..Connect::new("S1", &key)
    };
    let mut device = broker.admitted(Version::V5, &connect);
    broker.cli(&["device", "suspend", "S1"]).ok();
    device.expect_farewell(0x98);
}
