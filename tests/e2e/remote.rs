//! Commands that ask a server elsewhere: the same answers as here, and a token
//! that nobody else gets to see.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use crate::support::way::keep_token;
use crate::support::{
    Connect, Done, Everywhere, PASSWORD, TestBroker, Version, Way, carried_out, command,
};

/// A token that no server knows.
const NOBODYS: &str = "fwo_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn asked(url: &str, token: &Path, arguments: &[&str]) -> Done {
    let mut command = command();
    command.args(["--url", url, "--token-file"]).arg(token);
    carried_out(command.args(arguments), "")
}

/// What reads only, asked of the same server here and over HTTP.
#[test]
fn both_ways_say_the_same() {
    let way = Way::over_http();
    let broker = way.broker();
    let product = broker.fleet(&["S1", "S2", "a+b,c:d_-"]);
    broker.add_operator("ops", "viewer", &["--publish", "app/#"]);
    let (_device, credentials) = broker.device(Version::V5, "S1");
    broker.told(Version::V5, &Connect::new("S2", &"0".repeat(40)));
    broker.cli(&["device", "suspend", "S2"]).ok();
    broker.cli(&["ban", "add", "192.0.2.0/24"]).ok();
    let feed = credentials.feed.to_string();
    broker.cli(&["feed", "put", &feed, "temperature=21.5"]).ok();
    let full = format!("{product}/a+b,c:d_-");
    let nobody = "x".repeat(20);
    for arguments in [
        &["product", "list"][..],
        &["product", "show", &product],
        &["product", "show", &nobody],
        &["product", "secret", &product],
        &["product", "block", &nobody],
        &["device", "list"],
        &["device", "list", &product, "--serial", "s"],
        &["device", "list", &product, "--activated"],
        &["device", "list", &nobody],
        &["device", "show", "S1"],
        &["device", "show", "s1"],
        &["device", "show", &full],
        &["device", "show", "a+b,c:d_-"],
        &["device", "show", "unknown"],
        &["device", "code", "S1"],
        &["device", "explain", "S2"],
        &["device", "explain", "unknown"],
        &["device", "resume", "S1"],
        &["device", "reset", "unknown"],
        &["device", "register", &nobody, "S1"],
        &["device", "rename", "S1", "S2"],
        &["feed", "show", &feed],
        &["feed", "show", "77"],
        &["feed", "put", &feed, "no good=1"],
        &["feed", "send", &feed, "a/b"],
        &["feed", "send", &feed, "reboot"],
        &["operator", "list"],
        &["operator", "remove", "nobody"],
        &["token", "list"],
        &["ban", "list"],
        &["ban", "remove", "192.0.2.0/25"],
        &["ban", "add", "0.0.0.0/0"],
        &["fleet", "--product", &product],
        &["fleet", "--product", &nobody],
        &["events"],
        &["events", "--after", "3"],
    ] {
        for form in ["table", "json"] {
            let arguments = [arguments, &["--output", form]].concat();
            let told = |done: Done| (done.status, done.stdout, done.stderr);
            let (here, there) = (broker.cli(&arguments), way.run(&arguments));
            assert_eq!(told(here), told(there), "{arguments:?}");
        }
    }
    let fleet = way.json(&["fleet"]);
    assert_eq!(fleet["devices"]["active"], 1, "{fleet}");
    assert_eq!(fleet["connected"]["devices"], 1, "{fleet}");
}

