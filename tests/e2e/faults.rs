//! A disk that is full, a directory that cannot be written, a registry that is
//! damaged: nobody is let in who should not be, what was acknowledged is there
//! afterwards, and the server goes on by itself.
//!
//! A disk that is full is played by a limit of the size of files: every write
//! of the server fails, as on a full disk, and nobody has to be root.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Connect, TestBroker, Version, code, eventually, firstwake};

/// Lets the server's files grow no more, or again.
fn disk(broker: &TestBroker, most: Option<u64>) {
    let pid = i32::try_from(broker.pid()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: most,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).expect("its own child");
}

const FULL: Option<u64> = Some(0);
const FREE: Option<u64> = None;

#[test]
fn a_full_disk_lets_nobody_in_and_ends_by_itself() {
    let mut broker = TestBroker::with_xively();
    let serials: Vec<String> = (0..8).map(|n| format!("S{n}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    broker.fleet(&serials);
    let (_there, confirmed) = broker.device(Version::V5, "S0");
    let pending = [
        broker.activate(Version::V311, "S1"),
        broker.activate(Version::V5, "S2"),
    ];
    let before = broker.events();

    disk(&broker, FULL);
    for _ in 0..3 {
        // A first login is written down before it is let in.
        let connect = Connect::new("S1", &pending[0].key);
        let told = broker.told(Version::V311, &connect);
        assert_eq!(told, Some(Version::V311.connack(3)));
        let connect = Connect::new("S2", &pending[1].key);
        let told = broker.told(Version::V5, &connect).expect("an answer");
        assert_eq!(told[3], 0x88, "{told:02x?}");
        assert_eq!(broker.activation(&code("S3"), &[]).status, 503);
        let refused = broker.cli(&["device", "suspend", "S0"]).failed(3);
        assert!(refused.contains("the registry is unavailable"), "{refused}");
    }
    // Who needs no write is let in once the store has been opened again.
    eventually("a login that writes nothing", || {
        broker.works("S0", &confirmed.key).then_some(())
    });

    disk(&broker, FREE);
    eventually("a login that is written", || {
        broker.works("S1", &pending[0].key).then_some(())
    });
    assert!(broker.works("S2", &pending[1].key));
    broker.activate(Version::V5, "S3");
    broker.cli(&["device", "suspend", "S0"]).ok();
    let after = broker.events();
    assert_eq!(after[..before.len()], before, "nothing is lost");
    for (n, event) in (1..).zip(&after) {
        assert_eq!(event["seq"], n, "gapless");
    }
    let suspended = after.iter().filter(|it| it["event"] == "device_suspended");
    assert_eq!(suspended.count(), 1, "what failed did not happen");
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0), "it was one run");
    assert_eq!(broker.json(&["registry", "check"])["sound"], true);
}

#[test]
fn a_disk_that_fills_up_in_a_storm_loses_nothing_acknowledged() {
    let mut broker = TestBroker::start();
    broker.fleet(&["first"]);
    let product = broker.json_lines(&["product", "list"])[0]["product_id"].clone();
    let product = product.as_str().expect("an id");
    let mut received = Vec::new();
    for round in 0..5u64 {
        let generate = format!("r{round}-:40");
        let register = ["device", "register", product, "--generate", &generate];
        eventually("the devices are registered", || {
            (broker.cli(&register).status == 0).then_some(())
        });
        // Full in the middle of the journal: somewhere in the writes to come.
        let journal = fs::read(broker.data_dir().join("registry/0.jnl")).expect("a journal");
        let used = journal.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        disk(&broker, Some(used + 3000 + round * 1777));
        let mut failed = 0;
        for n in 0..40 {
            let serial = format!("r{round}-{n:06}");
            match key_for(&broker, &serial) {
                Some(key) => received.push((serial, key)),
                None => failed += 1,
            }
        }
        assert!(failed > 0, "the disk was full in round {round}");
        disk(&broker, FREE);
    }
    assert!(received.len() > 10, "{}", received.len());
    eventually("the registry is there", || {
        (broker.cli(&["events"]).status == 0).then_some(())
    });
    for (serial, key) in &received {
        assert!(broker.works(serial, key), "{serial} lost its key");
    }
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    assert_eq!(broker.json(&["registry", "check"])["sound"], true);
}

