//! Peers that do not read what they are sent, at every listener: what waits
//! for them is bounded, and nobody else waits.

use std::time::Duration;

use crate::support::carriers::{UPGRADE, as_frame};
use crate::support::{Connect, Door, Everywhere, PASSWORD, Peer, Version, eventually};

/// KiB that the server has grown by at most, whatever happens here.
fn expect_grown_by_less_than(server: &Everywhere, before: u64, most: u64) {
    let grown = server.broker.memory().saturating_sub(before);
    assert!(grown < most, "{grown} KiB");
}

fn operator(server: &Everywhere, door: Door, client_id: &str) -> Peer {
    let connect = Connect {
        client_id,
        ..Connect::new("boss", PASSWORD)
    };
    server.admitted(door, Version::V311, &connect)
}

#[test]
fn operators_that_do_not_read_slow_nobody_and_are_not_fed_without_end() {
    const PAYLOAD: usize = 60_000;
    const COUNT: usize = 1_500;
    let server = Everywhere::configured("", "device_publish_rate = 0");
    server.broker.fleet(&["S1"]);
    server.broker.add_operator("boss", "admin", &[]);
    let (mut device, credentials) = server.broker.device(Version::V5, "S1");
    let topic = format!("feeds/{}/status", credentials.feed);
    let mut keen = operator(&server, Door::Mqtts, "keen");
    keen.subscribe(&[("feeds/#", 0)], &[0]);
    let mut lazy = Door::ALL.map(|door| operator(&server, door, door.name()));
    for peer in &mut lazy {
        peer.subscribe(&[("feeds/#", 0)], &[0]);
    }
    let before = server.broker.memory();
    let payload = vec![b'x'; PAYLOAD];
    for _ in 0..COUNT {
        device.deliver(&topic, 1, &payload);
        assert!(keen.message().payload == payload);
    }
    // 90 MB were published: the router keeps 16 of it, and 16 may wait for it.
    expect_grown_by_less_than(&server, before, 64 * 1024);
    device.expect_alive();
    keen.expect_alive();
}

#[test]
fn a_device_that_does_not_read_has_no_more_than_its_share_waiting() {
    let server = Everywhere::start();
    server.broker.fleet(&Door::ALL.map(Door::name));
    server.broker.add_operator("boss", "admin", &[]);
    let mut boss = operator(&server, Door::Mqtt, "boss");
    let devices = Door::ALL.map(|door| {
        let credentials = server.broker.activate(Version::V311, door.name());
        let connect = Connect::new(door.name(), &credentials.key);
        let mut device = server.admitted(door, Version::V311, &connect);
        let commands = format!("feeds/{}/commands/+", credentials.feed);
        device.subscribe(&[(&commands, 1)], &[1]);
        (device, credentials.feed)
    });
    let before = server.broker.memory();
    let (large, small) = (vec![b'x'; 900_000], vec![b'x'; 2_000]);
    for _ in 0..100 {
        for (_, feed) in &devices {
            let topic = format!("feeds/{feed}/commands/x");
            boss.deliver(&topic, 0, &large);
            boss.deliver(&topic, 1, &small);
        }
    }
    // 360 MB were posted. What the sockets hold is the kernel's.
    expect_grown_by_less_than(&server, before, 24 * 1024);
    for (mut device, _) in devices {
        assert!(!device.publish().payload.is_empty());
    }
}

/// Pings are read on while nobody takes their pongs.
#[test]
fn pongs_do_not_pile_up() {
    let server = Everywhere::start();
    server.broker.add_operator("boss", "admin", &[]);
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0], [b'?'; 125].as_slice()].concat();
    let pings = ping.repeat(500);
    let connect = as_frame(&Connect::new("boss", PASSWORD).bytes(Version::V311));
    let before = server.broker.memory();
    for door in [Door::Ws, Door::Wss] {
        for known in [b"".as_slice(), &connect] {
            let mut peer = server.below_websocket(door, Version::V311);
            peer.send(UPGRADE);
            peer.send(known);
            for _ in 0..400 {
                peer.send(&pings);
            }
            // 26 MB of pings, and the peer is still there.
            expect_grown_by_less_than(&server, before, 8 * 1024);
            assert!(!peer.ends_within(Duration::from_millis(1)));
        }
    }
    eventually("memory is given back", || {
        (server.broker.memory() < before + 4 * 1024).then_some(())
    });
}