/// What changes something, each looked at from here.
#[test]
fn everything_can_be_done_from_elsewhere() {
    let way = Way::over_http();
    let broker = way.broker();
    let product = broker.fleet(&["S1", "S2", "S3"]);
    let key = broker.activate(Version::V311, "S1").key;
    way.run(&["device", "suspend", "S1"]).ok();
    assert!(!broker.works("S1", &key));
    way.run(&["device", "resume", "S1"]).ok();
    assert!(broker.works("S1", &key));
    let reopened = way.run(&["device", "reopen", "S1", "--for", "15m"]).ok();
    assert!(reopened.contains("its code works until"), "{reopened}");
    way.run(&["device", "rename", "S2", "R2"]).ok();
    assert_eq!(broker.lifecycle("R2"), "registered");
    way.run(&["device", "remove", "R2"]).ok();
    broker.cli(&["device", "show", "R2"]).failed(4);
    let list = format!("S1\n{product}/S3\nunknown\n");
    let many = way.run_with(&["device", "revoke", "--from", "-"], &list);
    assert_eq!(
        (many.status, many.stdout.as_str()),
        (1, "changed 2, already so 0, failed 1\n")
    );
    assert!(
        many.stderr
            .starts_with("unknown: no device is called unknown\n")
    );
    way.run(&["device", "reset", "S1"]).refused();
    way.run(&["device", "reset", "S1", "--from-revoked"]).ok();
    let generate = ["device", "register", &product, "--generate", "g-:2500"];
    assert_eq!(way.run(&generate).ok(), "registered 2500, known before 0\n");
    let listed = way.run(&["device", "list", &product]).ok();
    assert_eq!(listed.lines().count(), 2503);
    let change = ["product", "set", &product, "--description", "a lamp"];
    assert!(way.run(&change).ok().contains("a lamp"));
    let blocked = ["product", "block", &product, "--except", "-"];
    let said = way.run_with(&blocked, "S1\n").ok();
    assert_eq!(said, format!("{product} is blocked, but for 1 devices\n"));
    broker.activate(Version::V5, "S1");
    assert_eq!(broker.json(&["product", "show", &product])["blocked"], true);
    let wrong = way.run_with(&blocked, "unknown\n").refused();
    assert!(
        wrong.contains("nothing is blocked") && wrong.contains("unknown"),
        "{wrong}"
    );
    way.run(&["product", "unblock", &product]).ok();
    assert_eq!(
        broker.json(&["product", "show", &product])["blocked"],
        false
    );
    let feed = broker.json(&["device", "show", "S1"])["feed_id"].to_string();
    let config = ["feed", "config", &feed, "--payload", "{}"];
    assert!(way.run(&config).ok().starts_with("kept"));
    let clear = ["feed", "config", &feed, "--clear"];
    assert_eq!(way.run(&clear).ok(), "no configuration is kept any more\n");
    way.run(&["feed", "put", &feed, "temperature=1", "humidity=2"])
        .ok();
    let shown = broker.json(&["feed", "show", &feed]);
    assert_eq!(shown["values"].as_array().map(Vec::len), Some(2), "{shown}");
    let ban = [
        "ban",
        "add",
        "192.0.2.7",
        "--for",
        "1h",
        "--reason",
        "noise",
    ];
    assert!(way.run(&ban).ok().ends_with("Z: noise\n"));
    way.run(&["ban", "remove", "192.0.2.7"]).ok();
    let add = [
        "operator",
        "add",
        "ops",
        "--role",
        "viewer",
        "--password-stdin",
    ];
    way.run_with(&add, PASSWORD).ok();
    broker.operator(Version::V5, "ops").expect_alive();
    way.run(&["operator", "remove", "ops"]).ok();
    let token = way.json(&["token", "create", "admin", "--for", "1h", "--label", "x y"]);
    assert_eq!(token["label"], "x y");
    assert!(token["expires_at"].is_string());
    let id = token["id"].as_str().expect("an id");
    way.run(&["token", "remove", id]).ok();
    way.run(&["token", "remove", id]).failed(4);
    let removed = way.run(&["product", "remove", &product, "--yes"]).ok();
    assert_eq!(
        removed,
        format!("{product} is removed, and 2502 devices with it\n")
    );
}

#[test]
fn who_may_not_is_told_so() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1"]);
    let key = broker.activate(Version::V5, "S1").key;
    broker.add_operator("eyes", "viewer", &[]);
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    let url = format!("http://{}", broker.listens("http"));
    let token = broker.json(&["token", "create", "eyes"]);
    keep_token(&file, token["token"].as_str().expect("a token"));
    let ask = |arguments: &[&str]| asked(&url, &file, arguments);
    ask(&["device", "show", "S1"]).ok();
    for refused in [
        &["device", "suspend", "S1"][..],
        &["device", "code", "S1"],
        &["product", "create", "x"],
        &["operator", "list"],
        &["ban", "add", "192.0.2.7"],
        &["feed", "send", "1", "x"],
        &["token", "create", "admin"],
    ] {
        let sentence = ask(refused).failed(5);
        assert!(!sentence.contains("does not know"), "{sentence}");
    }
    assert_eq!(broker.lifecycle("S1"), "issued");
    let id = token["id"].as_str().expect("an id");
    broker.cli(&["token", "remove", id]).ok();
    for unknown in [None, Some(NOBODYS)] {
        if let Some(token) = unknown {
            keep_token(&file, token);
        }
        let sentence = ask(&["device", "show", "S1"]).failed(5);
        assert!(sentence.contains("does not know this token"), "{sentence}");
    }
    // A device's key is no token.
    keep_token(&file, &key);
    let sentence = ask(&["device", "show", "S1"]).refused();
    assert!(sentence.contains("holds no token") && !sentence.contains(&key));
    assert_eq!(broker.lifecycle("S1"), "issued");
}

