//! A role of the database's cluster that may connect to the registry's
//! database, and has no rights on its tables, while two servers serve.

use std::time::Duration;

use crate::support::nodes::{Nodes, Stranger};
use crate::support::{Peer, TestBroker, Version, eventually};

/// Has a command be passed on to a device at the other server, at QoS 0.
fn send(from: &TestBroker, feed: &str, device: &mut Peer, text: &str) {
    let mut operator = from.admin(Version::V5);
    operator.deliver(&format!("feeds/{feed}/commands/blink"), 0, text.as_bytes());
    assert_eq!(&*device.message().payload, text.as_bytes());
}

fn notify(stranger: &mut Stranger, payload: &str) {
    stranger.ask(&format!("NOTIFY firstwake_hints, '{payload}'"));
}

#[test]
fn who_listens_reads_nothing_and_what_is_repeated_is_not_done_again() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1"]);
    let (mut device, credentials) = nodes.one.device(Version::V311, "S1");
    let feed = credentials.feed.to_string();
    device.subscribe(&[(&format!("feeds/{feed}/commands/+"), 0)], &[0]);
    let mut stranger = nodes.database.stranger();
    stranger.ask("LISTEN firstwake_hints; LISTEN firstwake_newest");
    send(&nodes.two, &feed, &mut device, "open sesame");
    let recorded = stranger.notifications();
    assert!(!recorded.is_empty());
    for said in &recorded {
        assert!([395, 1419, 3467, 7904].contains(&said.len()), "{said}");
        assert!(!said.contains("sesame") && !said.contains("b3BlbiBzZXNhbW"));
    }
    recorded.iter().for_each(|said| notify(&mut stranger, said));
    send(&nodes.two, &feed, &mut device, "and once more");

    // A server that has just started has heard nothing of it.
    nodes.one.kill_and_restart();
    let mut device = nodes.one.login(Version::V311, "S1", &credentials.key);
    device.subscribe(&[(&format!("feeds/{feed}/commands/+"), 0)], &[0]);
    recorded.iter().for_each(|said| notify(&mut stranger, said));
    let mut operator = nodes.two.admin(Version::V5);
    // Until both know of the start: what is told at QoS 0 meanwhile may be lost.
    eventually("a command", || {
        operator.deliver(&format!("feeds/{feed}/commands/blink"), 0, b"the next");
        let soon = Duration::from_millis(50);
        device.says_something_within(soon).then_some(())
    });
    assert_eq!(&*device.message().payload, b"the next");
}

#[test]
fn what_is_forged_is_dropped() {
    let Some(nodes) = Nodes::start() else { return };
    let product = nodes.one.fleet(&["S1"]);
    let quarantine = ["product", "set", &product, "--on-clone", "quarantine"];
    nodes.one.cli(&quarantine).ok();
    let (mut device, credentials) = nodes.one.device(Version::V5, "S1");
    let feed = credentials.feed.to_string();
    device.subscribe(&[(&format!("feeds/{feed}/commands/+"), 0)], &[0]);
    let mut stranger = nodes.database.stranger();
    for number in ["999999999", "18446744073709551615", "0", "-1", ""] {
        stranger.ask(&format!("NOTIFY firstwake_newest, '{number}'"));
        notify(&mut stranger, number);
    }
    // A name, and hints as they were written before there was a seal: sessions
    // that begin later, takeovers of everybody by everybody.
    for kind in ["AAE", "AQE", "AgE", "BAE", "BQ"] {
        let name = "00000000-0000-0000-0000-000000000000";
        notify(&mut stranger, &format!("{name} {kind}"));
    }
    let flood = "DO $$ BEGIN FOR n IN 1..5000 LOOP \
                 PERFORM pg_notify('firstwake_hints', n || repeat('A', 7900)); END LOOP; END $$";
    stranger.ask(flood);
    for key in ["fw open\0", "fw migr\0"] {
        let key = i64::from_be_bytes(*key.as_bytes().first_chunk().expect("eight"));
        stranger.ask(&format!("SELECT pg_advisory_lock({key})"));
    }
    stranger.ask("BEGIN; LOCK TABLE firstwake.presence; ROLLBACK");
    stranger.ask("SELECT * FROM firstwake.meta FOR UPDATE");

    send(&nodes.two, &feed, &mut device, "still here");
    assert_eq!(nodes.one.lifecycle("S1"), "active");
    assert!(nodes.one.suspicions().is_empty());
    // Everything is still written, and followed.
    nodes.two.fleet(&["S2"]);
    nodes.two.device(Version::V311, "S2");
    nodes.two.cli(&["device", "suspend", "S1"]).ok();
    device.expect_farewell_because(0x98, "an operator suspended this device");
    let told = "notifications that no server of this registry has sent were dropped";
    eventually("a line in the log", || {
        nodes.one.log().contains(told).then_some(())
    });
    assert_eq!(nodes.one.log().matches(told).count(), 1, "folded");
}
