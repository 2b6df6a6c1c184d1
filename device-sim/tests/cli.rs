//! The contract for scripts: exit statuses, and what is said where.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

fn device_sim(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_device-sim");
    Command::new(program).args(args).output().expect("it runs")
}

fn one_sentence(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn the_floor_is_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = directory.path().join("report.json");
    let path = json.to_str().expect("UTF-8");
    let floor = "floor --serials demo-:300 --in-flight 20 --confirm --json";
    let args: Vec<&str> = floor.split(' ').chain([path]).collect();
    let output = device_sim(&args);

    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("floor ("), "{said}");
    assert!(said.contains("closed loop, 20 in flight"), "{said}");
    let report = fs::read(json).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["kind"], "floor");
    assert_eq!(report["result"]["outcomes"]["confirmed"], 300);
}

#[test]
fn what_cannot_be_done_is_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    let path = secret.to_str().expect("UTF-8");
    let storm = |broker: &str| {
        let broker = ["storm", "--broker", broker, "--secret-file", path];
        let fleet = ["--serials", "demo-:3", "--in-flight", "2"];
        let output = device_sim(&[&broker[..], &fleet[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        one_sentence(&output)
    };

    assert!(storm("127.0.0.1:1883").contains("cannot read"));
    fs::write(&secret, "deadbeef").expect("written");
    let sentence = storm("127.0.0.1:1883");
    assert!(sentence.contains("40 hex characters"), "{sentence}");
    assert!(!sentence.contains("deadbeef"), "{sentence}");

    fs::write(&secret, format!(" {}\n", "0".repeat(40))).expect("written");
    assert!(storm("nowhere").contains("nowhere is no address"));
    // Port 0 is where nobody can listen.
    let sentence = storm("127.0.0.1:0");
    assert!(
        sentence.contains("3 of 3 devices were not activated: 3 connection refused"),
        "{sentence}"
    );
}

#[test]
fn a_fleet_comes_back_to_the_floor() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name);
    let text = |name: &str| file(name).to_str().expect("UTF-8").to_owned();
    let reconnect = |keys: &str| {
        let args = ["reconnect", "--floor", "--subscribe", "--credentials", keys];
        device_sim(&[&args[..], &["--json", &text("report.json")]].concat())
    };

    let line = |n| format!("{{\"serial\":\"s{n}\",\"feed_id\":{n},\"apikey\":\"sesame{n}\"}}\n");
    fs::write(file("keys"), (0..300).map(line).collect::<String>()).expect("written");
    let output = reconnect(&text("keys"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = fs::read_to_string(file("report.json")).expect("a report");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!format!("{report}{said}").contains("sesame"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["kind"], "reconnect");
    assert_eq!(report["plan"]["loop"], "closed");
    assert_eq!(report["result"]["outcomes"]["logged_in"], 300);

    // A report is no way into another file.
    fs::write(file("victim"), "precious").expect("written");
    fs::remove_file(file("report.json")).expect("it is there");
    symlink(file("victim"), file("report.json")).expect("a link");
    assert_eq!(reconnect(&text("keys")).status.code(), Some(0));
    assert_eq!(fs::read(file("victim")).expect("readable"), b"precious");
    assert!(
        fs::read_to_string(file("report.json"))
            .expect("a report")
            .contains("reconnect")
    );

    fs::write(file("keys"), "sesame\n").expect("written");
    let output = reconnect(&text("keys"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let sentence = one_sentence(&output);
    assert!(sentence.contains("line 1"), "{sentence}");
    assert!(!sentence.contains("sesame"), "{sentence}");
    fs::write(file("keys"), "\n").expect("written");
    assert!(one_sentence(&reconnect(&text("keys"))).contains("no devices"));
}

#[test]
fn a_fleet_signs_its_logins_for_the_floor() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = directory.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let secret = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
    fs::write(path("secret"), secret).expect("written");
    for proof in ["code", "hs256", "eddsa"] {
        let product = ["--product", "abcdefghijklmnopqrst"];
        let (secret_file, json) = (path("secret"), path("report.json"));
        let fleet = ["--secret-file", &secret_file, "--serials", "demo-:300"];
        let args = ["reconnect", "--floor", "--login", proof, "--json", &json];
        let output = device_sim(&[&args[..], &fleet[..], &product[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = fs::read_to_string(&json).expect("a report");
        assert!(
            !report.contains(secret) && !report.contains("eyJ"),
            "{report}"
        );
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["plan"]["proof"], proof);
        assert_eq!(report["result"]["outcomes"]["logged_in"], 300);
    }
}

#[test]
fn keys_are_not_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    fs::write(path("secret"), "0".repeat(40)).expect("written");
    fs::write(path("keys"), "precious").expect("written");
    let storm = ["storm", "--broker", "127.0.0.1:0", "--serials", "demo-:3"];
    let files = [
        "--secret-file",
        &path("secret"),
        "--save-credentials",
        &path("keys"),
    ];
    let output = device_sim(&[&storm[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(one_sentence(&output).contains("is there already"));
    assert_eq!(fs::read_to_string(path("keys")).expect("there"), "precious");
}

#[test]
fn wrong_usage_is_two() {
    for line in [
        "",
        "storm",
        "reconnect --floor",
        "floor --serials demo-:0 --in-flight 5",
    ] {
        let args: Vec<&str> = line.split_terminator(' ').collect();
        assert_eq!(device_sim(&args).status.code(), Some(2), "{line}");
    }
}
