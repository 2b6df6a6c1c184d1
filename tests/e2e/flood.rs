//! Many hostile peers at once.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Connect, Credentials, Door, Everywhere, PASSWORD, Peer, Sources, Version, code, eventually,
};

/// What nobody waits longer for, on a machine that does much else.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn thousands_of_silent_connections_delay_nobody_and_leave_nothing() {
    let server = Everywhere::configured("", "first_byte_seconds = 4\nhandshakes = 1000");
    server.broker.fleet(&Door::ALL.map(Door::name));
    let before = server.broker.open_sockets();
    let mut flood = Vec::new();
    for door in Door::ALL {
        let address = server.broker.listens(door.name());
        let one = (0..700).map(|_| [127, 0, 0, 2]);
        let many = (0..500_u32).map(|n| [127, 9, (n >> 8) as u8, n as u8]);
        let open = |source| Peer::open_from(source, address, Version::V5);
        flood.extend(one.chain(many).map(open));
        let begun = Instant::now();
        let password = code(door.name());
        let connect = Connect::new(door.name(), &password);
        server.admitted(door, Version::V5, &connect).vanish();
        let took = begun.elapsed();
        assert!(took < SOON, "{door:?}: {took:?}");
    }
    eventually("every connection is closed", || {
        (server.broker.open_sockets() <= before).then_some(())
    });
    drop(flood);
}

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(60);
/// KiB that the server may grow by while it lasts: what it may keep, what may
/// wait for the router and in it (48 MB), and what each connection holds.
const DURING: u64 = 320 * 1024;
/// KiB that it may keep: the registry's tables in the making (five of 16 MB)
/// and its cache (64 MB), retained messages (16 MB), and what an allocator
/// keeps of all that.
const AFTER: u64 = 192 * 1024;

/// One kind of peer, again and again until the storm is over.
type Kind<'a> = Box<dyn FnMut() + Send + 'a>;

#[test]
fn a_minute_of_everything_at_once_leaves_the_server_as_it_was() {
    let server = Everywhere::configured("", "device_publish_rate = 0\nfirst_byte_seconds = 2");
    let serials: Vec<String> = (0..8).map(|n| format!("S{n}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    server.broker.fleet(&[&serials[..], &["late"]].concat());
    server.broker.add_operator("boss", "admin", &[]);
    let known: Vec<Credentials> = serials
        .iter()
        .map(|serial| server.broker.activate(Version::V5, serial))
        .collect();
    let (memory, files) = (server.broker.memory(), server.broker.open_sockets());
    let begun = Instant::now();
    let storm = || begun.elapsed() < STORM;
    let most = thread::scope(|scope| {
        for mut kind in kinds(&server, &known) {
            scope.spawn(move || {
                while storm() {
                    kind();
                }
            });
        }
        let mut most = 0;
        while storm() {
            most = most.max(server.broker.memory());
            thread::park_timeout(Duration::from_millis(100));
        }
        most
    });
    assert!(most < memory + DURING, "{memory} KiB, then {most}");
    eventually("every connection is closed", || {
        (server.broker.open_sockets() <= files).then_some(())
    });
    println!(
        "before {memory} KiB, at most {most}, now {}",
        server.broker.memory()
    );
    eventually("memory is given back", || {
        (server.broker.memory() < memory + AFTER).then_some(())
    });
    let begun = Instant::now();
    server.broker.activate(Version::V5, "late");
    let took = begun.elapsed();
    assert!(took < SOON, "{took:?}");
}

/// Everybody who takes part, a thread each.
fn kinds<'a>(server: &'a Everywhere, known: &'a [Credentials]) -> Vec<Kind<'a>> {
    let doors = Door::ALL.into_iter().cycle();
    let devices = [Door::Mqtt, Door::Mqtts, Door::Wss].into_iter().zip(0..);
    let devices = devices.map(|(door, n)| publisher(server, door, n, &known[n]));
    let others = [
        strangers(server, doors.clone()),
        retainer(server),
        visitor(server, doors.clone()),
        deaf(server, doors.clone()),
        sender(server, known),
        returning(server, doors, &known[7]),
    ];
    devices.chain(others).collect()
}

fn boss(server: &Everywhere, door: Door, client_id: &str) -> Peer {
    let connect = Connect {
        client_id,
        ..Connect::new("boss", PASSWORD)
    };
    server.admitted(door, Version::V5, &connect)
}

/// Garbage, and half a CONNECT, at one door after the other.
fn strangers<'a>(
    server: &'a Everywhere,
    mut doors: impl Iterator<Item = Door> + Send + 'a,
) -> Kind<'a> {
    let connect = Connect::new("nobody", "x").bytes(Version::V5);
    let garbage: Vec<u8> = (0..5_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
    let (mut halves, sources) = (VecDeque::new(), Sources::new());
    Box::new(move || {
        let door = doors.next().unwrap_or(Door::Mqtt);
        let address = server.broker.listens(door.name());
        let mut peer = Peer::open_from(sources.next(), address, Version::V5);
        drop(peer.offer(&garbage));
        let mut half = server.peer_from(sources.next(), door, Version::V5);
        drop(half.offer(&connect[..connect.len() / 2]));
        halves.push_back(half);
        if halves.len() > 100 {
            halves.pop_front();
        }
    })
}

/// A device that publishes as fast as it can, large, at each quality.
fn publisher<'a>(server: &'a Everywhere, door: Door, n: usize, known: &'a Credentials) -> Kind<'a> {
    let payload = vec![b'x'; 50_000];
    let topic = format!("feeds/{}/status", known.feed);
    let serial = format!("S{n}");
    Box::new(move || {
        let mut device = server.admitted(door, Version::V5, &Connect::new(&serial, &known.key));
        for qos in (0..3).cycle().take(300) {
            device.deliver(&topic, qos, &payload);
        }
        device.vanish();
    })
}

/// Retained messages on ever new topics.
fn retainer(server: &Everywhere) -> Kind<'_> {
    let mut number = 0;
    Box::new(move || {
        let mut peer = boss(server, Door::Mqtt, "retainer");
        for _ in 0..500 {
            number += 1;
            let topic = format!("app/{number}");
            let publish = Version::V5.publish_with(0x33, &topic, 9, &[], &[b'x'; 4_000]);
            peer.send(&publish);
            peer.packet();
        }
    })
}

