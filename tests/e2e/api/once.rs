//! Requests that are sent twice and carried out once.

use crate::support::http::{HttpPeer, JSON, Response, basic};
use crate::support::{TestBroker, eventually};

const CREATE: &str = "POST /api/v1/products";

fn with_boss() -> TestBroker {
    let broker = TestBroker::with_http();
    broker.add_operator("boss", "admin", &[]);
    broker
}

fn ask(peer: &mut HttpPeer, line: &str, key: &str, body: &str) -> Response {
    let key = format!("Idempotency-Key: {key}");
    peer.ask(line, &[&basic("boss"), JSON, &key], body.as_bytes())
}

fn products(peer: &mut HttpPeer) -> usize {
    let listed = peer.ask("GET /api/v1/products", &[&basic("boss")], b"");
    listed.of(200).as_array().expect("a list").len()
}

#[test]
fn the_same_again_is_answered_the_same_again() {
    let mut broker = with_boss();
    let lamp = r#"{"name":"lamp"}"#;
    let first = ask(&mut broker.http(), CREATE, "one", lamp);
    assert_eq!(first.status, 201);
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    // Also by another process.
    broker.kill_and_restart();
    let mut peer = broker.http();
    let again = ask(&mut peer, CREATE, "one", lamp);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, &again.body), (201, &first.body));
    for name in ["location", "content-type", "cache-control"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(products(&mut peer), 1);
    // Something else with the same key is a mistake.
    let sentence = ask(&mut peer, CREATE, "one", r#"{"name":"lamp "}"#);
    assert!(sentence.problem(422, "key-reused").contains("another key"));
    ask(&mut peer, "POST /api/v1/tokens", "one", lamp).problem(422, "key-reused");
    assert_eq!(products(&mut peer), 1);
    // Keys are each operator's own.
    broker.add_operator("second", "admin", &[]);
    let key = "Idempotency-Key: one";
    let other = peer.ask(CREATE, &[&basic("second"), JSON, key], lamp.as_bytes());
    assert_ne!(other.of(201), first.json());
    assert_eq!(products(&mut peer), 2);
}

#[test]
fn who_lost_a_right_is_not_told_again_what_it_gave() {
    let broker = with_boss();
    broker.add_operator("anna", "admin", &[]);
    let key = "Idempotency-Key: k";
    let body = br#"{"name":"lamp"}"#;
    // Each act ends the connections of the operator that it concerns.
    let create = || {
        let mut peer = broker.http();
        peer.ask(CREATE, &[&basic("anna"), JSON, key], body)
    };
    create().of(201);
    assert_eq!(create().header("idempotency-replayed"), Some("true"));
    broker.add_operator("anna", "viewer", &[]);
    create().problem(403, "forbidden");
    broker.cli(&["operator", "remove", "anna"]).ok();
    broker.add_operator("anna", "viewer", &[]);
    create().problem(403, "forbidden");
}

#[test]
fn a_body_with_a_key_is_short() {
    let broker = with_boss();
    broker.add_operator("watcher", "viewer", &[]);
    let mut peer = broker.http();
    let large = vec![b' '; 1024 * 1024 + 1];
    let key = "Idempotency-Key: k";
    let headers = [&basic("watcher"), JSON, key];
    peer.ask("POST /api/v1/acts", &headers, &large)
        .problem(413, "too-large");
}

#[test]
fn what_changed_nothing_may_be_sent_again() {
    let broker = with_boss();
    let mut peer = broker.http();
    ask(&mut peer, CREATE, "k", r#"{"name":""}"#).problem(400, "invalid");
    ask(&mut peer, CREATE, "k", r#"{"name":"lamp"}"#).of(201);
    for wrong in ["", &"k".repeat(256), "é"] {
        ask(&mut peer, CREATE, wrong, r#"{"name":"x"}"#).problem(400, "invalid");
    }
    let longest = "k".repeat(255);
    ask(&mut peer, CREATE, &longest, r#"{"name":"x"}"#).of(201);
    // Whoever is nobody begins nothing.
    let nobody = peer.ask(CREATE, &[JSON, "Idempotency-Key: n"], br#"{"name":"x"}"#);
    nobody.problem(401, "unauthenticated");
    assert_eq!(products(&mut peer), 2);
}

#[test]
fn what_a_crash_cut_short_is_not_begun_anew() {
    let mut broker = with_boss();
    let product = broker.fleet(&["first"]);
    let serials: Vec<String> = (0..100_000).map(|n| format!("\"s{n}\"")).collect();
    let body = format!(
        r#"{{"product_id":"{product}","serials":[{}]}}"#,
        serials.join(",")
    );
    let register = "POST /api/v1/devices";
    let mut cut = broker.http();
    let headers = [&basic("boss"), JSON, "Idempotency-Key: list"];
    cut.send(&crate::support::http::request(
        register,
        &headers,
        body.as_bytes(),
    ));
    // It has begun: some are there.
    let mut peer = broker.http();
    eventually("the first of the list", || {
        let found = "GET /api/v1/devices?limit=1&serial=s0";
        let found = peer.ask(found, &[&basic("boss")], b"").of(200);
        (!found["devices"].as_array()?.is_empty()).then_some(())
    });
    broker.kill_and_restart();
    let mut peer = broker.http();
    let sentence = ask(&mut peer, register, "list", &body).problem(409, "conflict");
    assert!(sentence.contains("another key"), "{sentence}");
    let done = ask(&mut peer, register, "list-2", &body).of(201);
    assert!(done["known"].as_u64() > Some(0), "{done}");
    let sum = done["known"].as_u64().zip(done["new"].as_u64());
    assert_eq!(sum.map(|(known, new)| known + new), Some(100_000));
}
