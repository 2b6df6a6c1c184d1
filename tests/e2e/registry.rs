//! Copies of the registry, and whether it fits together, as commands tell it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{TestBroker, Version, code, firstwake};

/// A server with devices in several states.
fn fleet() -> TestBroker {
    let broker = TestBroker::start();
    broker.fleet(&["S1", "S2", "S3"]);
    broker.device(Version::V5, "S1");
    broker.activate(Version::V311, "S2");
    broker.cli(&["device", "revoke", "S3", "--yes"]).ok();
    broker
}

fn place(broker: &TestBroker, name: &str) -> String {
    let beside = broker.data_dir().with_file_name(name);
    beside.to_str().expect("UTF-8").to_owned()
}

/// Every file below a directory that holds these bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(directory).expect("readable");
    entries.map(|entry| entry.expect("readable")).any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => {
                let found = fs::read(&path).expect("readable");
                found.windows(bytes.len()).any(|window| window == bytes)
            }
        }
    })
}

#[test]
fn a_backup_is_made_while_devices_wake_and_opens_elsewhere() {
    let mut broker = fleet();
    let key = broker.activate(Version::V5, "S2").key;
    let copy = place(&broker, "copy");
    let said = broker.cli(&["registry", "backup", &copy]).ok();
    assert!(said.contains("3 devices"), "{said}");
    assert!(said.contains("sealing.key elsewhere"), "{said}");
    let mode = fs::metadata(&copy).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let sealing = fs::read_to_string(broker.data_dir().join("sealing.key")).expect("a key");
    let bytes = hex::decode(sealing.trim()).expect("hex");
    for secret in [sealing.trim().as_bytes(), &bytes, code("S1").as_bytes()] {
        assert!(!holds(Path::new(&copy), secret), "no secret is in it");
    }

    // Once more into the same place is refused, and so is a restore over it.
    let refused = broker.cli(&["registry", "backup", &copy]).refused();
    assert!(refused.contains("is not empty"), "{refused}");
    let refused = broker.cli(&["registry", "restore", &copy]).failed(3);
    let pid = broker.pid().to_string();
    assert!(
        refused.contains(&format!("process {pid}: stop it")),
        "{refused}"
    );
    broker.terminate();
    broker.wait();
    let refused = broker.cli(&["registry", "restore", &copy]).refused();
    assert!(refused.contains("never written over"), "{refused}");

    // On another machine, without the key, and then with it.
    let other = place(&broker, "other");
    let restored = firstwake(Path::new(&other), &["registry", "restore", &copy], "").ok();
    assert!(restored.contains("3 devices are back"), "{restored}");
    assert!(restored.contains("put the sealing key"), "{restored}");
    let refused = firstwake(Path::new(&other), &["device", "show", "S1"], "").failed(3);
    assert!(refused.contains("sealing.key is missing"), "{refused}");
    fs::write(Path::new(&other).join("sealing.key"), sealing).expect("written");
    let checked = ["registry", "check", "--output", "json"];
    let checked = firstwake(Path::new(&other), &checked, "").json();
    assert_eq!(
        (&checked["sound"], &checked["devices"]),
        (&true.into(), &3.into())
    );

    let directory = tempfile::tempdir().expect("a directory");
    let there = TestBroker::launch(directory, &other, &["mqtt"], &["--mqtt", "127.0.0.1:0"]);
    assert!(there.works("S2", &key), "its key is known there");
    assert_eq!(there.lifecycle("S3"), "revoked");
    let product = there.json_lines(&["product", "list"])[0]["product_id"].clone();
    let register = ["device", "register", product.as_str().expect("an id"), "S4"];
    there.cli(&register).ok();
    let feed = there.json(&["device", "show", "S4"])["feed_id"].clone();
    assert_eq!(feed, 1_000_004, "no feed is given out twice");
}

#[test]
fn a_backup_needs_no_server() {
    let mut broker = fleet();
    broker.terminate();
    broker.wait();
    let (copy, other) = (place(&broker, "copy"), place(&broker, "other"));
    let made = broker.json(&["registry", "backup", &copy]);
    assert_eq!(made["devices"], 3);
    let restore = [
        "registry",
        "restore",
        &copy,
        "--feeds-after",
        "70",
        "--output",
        "json",
    ];
    let restored = firstwake(Path::new(&other), &restore, "").json();
    assert_eq!(restored["feeds_after"], 70);
    assert_eq!(restored["newest_event"], made["newest_event"]);
    // What is no backup, and what is one no more.
    let refused = firstwake(
        Path::new(&place(&broker, "third")),
        &["registry", "restore", &other],
        "",
    );
    assert!(refused.refused().contains("no complete backup"));
    let nowhere = firstwake(Path::new("/nonexistent"), &["registry", "check"], "").failed(3);
    assert!(nowhere.contains("there is no data directory"), "{nowhere}");
}

#[test]
fn a_check_waits_for_the_server_to_stop() {
    let mut broker = fleet();
    let refused = broker.cli(&["registry", "check"]).failed(3);
    assert!(refused.contains("stop it first"), "{refused}");
    broker.terminate();
    broker.wait();
    let checked = broker.json(&["registry", "check", "--repair"]);
    assert_eq!(
        (&checked["sound"], &checked["mended"]),
        (&true.into(), &0.into())
    );
    let words = broker.cli(&["registry", "check"]).ok();
    assert!(words.contains("newest event"), "{words}");
}

#[test]
fn a_newer_format_is_told_by_every_command() {
    let mut broker = fleet();
    let copy = place(&broker, "copy");
    broker.cli(&["registry", "backup", &copy]).ok();
    broker.terminate();
    broker.wait();
    let list = Path::new(&copy).join("backup.json");
    let text = fs::read_to_string(&list).expect("readable");
    let newer = text.replacen("\"format\": ", "\"format\": 9", 1);
    fs::write(&list, newer).expect("written");
    let other = place(&broker, "other");
    let refused = firstwake(Path::new(&other), &["registry", "restore", &copy], "").refused();
    assert!(refused.contains("use the newer program"), "{refused}");
    assert!(!Path::new(&other).join("registry").exists());
}
