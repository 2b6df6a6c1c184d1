//! A product gets another secret: who comes with the old one, who with the new.

use firstwake::{ActivationCode, ProductSecret, Serial};
use serde_json::{Value, json};

use crate::support::http::{JSON, basic};
use crate::support::signing::Signing;
use crate::support::wire::DISCONNECT;
use crate::support::{Connect, SECRET, TestBroker, Version, Way, code, eventually};

const NEWER: &str = "be0f6928e3653cf175b7f8ebb2da50c6658b30b7";

/// A device's code with the newer secret.
fn newer(serial: &str) -> String {
    let secret = ProductSecret::parse(NEWER).expect("valid");
    let serial = Serial::parse(serial).expect("valid");
    ActivationCode::compute(&secret, &serial).expose_hex()
}

/// The product's secrets as they are told, the newest first.
fn secrets(broker: &TestBroker, product: &str) -> Vec<Value> {
    let shown = broker.json(&["product", "show", product]);
    shown["secrets"].as_array().expect("a list").clone()
}

/// Waits until the codes of the newest secret are findable.
fn indexed(broker: &TestBroker, product: &str) {
    eventually("all codes are indexed", || {
        (secrets(broker, product)[0]["codes_indexed"] == 100).then_some(())
    });
}

/// Activates over MQTT with a code; says which secret the event names.
fn activated(broker: &TestBroker, version: Version, serial: &str, code: &str) -> Value {
    let mut peer = broker.admitted(version, &Connect::new(serial, code));
    peer.subscribe(&[(&format!("provision/{serial}/response"), 1)], &[1]);
    peer.message();
    peer.send(&DISCONNECT);
    peer.expect_close();
    let events = broker.events();
    let mut issued = events.iter().rev();
    let issued = issued.find(|event| event["event"] == "activation_issued");
    let issued = issued.expect("an event");
    assert_eq!(issued["serial"], serial);
    issued["secret_generation"].clone()
}

#[test]
fn both_codes_activate_until_the_old_secret_ends() {
    for version in Version::ALL {
        let broker = TestBroker::with_xively();
        let product = broker.fleet(&["S1", "S2", "S3", "S4"]);
        let (mut working, _) = broker.device(version, "S1");
        let signer = Signing::derived(&product, "S2");
        let rotate = ["product", "rotate-secret", &product, "--secret-stdin"];
        let rotate = [&rotate[..], &["--output", "json"]].concat();
        let rotated = broker.cli_with(&rotate, NEWER).json();
        assert_eq!(
            (&rotated["generation"], &rotated["secret"]),
            (&json!(2), &json!(NEWER))
        );

        assert_eq!(activated(&broker, version, "S3", &code("S3")), 1);
        assert_eq!(activated(&broker, version, "S3", &newer("S3")), 2);
        // A device that signs with a key of the old secret goes on when it ends.
        broker.sign_in(version, &signer).expect_alive();
        indexed(&broker, &product);
        for code in [code("S4"), newer("S4")] {
            broker.activation(&code, &[]).text_of(200);
        }
        let told = |secret: &Value, name: &str| secret[name].clone();
        let [new, old] = <[Value; 2]>::try_from(secrets(&broker, &product)).expect("two");
        assert_eq!(told(&new, "generation"), 2);
        assert_eq!(
            (told(&new, "accepted"), told(&old, "accepted")),
            (true.into(), true.into())
        );
        assert_eq!(
            (told(&new, "devices"), told(&old, "devices")),
            (2.into(), 2.into())
        );
        assert_eq!(
            (told(&new, "signing"), told(&old, "signing")),
            (0.into(), 1.into())
        );
        assert_eq!(told(&old, "until"), rotated["until"]);
        let shown = broker.json(&["device", "show", "S3"]);
        assert_eq!(shown["secret_generation"], 2);

        // A third waits, and says for what.
        let third = ["product", "rotate-secret", &product];
        let refused = broker.cli(&third).refused();
        let until = rotated["until"].as_str().expect("a time");
        assert!(
            refused.contains(until) && refused.contains("end-secret"),
            "{refused}"
        );
        let refused = broker
            .cli(&["product", "end-secret", &product, "2"])
            .refused();
        assert!(refused.contains("newest"), "{refused}");
        broker.cli(&["product", "end-secret", &product, "1"]).ok();

        // To whoever shows it, its code is now as wrong as any.
        let connect = |serial: &str, code: &str| broker.told(version, &Connect::new(serial, code));
        let wrong = connect("S3", &"0".repeat(40));
        assert_eq!(connect("S3", &code("S3")), wrong);
        assert_eq!(connect("nobody", &code("S3")), wrong);
        let no = broker.activation(&"0".repeat(40), &[]);
        let ended = broker.activation(&code("S4"), &[]);
        assert_eq!((ended.status, ended.body), (no.status, no.body));
        // An operator is told.
        let explained = broker.cli(&["device", "explain", "S3"]).ok();
        assert!(explained.contains("secret_ended"), "{explained}");
        assert_eq!(activated(&broker, version, "S3", &newer("S3")), 2);
        working.expect_alive();
        broker.sign_in(version, &signer).expect_alive();
        let names: Vec<Value> = broker
            .events()
            .iter()
            .map(|it| it["event"].clone())
            .collect();
        for name in ["secret_rotated", "secret_ended", "device_key_used"] {
            assert!(names.contains(&name.into()), "{names:?}");
        }
        let log = broker.log();
        let said = json!([broker.events(), log]).to_string();
        for secret in [SECRET, NEWER, &code("S3"), &newer("S3")] {
            assert!(!said.contains(secret), "it is in the log or an event");
        }
    }
}