#[test]
fn a_token_stands_in_a_private_file_or_in_the_environment() {
    let broker = TestBroker::with_http();
    let token = broker.token("admin");
    let url = format!("http://{}", broker.listens("http"));
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, &token);
    let list = ["product", "list"];
    let ask = || asked(&url, &file, &list);
    ask().ok();
    for open in [0o640, 0o604, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(open)).expect("opened");
        let sentence = ask().refused();
        assert!(sentence.contains("chmod 600"), "{sentence}");
        assert!(sentence.contains(&format!("{open:04o}")), "{sentence}");
    }
    fs::remove_file(&file).expect("removed");
    assert!(ask().refused().contains("cannot be opened"));
    let plain = || {
        let mut command = command();
        command.args(["--url", &url]).args(list);
        command
    };
    let sentence = carried_out(&mut plain(), "").failed(2);
    assert!(sentence.contains("--token-file"), "{sentence}");
    carried_out(plain().env("FIRSTWAKE_TOKEN", &token), "").ok();
    carried_out(plain().env("FIRSTWAKE_TOKEN", ""), "").failed(2);
    let cut = &token[..47];
    let sentence = carried_out(plain().env("FIRSTWAKE_TOKEN", cut), "").refused();
    assert!(!sentence.contains(cut), "{sentence}");
    // A file that is named goes first.
    keep_token(&file, &token);
    let named = plain()
        .arg("--token-file")
        .arg(&file)
        .env("FIRSTWAKE_TOKEN", NOBODYS)
        .output();
    assert!(named.expect("it runs").status.success());
    let argument = carried_out(plain().args(["--token", &token]), "");
    assert_eq!((argument.status, argument.stdout.as_str()), (2, ""));
}

#[test]
fn one_place_is_meant() {
    let broker = TestBroker::with_http();
    let url = format!("http://{}", broker.listens("http"));
    let token = broker.token("admin");
    let dir = broker.data_dir().to_str().expect("UTF-8");
    let ends = |arguments: &[&str], variables: &[(&str, &str)], status: i32| {
        let mut command = command();
        command.args(arguments).env("FIRSTWAKE_TOKEN", &token);
        let done = carried_out(command.envs(variables.iter().copied()), "");
        assert_eq!(done.status, status, "{arguments:?}: {done:?}");
        assert!(!format!("{done:?}").contains(&token));
    };
    let list = ["product", "list"];
    let remote = [("FIRSTWAKE_URL", url.as_str())];
    ends(&list, &remote, 0);
    ends(&list, &[remote[0], ("FIRSTWAKE_DATA_DIR", "/nowhere")], 0);
    // What is named here goes before a variable.
    let gone = [("FIRSTWAKE_URL", "http://127.0.0.1:1")];
    ends(&["--data-dir", dir, "product", "list"], &gone, 0);
    ends(&["--url", &url, "product", "list"], &gone, 0);
    ends(
        &["--url", &url, "--data-dir", dir, "product", "list"],
        &[],
        2,
    );
    for wrong in ["nonsense", "ftp://a", "http://u:p@127.0.0.1", "https://a?b"] {
        ends(&["--url", wrong, "product", "list"], &[], 2);
    }
    for here in [
        &["serve"][..],
        &["demo"],
        &["cert", "dev"],
        &["code", "--secret", "x", "--serial", "S1"],
        &["completions", "bash"],
        &["man", "/nowhere/at/all"],
    ] {
        ends(&[&["--url", &url], here].concat(), &[], 2);
    }
    ends(&["completions", "bash"], &remote, 0);
}

