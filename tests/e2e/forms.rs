//! How commands answer: in words, in JSON, and with an exit status; and what a
//! shell and `man` are told of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Done, PASSWORD, SECRET, TestBroker, code, command, firstwake};

fn run(dir: &Path, arguments: &[&str]) -> Done {
    firstwake(dir, arguments, "")
}

/// A list's columns are as wide as they have to be, and have names.
#[test]
fn lists_are_tables() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "a-longer-serial"]);
    let list = |arguments: &[&str]| broker.cli(arguments).ok();
    assert_eq!(
        list(&["device", "list", &product]),
        format!(
            "SERIAL           LIFECYCLE   FEED_ID  PRODUCT_ID            LABEL\n\
             S1               registered  1        {product}  -\n\
             a-longer-serial  registered  2        {product}  -\n"
        )
    );
    assert_eq!(
        list(&["product", "list"]),
        format!(
            "PRODUCT_ID            NAME  REACTIVATION     BLOCKED\n\
             {product}  lamp  until-confirmed  no\n"
        )
    );
    let ban = ["ban", "add", "192.0.2.7", "--reason", "noise"];
    assert_eq!(
        list(&ban),
        "192.0.2.7 is banned until it is removed: noise\n"
    );
    assert_eq!(
        list(&["ban", "list"]),
        "NETWORK    UNTIL  REASON\n192.0.2.7  -      noise\n"
    );
    let add = ["operator", "add", "ops", "--role", "viewer"];
    let more = ["--password-stdin", "--publish", "a/#", "--publish", "b"];
    let done = broker.cli_with(&[&add[..], &more].concat(), PASSWORD);
    assert_eq!(done.ok(), "ops is viewer\n");
    assert_eq!(
        list(&["operator", "list"]),
        "NAME   ROLE    PUBLISH  SUBSCRIBE\n\
         admin  admin   -        -\n\
         ops    viewer  a/# b    -\n"
    );
    // The pages of a long list keep to the first one's columns.
    let generate = ["device", "register", &product, "--generate", "g:1500"];
    list(&generate);
    let listed = list(&["device", "list", &product]);
    assert_eq!(listed.lines().count(), 1503);
    assert_eq!(listed.matches("SERIAL").count(), 1);
    let starts = |line: &str| line.find("registered");
    let mut columns = listed.lines().skip(1).map(starts);
    assert!(columns.all(|column| column == Some(17)), "{listed}");
}