/// The key that a device is sent; `None` if the server can give none now.
fn key_for(broker: &TestBroker, serial: &str) -> Option<String> {
    let v = Version::V5;
    let mut peer = broker.peer(v);
    peer.send(&Connect::new(serial, &code(serial)).bytes(v));
    let connack = peer.next()?;
    if connack.body[1] != 0 {
        assert_eq!(connack.body[1], 0x88, "{connack:02x?}");
        return None;
    }
    let topic = format!("provision/{serial}/response");
    peer.send(&v.subscribe(1, &[(&topic, 0)]));
    while let Some(packet) = peer.next() {
        let text = String::from_utf8_lossy(&packet.body).into_owned();
        if let Some(start) = text.find(r#"{"apikey":""#) {
            return Some(text[start + 11..start + 11 + 48].to_owned());
        }
        if text.contains(r#"{"error""#) {
            return None;
        }
    }
    None
}

#[test]
fn a_directory_that_cannot_be_written_is_one_sentence() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1"]);
    broker.terminate();
    broker.wait();
    // Root may write everywhere: its own registry in the way is as good.
    let root = rustix::process::geteuid().is_root();
    let registry = broker.data_dir().join("registry");
    let lock = registry.join("lock");
    let serve = ["serve", "--mqtt", "127.0.0.1:0", "--http", "off"];
    if root {
        fs::remove_file(&lock).expect("removed");
        fs::create_dir(&lock).expect("made");
    } else {
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o400)).expect("set");
    }
    let refused = firstwake(broker.data_dir(), &serve, "").refused();
    assert!(refused.contains("registry cannot be opened"), "{refused}");
    let refused = broker.cli(&["device", "show", "S1"]).failed(3);
    assert!(refused.contains("registry cannot be opened"), "{refused}");
    if root {
        fs::remove_dir(&lock).expect("removed");
        fs::write(&lock, []).expect("made");
    } else {
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).expect("set");
    }
    broker.restart();
    broker.activate(Version::V5, "S1");
}

#[test]
fn a_damaged_journal_is_refused_in_a_sentence() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1"]);
    broker.kill();
    let path = broker.data_dir().join("registry/0.jnl");
    let whole = fs::read(&path).expect("a journal");
    let mut damaged = whole.clone();
    let at = damaged.windows(4).position(|four| four == b"lamp");
    damaged[at.expect("the product's name")] ^= 1;
    fs::write(&path, &damaged).expect("written");
    // A check says so too, and leaves it as it is; giving it up has to be asked for.
    let refused = broker.cli(&["registry", "check"]).failed(3);
    assert!(refused.contains("is damaged at byte"), "{refused}");
    assert!(refused.contains("--accept-loss"), "{refused}");
    broker.cli(&["registry", "check", "--repair"]).failed(3);
    assert!(fs::read(&path).is_ok_and(|found| found == damaged));
    let serve = ["serve", "--mqtt", "127.0.0.1:0", "--http", "off"];
    let refused = broker.cli(&serve);
    // The store has logged, too, what it met.
    let sentence = refused.stderr.lines().last().unwrap_or_default();
    assert!(sentence.contains("restore a backup"), "{refused:?}");
    assert_eq!(refused.status, 1);
    let refused = broker.cli(&["device", "show", "S1"]).failed(3);
    assert!(refused.contains("restore a backup"), "{refused}");
    fs::write(&path, &whole).expect("written");
    broker.restart();
    broker.activate(Version::V5, "S1");
    // The last write is gone, and the mark knows of it.
    broker.kill();
    let newest = fs::read(&path).expect("a journal");
    let end = newest
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty");
    fs::write(&path, &newest[..end]).expect("cut");
    let refused = broker.cli(&["registry", "check"]).failed(3);
    assert!(
        refused.contains("ends before what it had acknowledged"),
        "{refused}"
    );
    fs::write(&path, &newest).expect("written");
    broker.restart();
}
