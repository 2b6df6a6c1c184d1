//! What a device signs: for others' servers, which ask here, and for itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use firstwake::Timestamp;
use firstwake::signed::RequestDigest;
use serde_json::{Value, json};

use crate::support::http::{HttpPeer, JSON, Response, basic};
use crate::support::signing::{SHOP, Signing, now};
use crate::support::{TestBroker, Version, code};

/// The header of a device that shows its key or a login.
fn bearer(text: &str) -> String {
    format!("Authorization: Bearer {text}")
}

/// The header of a device that has its code.
fn with_code(serial: &str, code: &str) -> String {
    let pair = format!("{serial}:{code}");
    format!("Authorization: Basic {}", STANDARD.encode(pair))
}

/// Logs in, which confirms the device.
fn wake(broker: &TestBroker, device: &Signing) {
    let header = bearer(&device.login());
    let answer = broker.http().ask("POST /api/v1/provision", &[&header], b"");
    assert_eq!(answer.of(200)["status"], "active");
}

/// A token for what `question` asks about.
fn sign(device: &Signing, counter: u64) -> String {
    device.request(counter, RequestDigest::of("GET", "/work?unit=C", b""))
}

/// Logins of a device whose clock is two hours behind, and ahead.
fn untimely(device: &Signing) -> [String; 2] {
    let behind = Timestamp::from_millis(now().as_millis() - 7_200_000);
    let ahead = now().plus(Duration::from_secs(7200));
    [behind, ahead].map(|at| device.login_at(at, Duration::from_secs(60)))
}

/// What somebody's server asks about what came to it.
fn question(token: &str) -> Value {
    json!({
        "token": token, "audience": SHOP, "method": "GET", "target": "/work?unit=C", "body": "",
    })
}

fn verify(peer: &mut HttpPeer, question: &Value) -> Response {
    let body = question.to_string();
    let headers = [&basic("shop"), JSON];
    peer.ask("POST /api/v1/verify", &headers, body.as_bytes())
}

/// The word for why not.
fn refused(answer: Response) -> (String, bool) {
    let answer = answer.of(200);
    assert_eq!(answer["verified"], false, "{answer}");
    assert!(answer["meaning"].as_str().is_some_and(|it| !it.is_empty()));
    let word = answer["refusal"].as_str().expect("a word");
    (word.to_owned(), answer["proved"] == true)
}

fn shop(broker: &TestBroker) -> HttpPeer {
    broker.add_operator("shop", "verifier", &[]);
    broker.http()
}

#[test]
fn a_request_is_verified_once() {
    let mut broker = TestBroker::with_http();
    let product = broker.fleet(&["S1"]);
    let mut shop = shop(&broker);
    let device = Signing::derived(&product, "S1");
    let token = sign(&device, 1);
    let (word, _) = refused(verify(&mut shop, &question(&token)));
    assert_eq!(word, "token_invalid", "a request confirms nobody");
    wake(&broker, &device);
    let known = verify(&mut shop, &question(&token)).of(200);
    let feed = broker.json(&["device", "show", "S1"])["feed_id"].clone();
    let expected =
        json!({"verified": true, "serial": "S1", "product_id": product, "feed_id": feed});
    assert_eq!(known, expected);
    let replayed = ("token_replayed".to_owned(), true);
    assert_eq!(refused(verify(&mut shop, &question(&token))), replayed);
    // Whoever asks the same again gets no answer that was good once.
    let again = sign(&device, 2);
    let body = question(&again).to_string();
    let keyed = ["Idempotency-Key: one", &basic("shop"), JSON];
    let mut ask = || shop.ask("POST /api/v1/verify", &keyed, body.as_bytes());
    assert_eq!(ask().of(200)["verified"], true);
    assert_eq!(refused(ask()), replayed);
    // Nor does the server forget.
    broker.kill_and_restart();
    let mut shop = broker.http();
    for used in [&token, &again] {
        assert_eq!(refused(verify(&mut shop, &question(used))), replayed);
    }
}

