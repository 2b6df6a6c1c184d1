//! `serve --config`, `cert dev`, and what a wrong one is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{TestBroker, firstwake};

#[test]
fn a_wrong_file_is_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("firstwake.toml");
    let path = path.to_str().expect("UTF-8");
    let serve = ["serve", "--config", path];
    let refused = || firstwake(&directory.path().join("data"), &serve, "").refused();
    assert!(refused().contains(path), "it is not there");
    for (text, parts) in [
        (
            "[mqtt]\nlissten = '127.0.0.1:0'",
            ["line 2", "\"lissten\"", "\"listen\""],
        ),
        (
            "[limits]\nconnect_seconds = 0",
            ["[limits]", "connect_seconds", "too low"],
        ),
        (
            "[mqtt]\nlisten = '0.0.0.0:0'",
            ["plain MQTT", "0.0.0.0:0", "--dangerous-plaintext"],
        ),
        (
            "[websocket]\nlisten = '[::]:0'",
            ["plain MQTT", "[::]:0", "--dangerous-plaintext"],
        ),
        (
            "[http]\nlisten = '0.0.0.0:0'",
            ["plain HTTP", "0.0.0.0:0", "--https"],
        ),
        (
            "[xively]\nlisten = '0.0.0.0:0'",
            ["plain HTTP", "0.0.0.0:0", "--dangerous-plaintext"],
        ),
        (
            "[mqtts]\ncertificate = 'c.pem'\nkey = 'k.pem'",
            ["c.pem", "cannot be read", ""],
        ),
    ] {
        fs::write(path, text).expect("written");
        let refused = refused();
        for part in parts {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
    // A wrong file has not touched anything.
    fs::write(path, "[mqt]").expect("written");
    assert!(refused().contains("line 1"));
}

#[test]
fn each_listener_may_be_the_only_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let ws = ["--mqtt", "off", "--ws", "127.0.0.1:0"];
    let mut broker = TestBroker::launch(directory, "data", &["ws"], &ws);
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    for name in ["http", "xively"] {
        let directory = tempfile::tempdir().expect("a directory");
        let option = format!("--{name}");
        let only = ["--mqtt", "off", &option, "127.0.0.1:0"];
        let mut broker = TestBroker::launch(directory, "data", &[name], &only);
        broker.terminate();
        assert_eq!(broker.wait().code(), Some(0));
    }
}

#[test]
fn certificates_to_try_are_private_and_not_replaced_unasked() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("a place/b");
    let place = place.to_str().expect("UTF-8");
    let dev = ["cert", "dev", "--dir", place, "--name", "fleet.example"];
    let said = firstwake(directory.path(), &dev, "").ok();
    for part in [
        "serve --mqtts",
        "--cert '",
        "mosquitto_sub --cafile '",
        "-p 8883",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let read = |name: &str| {
        let path = directory.path().join("a place/b").join(name);
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        fs::read_to_string(path).expect("text")
    };
    let names = ["ca.pem", "ca.key", "server.pem", "server.key"];
    let first = names.map(read);
    assert!(!said.contains(first[3].lines().nth(1).expect("a PEM file")));

    let refused = firstwake(directory.path(), &dev, "").refused();
    assert!(
        refused.contains("ca.pem") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(names.map(read), first);
    firstwake(
        directory.path(),
        &[&dev, ["--force"].as_slice()].concat(),
        "",
    )
    .ok();
    let second = names.map(read);
    assert!(
        first
            .iter()
            .zip(&second)
            .all(|(first, second)| first != second)
    );
    // No files of passage.
    let left = fs::read_dir(place).expect("a directory").count();
    assert_eq!(left, names.len());

    let wrong = [
        "cert", "dev", "--force", "--dir", place, "--name", "münchen",
    ];
    let refused = firstwake(directory.path(), &wrong, "").refused();
    assert!(refused.contains("--name"), "{refused}");
    assert_eq!(names.map(read), second);
}