#[test]
fn every_command_answers_in_json_too() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    let told = |arguments: &[&str], expected: &str| {
        let answer: Value = broker.json(arguments);
        assert_eq!(answer.to_string(), expected, "{arguments:?}");
    };
    let holds = |arguments: &[&str], field: &str, expected: &str| {
        let answer: Value = broker.json(arguments);
        assert_eq!(answer[field], expected, "{arguments:?}");
    };
    told(
        &["device", "register", &product, "S1", "S3"],
        r#"{"new":1,"known":1,"repeated":0}"#,
    );
    holds(&["device", "suspend", "S1"], "lifecycle", "suspended");
    told(
        &["device", "resume", "--product", &product, "--yes"],
        r#"{"changed":1,"already":2,"failed":0,"rejected":0}"#,
    );
    holds(&["device", "reopen", "S1"], "serial", "S1");
    let rename = ["product", "set", &product, "--name", "bulb"];
    holds(&rename, "name", "bulb");
    holds(&["product", "block", &product], "product_id", &product);
    holds(&["product", "unblock", &product], "product_id", &product);
    holds(&["ban", "add", "192.0.2.7"], "network", "192.0.2.7");
    told(
        &["ban", "remove", "192.0.2.7"],
        r#"{"unbanned":"192.0.2.7"}"#,
    );
    told(
        &["feed", "config", "1", "--payload", "x"],
        r#"{"feed_id":1,"became":"kept"}"#,
    );
    told(
        &["feed", "put", "1", "temperature=1", "x=a=b"],
        r#"{"feed_id":1,"kept":2}"#,
    );
    let shown = broker.json(&["feed", "show", "1"]);
    assert_eq!(shown["values"][1]["value"], "a=b");
    holds(&["device", "rename", "S3", "R3"], "serial", "R3");
    holds(&["device", "code", "R3"], "code", &code("R3"));
    holds(&["device", "remove", "R3"], "lifecycle", "registered");
    holds(&["product", "secret", &product], "secret", SECRET);
    let status = broker.json(&["status"]);
    assert_eq!(
        (&status["running"], &status["devices"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(broker.json(&["fleet"])["devices"]["registered"], 2);
    let token = broker.json(&["token", "create", "admin", "--label", "x"]);
    let id = token["id"].as_str().expect("an id");
    let listed = broker.json_lines(&["token", "list"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["label"]),
        (&json!(id), &json!("x"))
    );
    told(
        &["token", "remove", id],
        &format!(r#"{{"removed":"{id}"}}"#),
    );
    broker.add_operator("ops", "viewer", &[]);
    told(&["operator", "remove", "ops"], r#"{"removed":"ops"}"#);
    let computed = ["code", "--secret", SECRET, "--serial", "S1"];
    holds(&computed, "code", &code("S1"));
    let dir = broker.data_dir().join("certificates");
    let dir = dir.to_str().expect("UTF-8");
    let made = broker.json(&["cert", "dev", "--dir", dir]);
    assert_eq!(made["made"][0], format!("{dir}/ca.pem"));
    told(
        &["product", "remove", &product, "--yes"],
        &format!(r#"{{"removed":"{product}","devices":2}}"#),
    );
    let seqs: Vec<Value> = broker
        .events()
        .into_iter()
        .map(|mut event| event["seq"].take())
        .collect();
    assert!(seqs.len() > 10);
    assert!(seqs.iter().zip(1..).all(|(seq, expected)| seq == expected));
    // As words, each is one line.
    let words = broker.cli(&["events", "--after", "1"]).ok();
    assert_eq!(words.lines().count(), seqs.len() - 1);
    assert!(words.contains("  product_created  ") && words.contains("  name=lamp"));
    // What answers people, or a shell, has no other form.
    for arguments in [&["demo"][..], &["completions", "bash"], &["man", dir]] {
        let done = broker.cli(&[arguments, &["--output", "json"]].concat());
        assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    }
}

/// The server's own lines, too: for whoever starts it on a free port.
#[test]
fn a_server_says_in_json_where_it_listens() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = command()
        .arg("--data-dir")
        .arg(directory.path())
        .args(["serve", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let lines: Vec<String> = lines.take(2).filter_map(Result::ok).collect();
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert_eq!(lines.len(), 2);
    for (line, listener) in lines.iter().zip(["mqtt", "http"]) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["listener"], listener);
        let address = line["address"].as_str().expect("text");
        assert!(address.parse::<SocketAddr>().is_ok(), "{address}");
    }
}

#[test]
fn the_exit_status_says_why() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let ends = |arguments: &[&str], status: i32| {
        let done = broker.cli(arguments);
        assert_eq!(done.status, status, "{arguments:?}: {done:?}");
    };
    let nobody = "x".repeat(20);
    for (arguments, status) in [
        (&["device", "show", "S1"][..], 0),
        (&["device", "resume", "S1"], 1),
        (&["ban", "add", "127.0.0.1"], 1),
        (&["device", "show"], 2),
        (&["device", "show", "no good"], 2),
        (&["device", "show", "unknown"], 4),
        (&["device", "suspend", "unknown"], 4),
        (&["device", "explain", "unknown"], 4),
        (&["device", "list", &nobody], 4),
        (&["device", "register", &nobody, "S1"], 4),
        (&["product", "show", &nobody], 4),
        (&["product", "set", &nobody, "--name", "x"], 4),
        (&["product", "block", &nobody], 4),
        (&["product", "unblock", &nobody], 4),
        (&["feed", "config", "77", "--clear"], 4),
        (&["operator", "remove", "nobody"], 4),
        (&["ban", "remove", "192.0.2.7"], 4),
        (&["device", "remove", "unknown"], 4),
        (&["device", "rename", "unknown", "S2"], 4),
        (&["product", "remove", &nobody, "--yes"], 4),
        (&["product", "remove", &nobody], 2),
        (&["feed", "show", "77"], 4),
        (&["feed", "put", "77", "temperature=1"], 4),
        (&["token", "create", "nobody"], 4),
        (&["token", "remove", "aaaaaaaaaa"], 4),
        (&["fleet", "--product", &nobody], 4),
    ] {
        ends(arguments, status);
    }
    let away = broker.data_dir().join("not-there");
    run(&away, &["device", "show", "S1"]).failed(3);
    let help = broker.cli(&["--help"]).ok();
    assert!(help.contains("  4  no such thing"), "{help}");
}

/// What the shells themselves say of a script is in `scripts`; here it is
/// there, and names a command of the lowest level.
#[test]
fn shells_and_man_are_told_of_every_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().join("man");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(directory.path(), &["completions", shell]).ok();
        assert!(script.contains("quarantine"), "{shell}");
        assert!(script.contains("firstwake"), "{shell}");
    }
    assert_eq!(run(directory.path(), &["completions", "sh"]).status, 2);
    let pages = dir.to_str().expect("UTF-8");
    assert_eq!(run(directory.path(), &["man", pages]).ok(), "");
    let page = |name: &str| fs::read_to_string(dir.join(name)).expect("a page");
    assert!(page("firstwake.1").contains("no such thing"));
    assert!(page("firstwake-device-quarantine.1").contains("PRODUCT_ID"));
    assert!(page("firstwake-serve.1").contains("mqtts"));
    let names = fs::read_dir(&dir).expect("readable");
    let names: Vec<_> = names.map(|entry| entry.expect("one").file_name()).collect();
    assert!(
        !names.iter().any(|n| n.to_string_lossy().contains("help")),
        "{names:?}"
    );
}
