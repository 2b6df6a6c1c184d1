//! A registry that the program of the previous format wrote: everything in it
//! is there, and is used. How it was made stands beside it, in
//! `tests/fixtures/format-1`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{Connect, TestBroker, Version, code, firstwake};

/// How long the session in it outlives its connection.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Unpacks it into a directory of its own.
fn unpacked() -> (tempfile::TempDir, Value) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/format-1");
    let directory = tempfile::tempdir().expect("a directory");
    let done = Command::new("tar")
        .args(["--extract", "--no-same-owner", "--file"])
        .arg(fixture.join("data.tar"))
        .arg("-C")
        .arg(directory.path())
        .status();
    assert!(done.expect("tar").success());
    let told = std::fs::read(fixture.join("told.json")).expect("readable");
    (directory, serde_json::from_slice(&told).expect("JSON"))
}

/// When the last thing happened in it.
fn written_at(told: &Value) -> SystemTime {
    let answers = told["answers"].as_array().expect("a list").iter();
    let lines = answers.filter_map(|answer| answer["answered"].as_array());
    let events = lines.flatten().filter(|line| line["seq"].is_u64());
    let newest = events.filter_map(|event| event["at"].as_str()).max();
    humantime::parse_rfc3339(newest.expect("an event")).expect("a time")
}

fn data(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("data")
}

/// Whether an answer says all that another said: a newer program may say more.
fn says(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => then
            .iter()
            .all(|(name, then)| now.get(name).is_some_and(|now| says(now, then))),
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| says(now, then))
        }
        _ => now == then,
    }
}

#[test]
fn everything_reads_as_it_was() {
    let (directory, told) = unpacked();
    let answers = told["answers"].as_array().expect("a list");
    assert!(answers.len() > 20);
    for answer in answers {
        let asked = answer["asked"].as_array().expect("a list");
        let asked: Vec<&str> = asked.iter().filter_map(Value::as_str).collect();
        let arguments = [&asked[..], &["--output", "json"]].concat();
        let answered = firstwake(&data(&directory), &arguments, "").json_lines();
        let answered = Value::Array(answered);
        let then = &answer["answered"];
        assert!(says(&answered, then), "{asked:?}\n{answered:#}\n{then:#}");
    }
    let checked = ["registry", "check", "--output", "json"];
    let checked = firstwake(&data(&directory), &checked, "").json_lines();
    assert_eq!(checked.len(), 1, "{checked:?}");
    assert_eq!(checked[0]["sound"], true);
}

#[test]
fn everybody_gets_in_as_before() {
    let (directory, told) = unpacked();
    let feed = told["feed"].as_u64().expect("a feed");
    let broker = TestBroker::launch(directory, "data", &["mqtt"], &["--mqtt", "127.0.0.1:0"]);
    let key = |of: &str| told["keys"][of].as_str().expect("a key").to_owned();
    let connack = |serial: &str, key: &str| {
        let told = broker.told(Version::V5, &Connect::new(serial, key));
        told.expect("an answer")[3]
    };
    let works = 0;
    assert_eq!(connack("issued", &key("issued")), works);
    assert_eq!(
        connack("again", &key("again")),
        works,
        "the first key works"
    );
    assert_eq!(
        connack("again", &key("again pending")),
        works,
        "and the next"
    );
    assert_ne!(
        connack("again", &key("again")),
        works,
        "which ends the first"
    );
    for out in ["suspended", "quarantined", "revoked"] {
        assert_eq!(connack(out, &key(out)), 0x87, "{out}");
    }
    assert_eq!(connack("reset", &key("reset")), 0x86);
    broker.activate_named("registered");
    broker.activate_named("reset");

    // What was sent before waits in its session, for the day that it lasts.
    // That it can be read within that day, `bus/message/stored_tests.rs` shows.
    let key = key("active");
    let connect = Connect {
        clean: false,
        ..Connect::new("active", &key)
    };
    let is_over = SystemTime::now() > written_at(&told) + DAY;
    let mut peer = broker.peer(Version::V311);
    peer.send(&connect.bytes(Version::V311));
    let is_there = peer.packet().body[0] == 1;
    assert_eq!(is_there, !is_over, "the session is there");
    if is_there {
        let message = peer.publish();
        assert_eq!(message.topic, format!("feeds/{feed}/commands/reboot"));
        assert_eq!(message.payload, b"now");
    }
    let mut reader = broker.login(Version::V5, "active", &key);
    reader.subscribe(&[(&format!("feeds/{feed}/config"), 1)], &[1]);
    assert_eq!(reader.message().payload, br#"{"interval":60}"#);
}

impl TestBroker {
    /// Activates whose product names other datastreams than the stories'.
    fn activate_named(&self, serial: &str) {
        let mut peer = self.admitted(Version::V311, &Connect::new(serial, &code(serial)));
        let topic = format!("provision/{serial}/response");
        peer.subscribe(&[(&topic, 0)], &[0]);
        let answer = String::from_utf8(peer.message().payload).expect("text");
        assert!(
            answer.contains(r#""datastreams":["temperature"]"#),
            "{answer}"
        );
    }
}

#[test]
fn it_is_brought_to_this_format_once_and_backed_up() {
    let (directory, _) = unpacked();
    let copy = directory.path().join("copy");
    let copy = copy.to_str().expect("UTF-8");
    let backup = ["registry", "backup", copy, "--output", "json"];
    let made = firstwake(&data(&directory), &backup, "").json();
    assert_eq!(made["devices"], 10);
    let list = std::fs::read(Path::new(copy).join("backup.json")).expect("readable");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert!(list["format"].as_u64() > Some(1), "{list}");
}
