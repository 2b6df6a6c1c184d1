//! Refused ten thousand times: nothing is left behind.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::wire::DISCONNECT;
use crate::support::{Connect, Peer, Sources, TestBroker, Version, code, dial_from, eventually};

const REPEATS: usize = 10_000;
const THREADS: usize = 4;

/// What a peer sends, and all that it is ever sent.
struct Case {
    name: &'static str,
    says: Vec<u8>,
    hears: Vec<u8>,
}

fn cases(product: &str) -> Vec<Case> {
    let (v3, v5) = (Version::V311, Version::V5);
    let (mine, other) = (code("S1"), code("S2"));
    let long = format!("{mine}0");
    let case = |name, says: &[u8], hears: &[u8]| Case {
        name,
        says: says.to_vec(),
        hears: hears.to_vec(),
    };
    let login =
        |version: Version, username, password| Connect::new(username, password).bytes(version);
    let no_password = Connect {
        password: None,
        ..Connect::new("S1", "")
    };
    let nameless = Connect {
        client_id: "",
        clean: false,
        ..Connect::new("S1", &mine)
    };
    let half = login(v3, "S1", &mine);
    let full_name = format!("{product}/S1");
    let capitals = mine.to_uppercase();
    // Let in, and leave.
    let visit = |username, password| {
        let connect = Connect::new(username, password).bytes(v3);
        [connect.as_slice(), &DISCONNECT].concat()
    };
    let (no, no5) = (v3.connack(4), v5.connack(0x86));
    let spent = "the device is already active: its code was used, and the key made with it too";
    vec![
        case("wrong code", &login(v3, "S1", &"0".repeat(40)), &no),
        case("wrong code, 5", &login(v5, "S1", &"0".repeat(40)), &no5),
        case("unknown serial", &login(v3, "unknown", &mine), &no),
        case("another's serial", &login(v5, "S1", &other), &no5),
        case("no password", &no_password.bytes(v3), &no),
        case("39 characters", &login(v3, "S1", &mine[1..]), &no),
        case("41 characters", &login(v5, "S1", &long), &no5),
        case("nameless", &nameless.bytes(v3), &v3.connack(2)),
        case(
            "level 6",
            &nameless.bytes_as("MQTT", 6, v5),
            &v5.connack(0x84),
        ),
        case("level 3", &nameless.bytes_as("MQTT", 3, v3), &v3.connack(1)),
        case("capitals", &visit("S1", &capitals), &v3.connack(0)),
        case("product/serial", &visit(&full_name, &mine), &v3.connack(0)),
        case("PUBLISH first", &v3.publish("a", 0, 0, b"x"), &[]),
        case("no packet", &[0xff, 0xff, 0xff, 0x7f], &[]),
        case("fifth length byte", &[0x10, 0xff, 0xff, 0xff, 0xff, 1], &[]),
        case("half a CONNECT", &half[..half.len() / 2], &[]),
        case(
            "spent code",
            &login(v5, "spent", &code("spent")),
            &v5.connack_because(0x87, spent),
        ),
    ]
}

/// Lets every case happen this often, from a few threads at once.
fn repeat(address: SocketAddr, sources: &Sources, cases: &[Case], times: usize) {
    for case in cases {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < times {
                        once(address, sources, case);
                    }
                });
            }
        });
    }
}

fn once(address: SocketAddr, sources: &Sources, case: &Case) {
    let mut stream = dial_from(sources.next(), address);
    stream.write_all(&case.says).expect("the server reads");
    stream.shutdown(Shutdown::Write).ok();
    let mut heard = Vec::new();
    // Bytes that the server never read turn its close into a reset.
    drop(stream.read_to_end(&mut heard));
    assert_eq!(heard, case.hears, "{}", case.name);
}

/// The server's memory once it has given back what it does not need.
fn settled_memory(broker: &TestBroker) -> u64 {
    let mut least = (broker.memory(), Instant::now());
    eventually("the server's memory settles", || {
        let now = broker.memory();
        if now < least.0 {
            least = (now, Instant::now());
        }
        (least.1.elapsed() > Duration::from_secs(2)).then_some(least.0)
    })
}

fn second_connects(broker: &TestBroker, sources: &Sources, times: usize) {
    let connect = Connect::new("S1", &code("S1")).bytes(Version::V311);
    for _ in 0..times {
        let mut peer = Peer::open_from(sources.next(), broker.address(), Version::V311);
        peer.send(&[connect.as_slice(), &connect].concat());
        peer.expect(&Version::V311.connack(0));
        peer.expect_close();
    }
}

#[test]
fn ten_thousand_of_each_leave_nothing_behind() {
    // Failures are answered as fast as they come.
    let broker = TestBroker::start_with(&["failures_per_minute=0"]);
    let product = broker.fleet(&["S1", "S2", "spent"]);
    broker.device(Version::V311, "spent");
    let cases = cases(&product);
    let sources = Sources::new();

    repeat(broker.address(), &sources, &cases, REPEATS / 5);
    second_connects(&broker, &sources, REPEATS / 5);
    let events = broker.events().len();
    let memory = settled_memory(&broker);
    let files = eventually("warm", || {
        let files = broker.open_files();
        (files == broker.open_files()).then_some(files)
    });

    let begun = Instant::now();
    repeat(broker.address(), &sources, &cases, REPEATS);
    second_connects(&broker, &sources, REPEATS);
    let minutes = begun.elapsed().as_secs() / 60 + 1;

    eventually("files are closed", || {
        (broker.open_files() <= files).then_some(())
    });
    let bound = memory + memory / 20;
    eventually("memory as before", || {
        (broker.memory() <= bound).then_some(())
    });
    let later = broker.events();
    let new = &later[events..];
    assert!(new.len() as u64 <= minutes, "{new:?}");
    for event in new {
        assert_eq!(event["event"], "activation_refused", "folded");
        assert_eq!(event["serial"], "spent");
    }
    // And it still works.
    broker.activate(Version::V5, "S1");
}