#[test]
fn a_token_is_not_shown_where_others_read_along() {
    let broker = TestBroker::with_http();
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, &broker.token("admin"));
    // No loopback by its name, though it leads there.
    let url = format!("http://0.0.0.0:{}", broker.listens("http").port());
    let refused = asked(&url, &file, &["product", "list"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("is not encrypted"), "{refused:?}");
    asked(&url, &file, &["product", "list", "--dangerous-plaintext"]).ok();
}

#[test]
fn a_server_that_is_away_is_told_of() {
    let mut broker = TestBroker::with_http();
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    let token = broker.token("admin");
    keep_token(&file, &token);
    let url = format!("http://{}", broker.listens("http"));
    asked(&url, &file, &["product", "list"]).ok();
    broker.kill();
    let sentence = asked(&url, &file, &["product", "list"]).failed(3);
    assert!(
        sentence.contains(&url) && !sentence.contains(&token),
        "{sentence}"
    );
    let nowhere = asked(
        "http://nowhere.invalid",
        &file,
        &["product", "list", "--dangerous-plaintext"],
    );
    nowhere.failed(3);
}

#[test]
fn a_private_authority_is_trusted_where_it_is_named() {
    let everywhere = Everywhere::start();
    let broker = &everywhere.broker;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, &broker.token("admin"));
    let port = broker.listens("https").port();
    let ca = everywhere.authority();
    let ca = ca.to_str().expect("UTF-8");
    let list = ["product", "list"];
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{port}");
        asked(&url, &file, &[&list[..], &["--ca", ca]].concat()).ok();
        let sentence = asked(&url, &file, &list).refused();
        assert!(sentence.contains("is not trusted") && sentence.contains("--ca"));
    }
    // Another name than the certificate's.
    let url = format!("https://localhost.localdomain:{port}");
    let other = asked(&url, &file, &[&list[..], &["--ca", ca]].concat());
    assert!([1, 3].contains(&other.status), "{other:?}");
    let token = file.to_str().expect("UTF-8");
    let url = format!("https://127.0.0.1:{port}");
    let sentence = asked(&url, &file, &[&list[..], &["--ca", token]].concat()).refused();
    assert!(sentence.contains("holds no certificate"), "{sentence}");
}

/// A stranger's server: answers each connection with the next of these, and
/// tells what it was asked.
fn stranger(answers: Vec<String>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = thread::spawn(move || {
        let serve = |answer: String| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let asked = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).expect("sent");
            asked
        };
        answers.into_iter().map(serve).collect()
    });
    (address, served)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        reader.read_line(&mut head).expect("a line");
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    head
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// What makes something is sent again under the same key, once.
#[test]
fn a_lost_answer_is_asked_for_again_where_that_makes_no_difference() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, NOBODYS);
    let product = "x".repeat(20);
    let register = ["device", "register", &product, "S1"];
    let made = answer("201 Created", r#"{"new":1,"known":0}"#);
    let ask = |answers: Vec<String>, arguments: &[&str]| {
        let (address, served) = stranger(answers);
        let done = asked(&format!("http://{address}"), &file, arguments);
        (done, served.join().expect("served"))
    };
    let lost = String::new;
    let (done, requests) = ask(vec![lost(), made], &register);
    assert_eq!(done.ok(), "registered 1, known before 0\n");
    let keys: Vec<_> = requests
        .iter()
        .map(|request| header(request, "idempotency-key").expect("a key"))
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].len() == 32);
    let (again, other) = ask(vec![lost(), lost()], &register);
    again.failed(3);
    assert_ne!(header(&other[0], "idempotency-key"), Some(keys[0]));
    let (list, _) = ask(vec![lost(), answer("200 OK", "[]")], &["product", "list"]);
    assert_eq!(list.ok(), "");
    // Nobody can tell whether it was done: nor does the command try.
    let (remove, requests) = ask(vec![lost()], &["device", "remove", "S1"]);
    remove.failed(3);
    assert_eq!(header(&requests[0], "idempotency-key"), None);
}

