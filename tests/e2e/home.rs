//! One data directory, one user at a time.

use std::process::Stdio;
use std::thread;

use crate::support::{TestBroker, Version, command, firstwake};

#[test]
fn a_second_server_is_refused_and_names_the_first() {
    let broker = TestBroker::start();
    let serve = ["serve", "--mqtt", "127.0.0.1:0", "--http", "off"];
    let refused = broker.cli(&serve).refused();
    let pid = broker.pid().to_string();
    assert!(refused.contains(&format!("process {pid}")), "{refused}");
    // The first is none the worse.
    broker.fleet(&["S1"]);
    broker.activate(Version::V5, "S1");
}

#[test]
fn a_path_of_any_length_works() {
    let place = ["x".repeat(100), "y".repeat(100), "data".to_owned()].join("/");
    let mut broker = TestBroker::start_in(&place);
    broker.fleet(&["S1"]);
    broker.activate(Version::V5, "S1");
    assert_eq!(broker.lifecycle("S1"), "issued");
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    assert_eq!(broker.lifecycle("S1"), "issued", "without a server, too");
}

#[test]
fn plain_mqtt_stays_on_loopback_unless_told_otherwise() {
    let directory = tempfile::tempdir().expect("a directory");
    for address in ["0.0.0.0:0", "[::]:0"] {
        let serve = ["serve", "--mqtt", address];
        let refused = firstwake(directory.path(), &serve, "").refused();
        assert!(refused.contains("--dangerous-plaintext"), "{refused}");
    }
    let mut child = command()
        .args([
            "serve",
            "--mqtt",
            "0.0.0.0:0",
            "--http",
            "off",
            "--dangerous-plaintext",
            "--data-dir",
        ])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(line.starts_with("mqtt listening on 0.0.0.0:"), "{line}");
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let broker = TestBroker::start();
    let other = tempfile::tempdir().expect("a directory");
    let address = broker.address().to_string();
    let refused = firstwake(
        other.path(),
        &["serve", "--http", "off", "--mqtt", &address],
        "",
    )
    .refused();
    assert!(refused.contains(&address), "{refused}");
}

#[test]
fn commands_that_run_at_once_take_turns() {
    let directory = tempfile::tempdir().expect("a directory");
    let create = ["product", "create", "lamp"];
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| firstwake(directory.path(), &create, "").ok());
        }
    });
    let list = ["product", "list", "--output", "json"];
    let listed = firstwake(directory.path(), &list, "").json_lines();
    assert_eq!(listed.len(), 6);
}

#[test]
fn a_lost_sealing_key_is_said_and_not_replaced() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1"]);
    broker.kill();
    let key = broker.data_dir().join("sealing.key");
    let kept = std::fs::read(&key).expect("readable");
    std::fs::remove_file(&key).expect("removed");
    let refused = broker.cli(&["device", "show", "S1"]).failed(3);
    assert!(refused.contains("sealing.key"), "{refused}");
    assert!(!key.exists());
    std::fs::write(&key, kept).expect("put back");
    broker.restart();
    broker.activate(Version::V5, "S1");
}

#[test]
fn a_question_makes_no_data_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("mistyped");
    for question in [
        &["device", "show", "S1"][..],
        &["events"],
        &["product", "list"],
        &["ban", "list"],
        &["feed", "config", "1", "--clear"],
    ] {
        let sentence = crate::support::firstwake(&data_dir, question, "").failed(3);
        assert!(
            sentence.contains("there is no data directory"),
            "{sentence}"
        );
        assert!(!data_dir.exists(), "{question:?}");
    }
    let made = ["product", "create", "lamp"];
    crate::support::firstwake(&data_dir, &made, "").ok();
    assert!(data_dir.join("sealing.key").exists());
}
