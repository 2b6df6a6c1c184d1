//! The HTTP face, from the first byte: what carries it, and who is let in.

mod events;
mod hostile;
mod once;
mod page;
mod requests;
mod resources;
mod rights;

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::http::{HttpPeer, JSON, basic, request};
use crate::support::{Everywhere, TestBroker, Version, dial};

#[test]
fn who_lives_and_what_time_it_is_everybody_may_ask() {
    let broker = TestBroker::with_http();
    let mut peer = broker.http();
    let live = peer.ask("GET /healthz", &[], b"");
    assert_eq!(live.clone().of(200)["status"], "live");
    assert!(live.header("date").is_some(), "{}", live.head);
    let ready = peer.ask("GET /readyz", &[], b"").of(200);
    assert_eq!(ready["status"], "ready");
    let time = peer.ask("GET /api/v1/time", &[], b"").of(200);
    let text = time["time"].as_str().expect("text");
    let unix = time["unix"].as_u64().expect("a number");
    assert!(text.ends_with('Z') && text.len() == 24, "{text}");
    assert!(unix > 1_700_000_000_000, "{unix}");
    // The same from firmware.
    peer = broker.http();
    peer.send(b"GET /api/v1/time HTTP/1.0\r\n\r\n");
    let old = String::from_utf8(peer.rest()).expect("text");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    assert!(old.contains("\r\nContent-Length: "), "{old}");
}

#[test]
fn only_operators_ask_anything_else() {
    let broker = TestBroker::with_http();
    broker.add_operator("eyes", "viewer", &[]);
    broker.fleet(&["S1"]);
    let key = broker.activate(Version::V5, "S1").key;
    let mut peer = broker.http();
    let version = "GET /api/v1/version";
    let told = peer.ask(version, &[&basic("eyes")], b"").of(200);
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    let nobody = peer.ask(version, &[], b"");
    nobody.problem(401, "unauthenticated");
    let offers = nobody.head.matches("Www-Authenticate: ").count();
    assert_eq!(offers, 2, "{}", nobody.head);
    // Whoever it was: the same bytes, but for the time.
    let wrong: Vec<String> = [
        basic("nobody"),
        "Authorization: Basic ZXllczp3cm9uZw==".to_owned(),
        "Authorization: Basic !".to_owned(),
        "Authorization: Digest x".to_owned(),
        format!("Authorization: Bearer {}", "A".repeat(48)),
        "Authorization: Bearer short".to_owned(),
    ]
    .iter()
    .map(|header| {
        let answer = peer.ask(version, &[header], b"");
        answer.problem(401, "unauthenticated")
    })
    .collect();
    assert_eq!(wrong[0], wrong[1]);
    assert_eq!(wrong[0], wrong[4]);
    assert_eq!(wrong[0], wrong[5]);
    assert_eq!(wrong[2], wrong[3], "nothing was shown");
    let device = format!("Authorization: Bearer {key}");
    let refused = peer.ask(version, &[&device], b"");
    assert!(refused.problem(403, "forbidden").contains("devices"));
    // It has shown its key all the same.
    assert_eq!(broker.lifecycle("S1"), "active");
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let broker = TestBroker::with_http();
    let mut peer = broker.http();
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/v2/feeds/1",
        "/%ff",
        "//",
    ] {
        let answer = peer.ask(&format!("GET {path}"), &[], b"");
        answer.problem(404, "not-found");
    }
    for method in ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = peer.ask(&format!("{method} /api/v1/time"), &[], b"");
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
    peer.send(&request(
        "HEAD /api/v1/problems",
        &["Connection: close"],
        b"",
    ));
    let head = String::from_utf8(peer.rest()).expect("text");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn requests_may_come_at_once_and_a_broken_one_ends_it() {
    let broker = TestBroker::with_http();
    let mut peer = broker.http();
    let both = [
        request("GET /api/v1/time", &[], b""),
        request("GET /healthz", &[], b""),
    ];
    peer.send(&both.concat());
    assert!(peer.response().of(200)["unix"].is_u64());
    assert_eq!(peer.response().of(200)["status"], "live");
    peer.send(b"nonsense\r\n\r\n");
    assert_eq!(peer.response().status, 400);
    assert_eq!(peer.rest(), b"");

    let long = format!("X-Long: {}", "x".repeat(20 * 1024));
    let mut peer = broker.http();
    drop(peer.offer(&request("GET /healthz", &[&long], b"")));
    let answer = String::from_utf8(peer.rest()).expect("text");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[test]
fn https_has_both_faces_and_plain_ones_have_one() {
    let server = Everywhere::start();
    let statuses = |mut peer: HttpPeer| {
        ["/healthz", "/api/v1/time", "/v2/nothing"].map(|path| {
            let answer = peer.ask(&format!("GET {path}"), &[], b"");
            (
                answer.status,
                answer.header("content-type").map(str::to_owned),
            )
        })
    };
    let problem = Some("application/problem+json".to_owned());
    let https = statuses(server.https());
    assert_eq!([https[0].0, https[1].0, https[2].0], [200, 200, 404]);
    assert_ne!(https[2].1, problem, "/v2 has answers of its own");
    let operators = statuses(server.broker.http());
    assert_eq!([operators[0].0, operators[1].0], [200, 200]);
    assert_eq!(operators[2], (404, problem.clone()));
    let devices = statuses(HttpPeer::open(server.broker.listens("xively")));
    assert_eq!([devices[0].0, devices[1].0], [404, 404]);
    assert_ne!(devices[2].1, problem);
}

#[test]
fn who_sends_no_request_is_not_waited_for() {
    let limits = "connect_seconds = 1\nfirst_byte_seconds = 1";
    let server = Everywhere::configured("", limits);
    let address = server.broker.listens("http");
    let silent = HttpPeer::open(address);
    let mut slow = HttpPeer::open(address);
    slow.send(b"GET /healthz HT");
    let mut idle = HttpPeer::open(address);
    assert_eq!(idle.ask("GET /healthz", &[], b"").status, 200);
    for mut peer in [silent, slow, idle] {
        let rest = String::from_utf8(peer.rest()).expect("text");
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 408 "),
            "{rest}"
        );
    }
}