/// A subscriber that comes, reads a little and goes.
fn visitor<'a>(
    server: &'a Everywhere,
    mut doors: impl Iterator<Item = Door> + Send + 'a,
) -> Kind<'a> {
    Box::new(move || {
        let mut peer = boss(server, doors.next().unwrap_or(Door::Mqtt), "visitor");
        peer.subscribe(&[("feeds/#", 0)], &[0]);
        peer.says_something_within(SOON);
        peer.vanish();
    })
}

/// Subscribers that never read; a few at a time.
fn deaf<'a>(server: &'a Everywhere, mut doors: impl Iterator<Item = Door> + Send + 'a) -> Kind<'a> {
    let (mut peers, mut number) = (VecDeque::new(), 0);
    Box::new(move || {
        let door = doors.next().unwrap_or(Door::Mqtt);
        let mut peer = boss(server, door, &format!("deaf-{number}"));
        number += 1;
        peer.send(&Version::V5.subscribe(7, &[("#", 1)]));
        peers.push_back(peer);
        if peers.len() > 8 {
            peers.pop_front();
        }
        // No more than two a second.
        thread::park_timeout(Duration::from_millis(500));
    })
}

/// Commands to devices that are away, and to one that is not.
fn sender<'a>(server: &'a Everywhere, known: &'a [Credentials]) -> Kind<'a> {
    let payload = vec![b'x'; 100_000];
    Box::new(move || {
        let mut peer = boss(server, Door::Mqtt, "sender");
        for Credentials { feed, .. } in known.iter().cycle().take(100) {
            for qos in [0, 1] {
                let topic = format!("feeds/{feed}/commands/x");
                peer.send(&Version::V5.publish(&topic, qos, 9, &payload));
            }
            peer.packet();
        }
    })
}

/// A device that logs in again and again, to stay, and reads nothing.
fn returning<'a>(
    server: &'a Everywhere,
    mut doors: impl Iterator<Item = Door> + Send + 'a,
    known: &'a Credentials,
) -> Kind<'a> {
    let commands = format!("feeds/{}/commands/+", known.feed);
    let sources = Sources::new();
    Box::new(move || {
        let connect = Connect {
            clean: false,
            properties: &[0x11, 0, 0, 0x0e, 0x10],
            ..Connect::new("S7", &known.key)
        };
        let door = doors.next().unwrap_or(Door::Mqtt);
        let mut peer = server.peer_from(sources.next(), door, Version::V5);
        drop(peer.offer(&connect.bytes(Version::V5)));
        drop(peer.offer(&Version::V5.subscribe(7, &[(&commands, 1)])));
        peer.says_something_within(SOON);
    })
}
