//! Who may open a connection, and who waits for nobody.

use std::time::{Duration, Instant};

use crate::support::{Connect, Peer, TestBroker, Version, code, eventually};

const CROWDED: &str = "too many connections: try again in 5 s";

/// Connections that say nothing.
fn silent(broker: &TestBroker, source: [u8; 4], count: usize) -> Vec<Peer> {
    (0..count)
        .map(|_| Peer::open_from(source, broker.address(), Version::V5))
        .collect()
}

/// Connects from this address and sends a CONNECT at once.
fn from(broker: &TestBroker, source: [u8; 4], version: Version, connect: &Connect<'_>) -> Peer {
    let mut peer = Peer::open_from(source, broker.address(), version);
    peer.send(&connect.bytes(version));
    peer
}

/// How a new peer from this address is answered, if at all.
fn told(broker: &TestBroker, source: [u8; 4], version: Version) -> Option<Vec<u8>> {
    let password = code("S1");
    let mut peer = from(broker, source, version, &Connect::new("S1", &password));
    peer.next().map(|packet| packet.bytes())
}

fn crowded(version: Version) -> Option<Vec<u8>> {
    Some(version.connack_because(if version.is_5() { 0x97 } else { 3 }, CROWDED))
}

#[test]
fn a_silent_flood_of_one_source_delays_nobody_else() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    // More than one source may have, in the kernel's queue and out of it.
    let flood = silent(&broker, [127, 0, 0, 2], 2500);
    let begun = Instant::now();
    broker.activate(Version::V311, "S1");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(flood);
}

#[test]
fn a_source_over_its_share_is_turned_away_at_once() {
    let broker = TestBroker::start_with(&["handshakes_per_source=5", "first_byte_seconds=9"]);
    broker.fleet(&["S1"]);
    let there = [127, 0, 0, 2];
    let mut flood = silent(&broker, there, 5);
    for version in Version::ALL {
        let begun = Instant::now();
        assert_eq!(told(&broker, there, version), crowded(version));
        assert!(begun.elapsed() < Duration::from_secs(2));
        broker.activating(version, "S1").expect_alive();
    }
    // Each that speaks or leaves makes room for another.
    flood.pop();
    let password = code("S1");
    eventually("there is room", || {
        let mut peer = from(
            &broker,
            there,
            Version::V311,
            &Connect::new("S1", &password),
        );
        (peer.packet().body == [0, 0]).then_some(())
    });
}

#[test]
fn a_turned_away_peer_that_says_nothing_is_closed_soon() {
    let broker = TestBroker::start_with(&["handshakes_per_source=1", "first_byte_seconds=9"]);
    let flood = silent(&broker, [127, 0, 0, 2], 1);
    let begun = Instant::now();
    // More than are told why at a time: the others are closed at once.
    let mut turned = silent(&broker, [127, 0, 0, 2], 30);
    turned.iter_mut().for_each(Peer::expect_close);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(flood);
}

#[test]
fn when_all_places_for_silent_peers_are_used_up_those_with_most_lose() {
    let broker = TestBroker::start_with(&[
        "handshakes=20",
        "handshakes_per_source=16",
        "first_byte_seconds=20",
        "connect_seconds=30",
    ]);
    broker.fleet(&["S1"]);
    let mut lone = silent(&broker, [127, 0, 0, 3], 1);
    let mut flood = silent(&broker, [127, 0, 0, 2], 16);
    let others = silent(&broker, [127, 0, 0, 4], 3);
    for version in Version::ALL {
        let begun = Instant::now();
        broker.activating(version, "S1").expect_alive();
        assert!(begun.elapsed() < Duration::from_secs(2), "{version:?}");
    }
    // Its oldest has gone, and nobody else's.
    flood[0].expect_close();
    let soon = Duration::from_millis(50);
    assert!(!flood[15].says_something_within(soon));
    assert!(!others.iter().any(|peer| peer.says_something_within(soon)));
    let password = code("S1");
    lone[0].send(&Connect::new("S1", &password).bytes(Version::V5));
    assert_eq!(lone[0].packet().body[..2], [0, 0]);
}

#[test]
fn a_silent_flood_of_many_sources_displaces_itself() {
    let broker = TestBroker::start_with(&["handshakes=50"]);
    broker.fleet(&["S1"]);
    let begun = Instant::now();
    let flood: Vec<Peer> = (0..250)
        .flat_map(|n| silent(&broker, [127, 9, 0, n], 1))
        .collect();
    for version in Version::ALL {
        broker.activating(version, "S1").expect_alive();
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(4),
        "sooner than any deadline: {took:?}"
    );
    drop(flood);
}

#[test]
fn connections_are_limited_in_all_and_by_source() {
    let broker = TestBroker::start_with(&["connections=6", "connections_per_source=4"]);
    broker.fleet(&["S1", "a", "b", "c", "d", "e", "f"]);
    let (here, there) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let mut held = Vec::new();
    for (serial, source) in [
        ("a", there),
        ("b", there),
        ("c", there),
        ("d", there),
        ("e", here),
    ] {
        let password = code(serial);
        let connect = Connect::new(serial, &password);
        let mut peer = from(&broker, source, Version::V311, &connect);
        assert_eq!(peer.packet().body, [0, 0], "{serial}");
        held.push(peer);
    }
    for version in Version::ALL {
        assert_eq!(told(&broker, there, version), crowded(version), "by source");
    }
    let password = code("f");
    let mut last = from(&broker, here, Version::V311, &Connect::new("f", &password));
    assert_eq!(last.packet().body, [0, 0]);
    for version in Version::ALL {
        assert_eq!(told(&broker, here, version), crowded(version), "in all");
    }
    held.iter_mut().for_each(Peer::expect_alive);
    last.vanish();
    eventually("a place is free", || {
        let mut peer = from(
            &broker,
            here,
            Version::V311,
            &Connect::new("S1", &code("S1")),
        );
        (peer.packet().body == [0, 0]).then_some(())
    });
}