#[test]
fn what_is_refused_is_shown_to_the_operator() {
    let broker = TestBroker::with_http();
    let product = broker.fleet(&["S1"]);
    let mut shop = shop(&broker);
    let device = Signing::derived(&product, "S1");
    wake(&broker, &device);
    for (counter, name, value) in [
        (1, "method", "POST"),
        (2, "target", "/work?unit=F"),
        (3, "target", "/work"),
        (4, "body", "more"),
        (5, "audience", "https://another.example"),
    ] {
        let mut question = question(&sign(&device, counter));
        question[name] = value.into();
        question["source"] = "192.0.2.7".into();
        let expected = ("request_altered".to_owned(), true);
        assert_eq!(refused(verify(&mut shop, &question)), expected, "{name}");
    }
    let stranger = Signing::derived_from(&"0b".repeat(20), &product, "S1");
    for (wrong, word) in [
        (device.login(), "token_invalid"),
        (sign(&stranger, 10), "token_invalid"),
        (sign(&Signing::derived(&product, "S3"), 1), "unknown_device"),
        ("a.b.c".to_owned(), "token_invalid"),
        (String::new(), "token_invalid"),
    ] {
        let expected = (word.to_owned(), false);
        assert_eq!(refused(verify(&mut shop, &question(&wrong))), expected);
    }
    let explained = broker.json(&["device", "explain", "S1"]).to_string();
    for word in ["request_altered", "token_invalid", "192.0.2.7"] {
        assert!(explained.contains(word), "{word}: {explained}");
    }
    // Whom operators keep out is kept out here as well.
    broker.cli(&["ban", "add", "192.0.2.7"]).ok();
    let mut question = question(&sign(&device, 20));
    question["source"] = "192.0.2.7".into();
    assert_eq!(refused(verify(&mut shop, &question)).0, "banned");
    broker.cli(&["device", "suspend", "S1"]).ok();
    question["source"] = "192.0.2.8".into();
    assert_eq!(refused(verify(&mut shop, &question)).0, "suspended");
}

#[test]
fn what_is_no_question() {
    let broker = TestBroker::with_http();
    let mut shop = shop(&broker);
    for wrong in [
        json!({"token": "a.b.c", "method": "GET", "target": "/"}),
        json!({"token": "a.b.c", "method": "GET", "target": "/", "body": "", "body_sha256": "00".repeat(32)}),
        json!({"token": "a.b.c", "method": "GET", "target": "/", "body_sha256": "00"}),
        json!({"token": "a.b.c", "method": "G\nT", "target": "/", "body": ""}),
        json!({"token": "a.b.c", "method": "GET", "target": "work", "body": ""}),
        json!({"token": "a.b.c", "method": "GET", "target": "/", "body": "", "source": "here"}),
        json!({"token": "a.b.c", "method": "GET", "target": "/", "body": "", "sauce": "1"}),
        json!({"method": "GET", "target": "/", "body": ""}),
    ] {
        verify(&mut shop, &wrong).problem(400, "invalid");
    }
    let long = question(&"x".repeat(70_000));
    verify(&mut shop, &long).problem(413, "too-large");
}

#[test]
fn a_key_pair_is_enrolled_over_http() {
    let broker = TestBroker::with_http();
    // A colon is what Basic has for itself.
    let product = broker.fleet(&["S:1"]);
    let mut peer = broker.http();
    let device = Signing::with_pair(&product, "S:1", 7);
    let mut ask = |who: &str, body: Value| {
        let body = body.to_string();
        peer.ask("POST /api/v1/provision", &[who, JSON], body.as_bytes())
    };
    let right = with_code("S:1", &code("S:1"));
    ask(
        &with_code("S:1", &"0".repeat(40)),
        json!({"ask": "challenge"}),
    )
    .problem(401, "unauthenticated");
    let challenge = ask(&right, json!({"ask": "challenge"}));
    assert_eq!(challenge.header("cache-control"), Some("no-store"));
    let challenge = challenge.of(200);
    assert_eq!(challenge["product_id"], product);
    assert_eq!(broker.lifecycle("S:1"), "registered");
    let enrolment = device.enrolment(challenge["challenge"].as_str().expect("a text"));
    let enrolment: Value = serde_json::from_str(&enrolment).expect("JSON");
    let mut wrong = enrolment.clone();
    wrong["signature"] = "A".repeat(86).into();
    let refused = ask(&right, wrong);
    refused.problem(403, "forbidden");
    assert_eq!(refused.json()["code"], "signature_wrong");
    let enrolled = ask(&right, enrolment.clone()).of(200);
    assert!(enrolled["feed_id"].is_u64() && enrolled["apikey"].is_null());
    let identity = ask(&bearer(&device.login()), json!({"ask": "identity"})).of(200);
    assert_eq!(identity["proof"], "EdDSA");
    assert_eq!(identity["feed_id"], enrolled["feed_id"]);
    // The code has done its part.
    let spent = ask(&right, enrolment);
    spent.problem(403, "forbidden");
    let spent = spent.json();
    assert_eq!(spent["code"], "code_spent");
    assert!(spent["server_time"].is_string());
    // A login is good once.
    let login = bearer(&device.login());
    ask(&login, json!({})).of(200);
    let again = ask(&login, json!({}));
    again.problem(401, "unauthenticated");
    assert_eq!(again.json()["code"], "token_replayed");
    for login in untimely(&device) {
        let late = ask(&bearer(&login), json!({}));
        late.problem(401, "unauthenticated");
        assert_eq!(late.json()["code"], "token_expired");
        assert!(late.json()["server_time"].is_string());
    }
}