#[test]
fn a_secret_is_given_whichever_way_it_is_asked() {
    for way in Way::all() {
        let create = ["product", "create", "lamp", "--secret", SECRET];
        let made = way.json(&create);
        let product = made["product_id"].as_str().expect("an id");
        let rotate = ["product", "rotate-secret", product];
        let rotated = way.json(&[&rotate[..], &["--grace", "0s"]].concat());
        let secret = rotated["secret"].as_str().expect("text");
        ProductSecret::parse(secret).expect("40 hex characters");
        assert_eq!(way.json(&["product", "secret", product])["secret"], secret);
        let shown = way.json(&["product", "show", product]);
        let secrets = shown["secrets"].as_array().expect("a list");
        let accepted = secrets.iter().map(|it| it["accepted"].clone());
        assert_eq!(accepted.collect::<Vec<_>>(), [json!(true), json!(false)]);
        assert_eq!(shown["never_activated"], 0);
        assert!(!shown.to_string().contains(secret), "{shown}");
        let words = way.run(&["product", "show", product]).ok();
        assert!(
            words.contains("secret 2") && words.contains("ended at"),
            "{words}"
        );
        // What it had does not come back, and what is none is refused.
        let again = [&rotate[..], &["--secret", SECRET]].concat();
        assert!(way.run(&again).refused().contains("number 1"));
        let wrong = [&rotate[..], &["--secret", "xyz"]].concat();
        assert!(way.run(&wrong).refused().contains("40 hex"));
        let end = |number| way.run(&["product", "end-secret", product, number]);
        assert!(end("9").failed(4).contains("no secret number 9"));
        // 90 days, if nothing is said.
        let third = way.json(&rotate);
        assert_eq!(third["generation"], 3);
        let until = third["until"].as_str().expect("a time");
        let since = way.json(&["product", "show", product])["secrets"][0]["since"].clone();
        let time = |text: &str| humantime::parse_rfc3339(text).expect("a time");
        let grace = time(until).duration_since(time(since.as_str().expect("text")));
        assert_eq!(grace.expect("later").as_secs(), 90 * 24 * 60 * 60);
        let ended = way.json(&["product", "end-secret", product, "2"]);
        assert_eq!(ended["secrets"][1]["accepted"], false);
    }
}

#[test]
fn a_rotation_that_is_sent_again_is_made_once() {
    let broker = TestBroker::with_http();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("boss", "admin", &[]);
    let mut peer = broker.http();
    let path = format!("POST /api/v1/products/{product}/secrets");
    let headers = [&basic("boss"), JSON, "Idempotency-Key: \"rotation\""];
    let mut rotate = || peer.ask(&path, &headers, b"{}");
    let first = rotate().of(201);
    assert_eq!(first["generation"], 2);
    assert_eq!(rotate().of(201), first, "secret and all");
    assert_eq!(secrets(&broker, &product).len(), 2);
}

#[test]
fn the_index_is_finished_after_a_kill() {
    const DEVICES: usize = 12_000;
    let directory = tempfile::tempdir().expect("a directory");
    let listeners = ["mqtt", "http", "xively"];
    let mut arguments = Vec::new();
    for option in ["--mqtt", "--http", "--xively"] {
        arguments.extend([option, "127.0.0.1:0"]);
    }
    let mut broker = TestBroker::launch(directory, "data", &listeners, &arguments);
    let serials: Vec<String> = (0..DEVICES).map(|n| format!("S{n:05}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    let product = broker.fleet(&serials);
    broker.add_operator("boss", "admin", &[]);
    let mut peer = broker.http();
    let who = basic("boss");
    let path = format!("/api/v1/products/{product}");
    let body = json!({ "secret": NEWER }).to_string();
    let rotated = peer.ask(
        &format!("POST {path}/secrets"),
        &[&who, JSON],
        body.as_bytes(),
    );
    rotated.of(201);
    let seen = eventually("the walk has begun", || {
        let shown = peer.ask(&format!("GET {path}"), &[&who], b"").of(200);
        let percent = shown["secrets"][0]["codes_indexed"].as_u64();
        percent.filter(|percent| *percent > 0)
    });
    broker.kill();
    assert!(seen < 100, "there must be something left to do");
    broker.restart();
    let left = secrets(&broker, &product)[0]["codes_indexed"].clone();
    assert!(
        left.as_u64().expect("a number") >= seen,
        "it goes on: {left}"
    );
    // Activations do not wait for it.
    broker.activate(Version::V5, "S00007");
    indexed(&broker, &product);
    for serial in ["S00000", "S00250", "S06000", "S11999"] {
        broker.activation(&newer(serial), &[]).text_of(200);
        broker.activation(&code(serial), &[]).text_of(200);
    }
}
