//! Peers that mean harm with few bytes, at every listener: they say it slowly,
//! not at all, or say something too large.
//!
//! A peer's own stay is bounded, and nobody else waits for it.

use std::time::{Duration, Instant};

use crate::support::carriers::{UPGRADE, as_frame};
use crate::support::wire::{packet, text};
use crate::support::{Connect, Door, Everywhere, HUNG, PASSWORD, Peer, Version, code, eventually};

/// The head of a ClientHello that is 512 bytes long.
const HELLO: [u8; 9] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
/// The head of a request that goes on.
const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nCookie: ";
/// What nobody waits longer for, on a machine that does much else.
const SOON: Duration = Duration::from_secs(2);

/// A server where a device `<door>-<version>` may come through each door.
fn everywhere(limits: &str) -> Everywhere {
    let server = Everywhere::configured("", limits);
    let serials: Vec<String> = Door::ALL.into_iter().flat_map(names).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    server.broker.fleet(&serials);
    server.broker.add_operator("boss", "admin", &[]);
    server
}

fn names(door: Door) -> [String; 3] {
    Version::ALL.map(|version| name(door, version))
}

fn name(door: Door, version: Version) -> String {
    format!("{}-{version:?}", door.name())
}

/// Nobody is held up: a device comes through each door at once.
fn everybody_is_let_in(server: &Everywhere) {
    for door in Door::ALL {
        let begun = Instant::now();
        let serial = name(door, Version::V5);
        let password = code(&serial);
        let connect = Connect::new(&serial, &password);
        drop(server.admitted(door, Version::V5, &connect));
        let took = begun.elapsed();
        assert!(took < SOON, "{door:?}: {took:?}");
    }
}

/// A peer below a door's handshakes.
fn below(server: &Everywhere, door: Door) -> Peer {
    Peer::open(server.broker.listens(door.name()), Version::V5)
}

#[test]
fn who_trickles_is_gone_at_the_deadline_and_holds_up_nobody() {
    let server = everywhere("connect_seconds = 2");
    // As long as MQTT lets it be, and TLS, and HTTP.
    let connect = [&[0x10, 0xf0, 0x3e], text("MQTT").as_slice(), &[4, 2, 0, 60]].concat();
    let mut peers: Vec<(Peer, &[u8])> = Vec::new();
    for door in Door::ALL {
        peers.push((server.peer(door, Version::V5), &connect));
    }
    peers.push((below(&server, Door::Mqtts), &HELLO));
    peers.push((below(&server, Door::Wss), &HELLO));
    for door in [Door::Ws, Door::Wss] {
        peers.push((server.below_websocket(door, Version::V5), REQUEST));
    }
    let begun = Instant::now();
    for (peer, head) in &mut peers {
        peer.offer(head).expect("open");
    }
    everybody_is_let_in(&server);
    while !peers.is_empty() {
        assert!(begun.elapsed() < HUNG, "{} are never ended", peers.len());
        peers.retain_mut(|(peer, _)| {
            // How it ends is found out by reading.
            drop(peer.offer(b"x"));
            let gone = peer.ends_within(Duration::from_millis(10));
            if gone {
                let lasted = begun.elapsed();
                let deadline = Duration::from_millis(1500)..Duration::from_secs(6);
                assert!(deadline.contains(&lasted), "{lasted:?}");
            }
            !gone
        });
    }
}

#[test]
fn who_says_nothing_is_gone_at_the_first_deadline() {
    let server = everywhere("first_byte_seconds = 1\nconnect_seconds = 25");
    let begun = Instant::now();
    let mut silent = Door::ALL.map(|door| below(&server, door));
    everybody_is_let_in(&server);
    silent.iter_mut().for_each(Peer::expect_close);
    let lasted = begun.elapsed();
    let deadline = Duration::from_millis(900)..Duration::from_secs(10);
    assert!(deadline.contains(&lasted), "{lasted:?}");
}

/// A cut cable says nothing: the peer neither sends nor reads nor closes.
#[test]
fn who_vanished_is_found_out_by_its_keep_alive() {
    let server = everywhere("");
    let before = server.broker.open_sockets();
    let vanished: Vec<Peer> = Door::ALL
        .into_iter()
        .flat_map(|door| Version::ALL.map(|version| (door, version)))
        .map(|(door, version)| {
            let serial = name(door, version);
            let connect = Connect {
                keep_alive: 1,
                ..Connect::new("boss", PASSWORD)
            };
            let connect = Connect {
                client_id: &serial,
                ..connect
            };
            server.admitted(door, version, &connect)
        })
        .collect();
    eventually("every connection is closed", || {
        (server.broker.open_sockets() <= before).then_some(())
    });
    drop(vanished);
}