#[test]
fn who_asks_about_itself() {
    let broker = TestBroker::with_http();
    let product = broker.fleet(&["S1", "S2", "S3"]);
    broker.add_operator("boss", "admin", &[]);
    let key = broker.activate(Version::V5, "S1").key;
    let mut peer = broker.http();
    let mut ask = |headers: &[&str], body: &[u8]| peer.ask("POST /api/v1/provision", headers, body);
    // With its key; nothing needs to be said to be asked who one is.
    let identity = ask(&[&bearer(&key)], b"").of(200);
    assert_eq!(identity["serial"], "S1");
    assert_eq!(identity["proof"], "key");
    // With its code, as over MQTT; where two products share it, with its product.
    let named = with_code(&format!("{product}/S2"), &code("S2"));
    let issued = ask(&[&named], b"").of(200);
    assert_eq!(issued["apikey"].as_str().map(str::len), Some(48));
    // With what the factory burnt in.
    let device = Signing::derived(&product, "S3");
    let identity = ask(&[&bearer(&device.login())], br#"{"ask":"identity"}"#).of(200);
    assert_eq!(identity["proof"], "HS256");
    ask(&[], b"").problem(401, "unauthenticated");
    ask(&[&basic("boss")], b"").problem(403, "forbidden");
    let odd = ask(&[&bearer(&key)], b"[]");
    odd.problem(400, "invalid");
    assert_eq!(odd.json()["code"], "bad_request");
    let long = vec![b' '; 70_000];
    ask(&[&bearer(&key)], &long).problem(413, "too-large");
    // Nothing else here is for devices, however they show who they are.
    let version = "GET /api/v1/version";
    let login = bearer(&device.login());
    peer.ask(version, &[&login], b"").problem(403, "forbidden");
    let used = peer.ask(version, &[&login], b"");
    used.problem(401, "unauthenticated");
    assert_eq!(used.json()["code"], "token_replayed");
}

#[test]
fn a_signed_login_opens_what_a_key_opens_under_v2() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1", "S2"]);
    let mut peer = broker.xively();
    let device = Signing::derived(&product, "S1");
    let feed = broker.json(&["device", "show", "S1"])["feed_id"].to_string();
    let foreign = broker.json(&["device", "show", "S2"])["feed_id"].to_string();
    let put = format!("PUT /v2/feeds/{feed}.csv");
    let mut write = |header: &str| peer.ask(&put, &[header], b"temperature,21.5");
    let login = device.login();
    assert_eq!(write(&format!("X-ApiKey: {login}")).status, 200);
    assert_eq!(broker.lifecycle("S1"), "active");
    let again = write(&bearer(&login));
    assert_eq!(again.status, 401, "{}", again.text());
    assert!(again.text().contains("used before"), "{}", again.text());
    assert_eq!(write(&bearer(&device.login())).status, 200);
    for login in untimely(&device) {
        let late = write(&bearer(&login));
        assert_eq!(late.status, 401, "{}", late.text());
        assert!(late.header("date").is_some(), "{}", late.head);
    }
    let shown = peer.ask(
        &format!("GET /v2/feeds/{foreign}.json"),
        &[&bearer(&device.login())],
        b"",
    );
    assert_eq!(shown.status, 403, "{}", shown.text());
}

#[test]
fn the_licence_key_is_everybodys_and_stays() {
    let mut broker = TestBroker::with_http();
    let ask = |broker: &TestBroker| {
        broker
            .http()
            .ask("GET /api/v1/licence-key", &[], b"")
            .of(200)
    };
    let key = ask(&broker);
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&json!("OKP"), &json!("Ed25519"))
    );
    assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("EdDSA")));
    assert_eq!(key["x"].as_str().map(str::len), Some(43));
    broker.kill_and_restart();
    assert_eq!(ask(&broker), key);
    assert_ne!(ask(&TestBroker::with_http())["x"], key["x"]);
    // What it signs says which key it was.
    let product = broker.fleet(&["S1"]);
    broker
        .cli(&["product", "set", &product, "--lease", "30d"])
        .ok();
    let device = Signing::derived(&product, "S1");
    wake(&broker, &device);
    let header = bearer(&device.login());
    let body = br#"{"ask":"licence"}"#;
    let told = broker
        .http()
        .ask("POST /api/v1/provision", &[&header, JSON], body)
        .of(200);
    let licence = told["licence"].as_str().expect("a text");
    let header = licence.split('.').next().expect("three parts");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    assert_eq!(header["kid"], key["kid"]);
}