#[test]
fn a_server_that_stops_ends_what_idles() {
    let mut broker = TestBroker::with_http();
    let mut idle = broker.http();
    assert_eq!(idle.ask("GET /healthz", &[], b"").status, 200);
    broker.terminate();
    assert_eq!(idle.rest(), b"");
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn who_is_turned_away_is_told_when_to_come_back() {
    let server = Everywhere::configured("", "connections_per_source = 1");
    let address = server.broker.listens("http");
    let mut first = HttpPeer::open(address);
    assert_eq!(first.ask("GET /healthz", &[], b"").status, 200);
    let mut second = dial(address);
    second
        .write_all(&request("GET /healthz", &[], b""))
        .expect("open");
    let answer = HttpPeer::over(second).response();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[test]
fn who_fails_too_often_waits_and_who_is_right_does_not() {
    let limits = "failures_burst = 2\nfailures_per_minute = 1";
    let server = Everywhere::configured("", limits);
    server.broker.add_operator("boss", "admin", &[]);
    let address = server.broker.listens("http");
    let version = "GET /api/v1/version";
    let mut peer = HttpPeer::open(address);
    let made = peer
        .ask("POST /api/v1/tokens", &[&basic("boss"), JSON], b"{}")
        .of(201);
    let token = made["secret"].as_str().expect("text");
    let token = format!("Authorization: Bearer {token}");
    let wrong = format!("Authorization: Bearer {}", "x".repeat(48));
    let begun = Instant::now();
    for _ in 0..3 {
        // Who shows nothing has not failed.
        peer.ask(version, &[], b"").problem(401, "unauthenticated");
    }
    for _ in 0..2 {
        peer.ask(version, &[&wrong], b"")
            .problem(401, "unauthenticated");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "within its burst");
    peer.ask(version, &[&wrong], b"");
    let begun = Instant::now();
    let mut slow = HttpPeer::open(address);
    slow.send(&request(version, &[&wrong], b""));
    peer.ask(version, &[&token], b"").of(200);
    assert!(begun.elapsed() < Duration::from_secs(2));
    slow.response().problem(401, "unauthenticated");
    assert!(begun.elapsed() > Duration::from_secs(2));
    // A password is not even looked at, right as it is.
    let unheard = peer.ask(version, &[&basic("boss")], b"");
    unheard.problem(429, "too-many");
    assert_eq!(unheard.header("retry-after"), Some("60"));
}