/// The token goes where it was meant to go, and nowhere else.
#[test]
fn no_stranger_leads_a_token_elsewhere() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, NOBODYS);
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("set");
    let to = elsewhere.local_addr().expect("an address");
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let redirect = format!(
            "HTTP/1.1 {status}\r\nLocation: http://{to}/\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        let (address, served) = stranger(vec![redirect]);
        let url = format!("http://{address}");
        let mut command = command();
        command
            .args(["--url", &url, "--token-file"])
            .arg(&file)
            .args(["product", "list"])
            // Nor through a proxy, which could read it.
            .envs(
                ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
                    .map(|it| (it, format!("http://{to}"))),
            );
        let sentence = carried_out(&mut command, "").refused();
        assert!(sentence.contains("is it Firstwake?"), "{sentence}");
        assert!(!sentence.contains(NOBODYS));
        let requests = served.join().expect("served");
        let bearer = format!("Bearer {NOBODYS}");
        assert_eq!(header(&requests[0], "authorization"), Some(&bearer[..]));
    }
    assert!(elsewhere.accept().is_err(), "somebody came");
}

#[test]
fn whatever_a_stranger_answers_is_one_sentence() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, NOBODYS);
    let ends = |answer: String, times: usize, status: i32| {
        let (address, served) = stranger(vec![answer; times]);
        let done = asked(&format!("http://{address}"), &file, &["product", "list"]);
        let sentence = done.failed(status);
        assert!(!sentence.contains(NOBODYS), "{sentence}");
        served.join().expect("served");
    };
    ends(answer("200 OK", "nonsense"), 1, 1);
    ends(answer("200 OK", r#"{"products":1}"#), 1, 1);
    ends(answer("404 Not Found", ""), 1, 1);
    ends(answer("502 Bad Gateway", "<html>"), 1, 3);
    ends("220 mail.example ESMTP\r\n".to_owned(), 2, 3);
}

/// A terminal acts on nothing that a stranger answers.
#[test]
fn what_a_stranger_answers_moves_no_terminal() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("token");
    keep_token(&file, NOBODYS);
    let harmless = |text: &str| !text.chars().any(|it| it != '\n' && firstwake::deceives(it));
    let tricks = "\u{1b}[2J\u{9b}31m\u{202e}\r\nfirstwake: done";
    let ask = |answers: Vec<String>, arguments: &[&str]| {
        let (address, served) = stranger(answers);
        let done = asked(&format!("http://{address}"), &file, arguments);
        served.join().expect("served");
        done
    };
    let problem = serde_json::json!({"detail": tricks}).to_string();
    let problem = answer("409 Conflict", &problem).replace("/json", "/problem+json");
    let sentence = ask(vec![problem], &["product", "list"]).failed(1);
    assert!(harmless(&sentence), "{sentence:?}");
    assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence:?}");
    assert!(
        sentence.contains("\\u{1b}[2J\\u{9b}31m\\u{202e}"),
        "{sentence:?}"
    );
    let events = serde_json::json!([{
        "seq": 1, "v": 1, "at": "t", "event": tricks, "name": tricks,
    }]);
    let page = |events| answer("200 OK", &serde_json::json!({"events": events}).to_string());
    let pages = vec![page(events), page(serde_json::json!([]))];
    for form in ["table", "json"] {
        let list = ["events", "--output", form];
        let done = ask(pages.clone(), &list);
        assert_eq!(done.status, 0, "{done:?}");
        assert!(harmless(&done.stdout) && harmless(&done.stderr), "{done:?}");
    }
}

#[test]
fn events_are_followed_and_gone_on_with() {
    let mut way = Way::over_http();
    way.broker().fleet(&["S1"]);
    let mut following = way.command();
    let mut child = following
        .args(["events", "--follow", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> serde_json::Value {
        let line = lines.next().expect("a line").expect("read");
        serde_json::from_str(&line).expect("JSON")
    };
    let mut last = 0;
    while next()["event"] != "device_registered" {
        last += 1;
    }
    let arguments = fs::read(format!("/proc/{}/cmdline", child.id())).expect("it runs");
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    assert!(
        arguments.contains("--follow") && !arguments.contains("fwo_"),
        "{arguments}"
    );
    way.broker().cli(&["device", "suspend", "S1"]).ok();
    let seen = next();
    assert_eq!(seen["event"], "device_suspended");
    assert_eq!(seen["seq"], last + 2);
    way.kill();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains(&format!("--after {}", last + 2)), "{said}");
}

/// Nothing will happen where no server is running, and one could not start.
#[test]
fn nobody_follows_a_registry_without_a_server() {
    let [alone, ..] = Way::all();
    alone.run(&["product", "create", "lamp"]).ok();
    let sentence = alone.run(&["events", "--follow"]).failed(3);
    assert!(sentence.contains("leave out --follow"), "{sentence}");
}
