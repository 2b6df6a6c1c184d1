//! Wills of devices that have a delay.

use crate::support::wire::DISCONNECT;
use crate::support::{Connect, Peer, TestBroker, Version};

/// A session for an hour with a will after so many seconds.
fn connect(broker: &TestBroker, key: &str, topic: &str, clean: bool, delay: u8) -> Peer {
    let connect = Connect {
        clean,
        properties: &[0x11, 0, 0, 0x0e, 0x10],
        will: Some((0b1000, topic, b"gone")),
        will_properties: &[0x18, 0, 0, 0, delay],
        client_id: "S1",
        ..Connect::new("", key)
    };
    let mut peer = Peer::connect(broker.address(), Version::V5, &connect);
    assert_eq!(peer.packet().body[1], 0);
    peer
}

#[test]
fn a_delayed_will_is_published_in_time_unless_the_session_goes_on() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let mut watcher = broker.admin(Version::V5);
    watcher.subscribe(&[("feeds/#", 1)], &[1]);
    let credentials = broker.activate(Version::V5, "S1");
    let topic = format!("feeds/{}/status", credentials.feed);
    let device = |clean, delay| connect(&broker, &credentials.key, &topic, clean, delay);

    device(true, 1).vanish();
    assert_eq!(watcher.message().payload, b"gone");

    // Back in time, or taken over: nothing is published.
    device(true, 100).vanish();
    let mut back = device(false, 100);
    let mut newer = device(false, 100);
    back.expect_farewell(0x8e);
    newer.deliver(&topic, 1, b"marker");
    assert_eq!(watcher.message().payload, b"marker");

    // A clean start ends the session, so the will is due.
    newer.vanish();
    let mut clean = device(true, 100);
    assert_eq!(watcher.message().payload, b"gone");
    clean.deliver(&topic, 1, b"marker");
    assert_eq!(watcher.message().payload, b"marker");

    clean.send(&DISCONNECT);
    clean.expect_close();
    let mut last = device(false, 100);
    last.deliver(&topic, 1, b"last");
    assert_eq!(watcher.message().payload, b"last");
}

#[test]
fn a_revoked_devices_will_is_never_published() {
    let broker = TestBroker::start();
    broker.fleet(&["S1", "S2"]);
    let mut watcher = broker.admin(Version::V5);
    watcher.subscribe(&[("feeds/#", 1)], &[1]);
    let credentials = broker.activate(Version::V5, "S1");
    let topic = format!("feeds/{}/status", credentials.feed);
    let mut device = connect(&broker, &credentials.key, &topic, true, 0);
    broker.cli(&["device", "revoke", "S1"]).ok();
    device.expect_farewell_because(0x98, "an operator revoked this device");
    let (mut other, others) = broker.device(Version::V5, "S2");
    let marker = format!("feeds/{}/status", others.feed);
    other.deliver(&marker, 1, b"marker");
    assert_eq!(watcher.message().topic, marker);
}

/// Asked when the will is due, and not when its device left.
#[test]
fn a_delayed_will_of_a_device_that_may_not_be_here_is_not_published() {
    let broker = TestBroker::start();
    let gone = [
        "revoked",
        "quarantined",
        "suspended",
        "reset",
        "activated-anew",
        "removed",
        "blocked",
        "renamed",
    ];
    let stay = ["resumed", "released", "last"];
    let product = broker.fleet(&[&gone[..], &stay].concat());
    let mut watcher = broker.admin(Version::V5);
    watcher.subscribe(&[("feeds/#", 1)], &[1]);
    let mut feeds = Vec::new();
    for serial in gone.iter().chain(&stay) {
        let credentials = broker.activate(Version::V5, serial);
        let topic = format!("feeds/{}/status", credentials.feed);
        // The last is due in a later sweep than all others.
        let delay = if *serial == "last" { 9 } else { 8 };
        connect(&broker, &credentials.key, &topic, true, delay).vanish();
        feeds.push(topic);
    }
    for act in [
        &["device", "revoke", "revoked"][..],
        &["device", "quarantine", "quarantined"],
        &["device", "suspend", "suspended"],
        &["device", "reset", "reset"],
        &["device", "reset", "activated-anew"],
        &["device", "remove", "removed"],
        &["device", "rename", "renamed", "another"],
        &["device", "suspend", "resumed"],
        &["device", "resume", "resumed"],
        &["device", "quarantine", "released"],
        &["device", "release", "released"],
    ] {
        broker.cli(act).ok();
    }
    let spared = [&stay[..], &["activated-anew"]].concat().join("\n");
    let block = ["product", "block", &product, "--except", "-"];
    broker.cli_with(&block, &spared).ok();
    let anew = broker.activate(Version::V5, "activated-anew");
    assert!(broker.works("activated-anew", &anew.key));
    let mut published: Vec<_> = stay.iter().map(|_| watcher.message().topic).collect();
    assert_eq!(published.last(), feeds.last());
    published.sort();
    let mut expected = feeds.split_off(gone.len());
    expected.sort();
    assert_eq!(published, expected);
}