#[test]
fn what_is_too_large_before_anybody_is_known_ends_without_a_word() {
    let server = everywhere("connect_seconds = 25");
    let long = "x".repeat(60_000);
    let endless = [0x10, 0xff, 0xff, 0xff, 0x7f];
    for door in Door::ALL {
        for version in Version::ALL {
            let large = Connect::new("nobody", &long[..8 * 1024]).bytes(version);
            let named = Connect {
                client_id: &long,
                ..Connect::new("nobody", "x")
            };
            let named = named.bytes(version);
            for said in [&endless, large.as_slice(), &named] {
                let begun = Instant::now();
                let mut peer = server.peer(door, version);
                drop(peer.offer(said));
                assert!(peer.ends_within(SOON), "{door:?} {version:?}");
                assert!(begun.elapsed() < 2 * SOON, "{door:?} {version:?}");
            }
        }
    }
    everybody_is_let_in(&server);
}

#[test]
fn a_packet_over_the_limit_ends_its_session_by_its_header() {
    let server = everywhere("");
    let before = server.broker.memory();
    for door in Door::ALL {
        for version in Version::ALL {
            let serial = name(door, version);
            let password = code(&serial);
            // 268 MB, and one byte more than a device may send.
            for length in [[0xff, 0xff, 0xff, 0x7f].as_slice(), &[0xfe, 0xff, 0x03]] {
                let connect = Connect::new(&serial, &password);
                let mut peer = server.admitted(door, version, &connect);
                drop(peer.offer(&[&[0x30], length].concat()));
                if let Some(farewell) = version.farewell(0x95) {
                    peer.expect(&farewell);
                }
                assert!(peer.ends_within(SOON), "{door:?} {version:?}");
            }
        }
    }
    let grown = server.broker.memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn large_but_lawful_packets_are_taken_and_their_parts_bounded() {
    let server = everywhere("");
    let topic = "x".repeat(65_535);
    let user = [&[0x26], text("k").as_slice(), &text("v")].concat();
    let user = user.repeat(10_000);
    let filters: Vec<String> = (0..5_000).map(|n| format!("app/{n}")).collect();
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 0)).collect();
    for door in Door::ALL {
        for version in Version::ALL {
            let mut boss = server.admitted(door, version, &Connect::new("boss", PASSWORD));
            boss.deliver(&topic, 1, b"long");
            let properties: &[u8] = if version.is_5() { &user } else { &[] };
            boss.send(&version.publish_with(0x32, "app/x", 12, properties, b"many"));
            boss.expect(&version.acknowledgement(0x40, 12, 0));
            boss.send(&version.subscribe(13, &filters));
            let suback = boss.packet();
            let codes = &suback.body[suback.body.len() - 5_000..];
            let no = if version.is_5() { 0x97 } else { 0x80 };
            assert!(codes[..1024].iter().all(|code| *code == 0), "{version:?}");
            assert!(codes[1024..].iter().all(|code| *code == no), "{version:?}");
            boss.expect_alive();
        }
    }
}

#[test]
fn garbage_below_mqtt_ends_its_connection_at_once() {
    let server = everywhere("connect_seconds = 25");
    let garbage: Vec<u8> = (0..20_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
    let record = packet(0x16, &garbage[..100]);
    for door in Door::ALL {
        for said in [&garbage, &record] {
            let mut peer = below(&server, door);
            drop(peer.offer(said));
            assert!(peer.ends_within(SOON), "{door:?}");
        }
    }
    // A frame of 2^62 bytes, before and after somebody is known.
    let boss = Connect::new("boss", PASSWORD).bytes(Version::V5);
    let frame = [0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    for door in [Door::Ws, Door::Wss] {
        for known in [b"".as_slice(), &as_frame(&boss)] {
            let mut peer = server.below_websocket(door, Version::V5);
            peer.send(UPGRADE);
            peer.send(known);
            assert!(!peer.ends_within(Duration::from_millis(200)), "{door:?}");
            drop(peer.offer(&frame));
            assert!(peer.ends_within(SOON), "{door:?}");
        }
    }
    everybody_is_let_in(&server);
}
