//! What no client would send, and what nobody may read anywhere.

use serde_json::json;

use crate::support::http::{HttpPeer, JSON, basic, request};
use crate::support::{Everywhere, PASSWORD, SECRET, TestBroker, Version, code};

fn with_boss() -> TestBroker {
    let broker = TestBroker::with_http();
    broker.add_operator("boss", "admin", &[]);
    broker
}

#[test]
fn bodies_that_are_wrong_are_told_so_and_change_nothing() {
    let broker = with_boss();
    broker.fleet(&["S1"]);
    let before = broker.events();
    let mut peer = broker.http();
    let who = basic("boss");
    let deep = format!(r#"{{"name":{}"#, "[".repeat(100_000));
    let surrogate = r#"{"name":"\ud800"}"#;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{}",
        "{\"name\":7}",
        "{\"name\":null}",
        "\u{feff}{}",
        r#"{"name":"x","name":"y"}"#,
        r#"{"name":"x","nam":1}"#,
        r#"{"name":"x"}x"#,
        r#"{"name":"x","new_datastreams":-1}"#,
        r#"{"name":"x","new_datastreams":1e99}"#,
        r#"{"name":"x","secret":"short"}"#,
        r#"{"name":"x","datastreams":[{"id":"a b"}]}"#,
        r#"{"name":"x","stage":"done"}"#,
        r#"{"name":"a\nb"}"#,
        &deep,
        surrogate,
    ] {
        let answer = peer.ask("POST /api/v1/products", &[&who, JSON], body.as_bytes());
        answer.problem(400, "invalid");
    }
    for raw in [&b"\xff\xfe"[..], b"{\"name\":\"\xc3\x28\"}", b"\0"] {
        let answer = peer.ask("POST /api/v1/products", &[&who, JSON], raw);
        answer.problem(400, "invalid");
    }
    for kind in [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "X: y",
    ] {
        let answer = peer.ask("POST /api/v1/products", &[&who, kind], br#"{"name":"x"}"#);
        answer.problem(415, "media-type");
    }
    for path in [
        "devices/a%20b",
        "devices/%00",
        "products/short",
        "feeds/x",
        "feeds/-1",
        "feeds/4294967296",
    ] {
        let answer = peer.ask(&format!("GET /api/v1/{path}"), &[&who], b"");
        answer.problem(400, "invalid");
    }
    assert_eq!(broker.events(), before);
}

#[test]
fn errors_name_the_field_what_was_sent_and_what_is_taken() {
    let broker = with_boss();
    let who = basic("boss");
    let long = format!("GET /api/v1/events?limit={}", "9".repeat(500));
    let id = "a".repeat(20);
    let check = |line: &str, body: &str, words: &[&str]| {
        let answer = broker.http().ask(line, &[&who, JSON], body.as_bytes());
        answer.problem(400, "invalid");
        let detail = answer.json()["detail"]
            .as_str()
            .expect("a detail")
            .to_owned();
        for word in words {
            assert!(detail.contains(word), "{line} {body}: {detail}");
        }
        for word in ["expected", "variant", "invalid type", "u64", "struct", "`"] {
            assert!(!detail.contains(word), "{line} {body}: {detail}");
        }
        assert!(detail.len() < 400, "{detail}");
    };
    let products = "POST /api/v1/products";
    check(products, "", &["empty"]);
    check(products, r#"{"name":7}"#, &["\"name\" is 7", "text"]);
    check(products, r#"{"nam":"x"}"#, &["\"nam\"", "\"name\""]);
    check(products, "{}", &["\"name\" is missing"]);
    check(
        products,
        r#"{"name":"x"}x"#,
        &["not JSON", "behind its end"],
    );
    check(
        products,
        r#"{"name":"x","stage":"prod"}"#,
        &["\"stage\" is \"prod\"", "\"deploy\""],
    );
    check(
        "POST /api/v1/acts",
        r#"{"act":7,"devices":[]}"#,
        &["\"act\"", "\"revoke\""],
    );
    check(
        "POST /api/v1/devices",
        r#"{"product_id":7}"#,
        &["\"product_id\" is 7", "text"],
    );
    check("POST /api/v1/bans", r#"{"network":"x"}"#, &["\"network\""]);
    check(
        "POST /api/v1/tokens",
        r#"{"label":"x","seconds":"1"}"#,
        &["\"seconds\"", "number"],
    );
    check(
        "PUT /api/v1/operators/a",
        r#"{"password":"p","role":"x"}"#,
        &["\"role\"", "viewer"],
    );
    check(
        "POST /api/v1/verify",
        r#"{"token":1}"#,
        &["\"token\"", "text"],
    );
    check(
        "GET /api/v1/events?limit=x",
        "",
        &["\"limit\" is \"x\"", "number"],
    );
    check(&long, "", &["\"limit\" is \"999", "smaller"]);
    check("GET /api/v1/events?limt=1", "", &["\"limt\"", "\"limit\""]);
    check(
        "GET /api/v1/events?limit=1&limit=2",
        "",
        &["\"limit\" is there twice"],
    );
    check(
        "GET /api/v1/devices?activated=maybe",
        "",
        &["\"activated\"", "true or false"],
    );
    check("GET /api/v1/feeds/x", "", &["\"x\"", "number"]);
    check(
        &format!("DELETE /api/v1/products/{id}/secrets/x"),
        "",
        &["\"x\"", "number"],
    );
    check(
        "POST /api/v1/devices/S1/fly",
        "",
        &["\"fly\"", "\"revoke\""],
    );
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let server = Everywhere::configured("", "connect_seconds = 1");
    server.broker.add_operator("boss", "admin", &[]);
    let address = server.broker.listens("http");
    let who = basic("boss");
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1024 * 1024));
    let mut peer = HttpPeer::open(address);
    // It may be cut off before all of it was sent.
    drop(peer.offer(&request(
        "POST /api/v1/products",
        &[&who, JSON],
        large.as_bytes(),
    )));
    peer.response().problem(413, "too-large");
    // A list that has to come at once may be longer.
    let list = json!({"except": vec!["s"; 300_000]}).to_string();
    let block = format!("PUT /api/v1/products/{}/block", "a".repeat(20));
    let mut peer = HttpPeer::open(address);
    peer.ask(&block, &[&who, JSON], list.as_bytes())
        .problem(404, "not-found");
    // One that is announced and does not come.
    let mut slow = HttpPeer::open(address);
    slow.send(
        format!("POST /api/v1/products HTTP/1.1\r\nHost: x\r\n{who}\r\n{JSON}\r\nContent-Length: 50\r\n\r\n{{")
            .as_bytes(),
    );
    slow.response().problem(408, "timeout");
    // Whoever is nobody is not waited for.
    let mut nobody = HttpPeer::open(address);
    nobody.send(
        format!(
            "POST /api/v1/products HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 50\r\n\r\n{{"
        )
        .as_bytes(),
    );
    nobody.response().problem(401, "unauthenticated");
}

#[test]
fn pages_of_elsewhere_are_refused() {
    let broker = with_boss();
    let mut peer = broker.http();
    let who = basic("boss");
    let suspend = "POST /api/v1/devices/S1/suspend";
    for origin in [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
    ] {
        let answer = peer.ask(suspend, &[&who, origin], b"");
        let sentence = answer.problem(403, "forbidden");
        assert!(sentence.contains("origin"), "{sentence}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let own = peer.ask(suspend, &[&who, "Origin: http://localhost"], b"");
    own.problem(404, "not-found");
    let preflight = peer.ask(
        "OPTIONS /api/v1/products",
        &["Origin: http://localhost"],
        b"",
    );
    preflight.problem(405, "method-not-allowed");
}

#[test]
fn nothing_that_was_shown_is_in_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let loud = [("FIRSTWAKE_LOG", "trace")];
    let broker = TestBroker::launch_in(directory, "data", &loud, &["mqtt", "http"], &arguments);
    broker.add_operator("boss", "admin", &[]);
    let product = broker.fleet(&["S1"]);
    let key = broker.activate(Version::V5, "S1").key;
    let mut peer = broker.http();
    let who = basic("boss");
    let made = peer.ask(
        "POST /api/v1/tokens",
        &[&who, JSON, "Idempotency-Key: i"],
        b"{}",
    );
    let token = made.of(201)["secret"].as_str().expect("text").to_owned();
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
    for path in [
        format!("products/{product}/secret"),
        "devices/S1/code".to_owned(),
    ] {
        peer.ask(&format!("GET /api/v1/{path}"), &[&bearer(&token)], b"")
            .of(200);
    }
    peer.ask("GET /api/v1/version", &[&bearer(&key)], b"");
    // Who mistakes where a secret belongs.
    let code = code("S1");
    for secret in [&token, &key, &code, SECRET] {
        for line in [
            format!("GET /{secret}"),
            format!("GET /api/v1/devices/{secret}"),
            format!("GET /api/v1/products?key={secret}"),
            format!("{secret} /api/v1/time"),
        ] {
            peer.ask(&line, &[&bearer(secret)], b"");
        }
    }
    let body = format!(r#"{{"password":"{PASSWORD}","role":"king"}}"#);
    peer.ask("PUT /api/v1/operators/x", &[&who, JSON], body.as_bytes())
        .problem(400, "invalid");
    let log = broker.log();
    assert!(log.contains("/api/v1/devices/{serial}"), "{log}");
    let header = who.rsplit(' ').next().expect("a word");
    for secret in [&*token, &key, &code, SECRET, PASSWORD, header] {
        assert!(!log.contains(secret), "{secret} in {log}");
        let part = &secret[4..20.min(secret.len())];
        assert!(!log.contains(part), "part of {secret} in {log}");
    }
    let events = format!("{:?}", broker.events());
    for secret in [&*token, &key, &code, SECRET] {
        assert!(!events.contains(secret), "{secret}");
    }
}
