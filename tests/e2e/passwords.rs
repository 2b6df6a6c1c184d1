//! Failing too often: what it costs, and whom.

use std::time::{Duration, Instant};

use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version, code};

const THERE: [u8; 4] = [127, 0, 0, 2];

fn from(source: [u8; 4], broker: &TestBroker, version: Version, connect: &Connect<'_>) -> Peer {
    let mut peer = Peer::open_from(source, broker.address(), version);
    peer.send(&connect.bytes(version));
    peer
}

#[test]
fn a_flood_of_passwords_from_one_source_keeps_no_operator_waiting() {
    let broker = TestBroker::start();
    broker.add_operator("boss", "admin", &[]);
    let wrong = Connect::new("boss", "not the password");
    let flood: Vec<Peer> = (0..200)
        .map(|_| from(THERE, &broker, Version::V311, &wrong))
        .collect();
    let begun = Instant::now();
    broker.operator(Version::V5, "boss").expect_alive();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(flood);
}

#[test]
fn who_fails_too_often_is_answered_slowly_and_hashes_nothing() {
    let broker = TestBroker::start_with(&["failures_burst=2", "failures_per_minute=1"]);
    broker.fleet(&["S1", "S2"]);
    broker.add_operator("boss", "admin", &[]);
    let (wrong, right) = (code("S2"), code("S1"));
    let wrong = Connect::new("S1", &wrong);
    let no = [4, 0x86];
    for version in [Version::V311, Version::V5] {
        let begun = Instant::now();
        let mut peer = from(THERE, &broker, version, &wrong);
        assert!(no.contains(&peer.packet().body[1]));
        assert!(begun.elapsed() < Duration::from_secs(2), "within its burst");
    }
    from(THERE, &broker, Version::V311, &wrong).packet();
    for version in Version::ALL {
        let begun = Instant::now();
        let mut slow = from(THERE, &broker, version, &wrong);
        // Meanwhile, a right credential gets in from there, at once.
        let mut good = from(THERE, &broker, version, &Connect::new("S1", &right));
        assert_eq!(good.packet().body[..2], [0, 0]);
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert!(no.contains(&slow.packet().body[1]));
        assert!(begun.elapsed() > Duration::from_secs(2), "{version:?}");

        // A password is not even looked at, right as it is.
        let mut boss = from(THERE, &broker, version, &Connect::new("boss", PASSWORD));
        let code = if version.is_5() { 0x97 } else { 3 };
        let words = "too many failures from your address: try again in 60 s";
        boss.expect(&version.connack_because(code, words));
        // From elsewhere it is.
        broker.operator(version, "boss").expect_alive();
    }
}
