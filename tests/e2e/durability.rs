//! Killed in the middle of a storm, again and again.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::wire::DISCONNECT;
use crate::support::{Connect, HUNG, TestBroker, Version, code};

const ROUNDS: usize = 20;
const DEVICES: usize = 400;
const THREADS: usize = 8;

/// What the devices know, by serial: the newest key, and whether it was let in.
type Known = Mutex<HashMap<String, Received>>;

#[derive(Clone)]
struct Received {
    key: String,
    feed: u64,
    confirmed: bool,
}

/// A device's two sessions, as far as the server lives; `None` is its death.
fn wake(address: SocketAddr, serial: &str, known: &Known) -> Option<()> {
    let v = Version::V311;
    let mut stream = open(address)?;
    let topic = format!("provision/{serial}/response");
    let connect = Connect::new(serial, &code(serial)).bytes(v);
    let subscribe = v.subscribe(1, &[(&topic, 0)]);
    stream.write_all(&[connect, subscribe].concat()).ok()?;
    let answer = loop {
        let (first, body) = read(&mut stream)?;
        match first {
            0x20 => assert_eq!(body, [0, 0], "{serial} has not confirmed yet"),
            0x30 => break body[2 + topic.len()..].to_vec(),
            _ => assert_eq!(first, 0x90),
        }
    };
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let received = Received {
        key: answer["apikey"].as_str().expect("a key").to_owned(),
        feed: answer["feed_id"].as_u64().expect("a feed"),
        confirmed: false,
    };
    let put = |received| {
        known
            .lock()
            .expect("no panic")
            .insert(serial.to_owned(), received)
    };
    put(received.clone());
    stream.write_all(&DISCONNECT).ok()?;

    let mut stream = open(address)?;
    let connect = Connect::new(serial, &received.key).bytes(v);
    stream.write_all(&connect).ok()?;
    assert_eq!(read(&mut stream)?, (0x20, vec![0, 0]), "{serial}");
    put(Received {
        confirmed: true,
        ..received
    });
    Some(())
}

fn open(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(HUNG)).ok()?;
    Some(stream)
}

/// One packet of less than 16 KB, if the server lives to send it.
fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1] & 0x7f);
    if head[1] >= 0x80 {
        let mut more = [0];
        stream.read_exact(&mut more).ok()?;
        length |= usize::from(more[0]) << 7;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head[0], body))
}

#[test]
fn no_key_that_a_device_received_is_lost() {
    let mut broker = TestBroker::start();
    let product = broker.fleet(&["first"]);
    let mut activated = 0;
    for round in 0..ROUNDS {
        let generate = format!("r{round}-:{DEVICES}");
        broker
            .cli(&["device", "register", &product, "--generate", &generate])
            .ok();
        let known = Known::default();
        let next = AtomicUsize::new(0);
        let left = AtomicUsize::new(THREADS);
        let address = broker.address();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let serial = format!("r{round}-{n:06}");
                        if n >= DEVICES || wake(address, &serial, &known).is_none() {
                            left.fetch_sub(1, Ordering::Relaxed);
                            return;
                        }
                    }
                });
            }
            // Killed at another moment of the storm each time.
            let moment = DEVICES * (round + 1) / (ROUNDS + 2);
            while known.lock().expect("no panic").len() < moment {
                assert!(left.load(Ordering::Relaxed) > 0, "the server has ended");
                thread::yield_now();
            }
            broker.kill();
        });
        broker.restart();
        let known = known.into_inner().expect("no panic");
        activated += known.len();
        for (serial, received) in &known {
            assert!(
                broker.works(serial, &received.key),
                "{serial} in round {round}"
            );
        }
        if let Some((serial, received)) = known.iter().find(|(_, known)| known.confirmed) {
            let shown = broker.json(&["device", "show", serial]);
            assert_eq!(shown["lifecycle"], "active");
            assert_eq!(shown["feed_id"], received.feed);
        }
        let events = broker.events();
        for (n, event) in (1..).zip(&events) {
            assert_eq!(event["seq"], n, "gapless");
        }
        let feeds = events.iter().filter(|e| e["event"] == "device_registered");
        let mut feeds: Vec<u64> = feeds.filter_map(|e| e["feed_id"].as_u64()).collect();
        let registered = feeds.len();
        feeds.sort_unstable();
        feeds.dedup();
        assert_eq!(feeds.len(), registered, "a feed each");
    }
    assert!(activated > ROUNDS * DEVICES / 4, "these were storms");
}
