//! What a stranger, or a program gone wrong, sends to `/v2`.

use std::io::{Read, Write};
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::http::{basic, request};
use crate::support::wire::Version;
use crate::support::{Credentials, HUNG, TestBroker, code, dial};

/// A body that is nearly one of values.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![Just("a".to_owned()), "[a-z ,\"é]{0,8}", "\\PC{0,20}"];
    let value = prop_oneof![
        Just("1".to_owned()),
        Just("\"x\"".to_owned()),
        Just("null".to_owned()),
        Just("[1]".to_owned()),
        Just("1e999".to_owned()),
        "\\PC{0,20}",
    ];
    let json = (id.clone(), value.clone(), "\\PC{0,12}").prop_map(|(id, value, tail)| {
        format!(
            r#"{{"datastreams":[{{"id":"{id}","current_value":{value},"at":"{tail}"}}]}}{tail}"#
        )
        .into_bytes()
    });
    let csv = (id, value, "[\\PC\\r\\n]{0,12}")
        .prop_map(|(id, value, tail)| format!("{id},noon,{value}\n{tail}").into_bytes());
    // Never UTF-8, or some would be values by chance.
    let bytes =
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| [vec![0xff], bytes].concat());
    prop_oneof![json, csv, bytes]
}

#[test]
fn bodies_of_any_kind_are_refused_and_change_nothing() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("boss", "admin", &[]);
    let Credentials { key, feed } = Credentials::read(&broker.activation(&code("S1"), &[]).body);
    let (key, boss) = (format!("X-ApiKey: {key}"), basic("boss"));
    let mut peer = broker.xively();
    let read = format!("GET /v2/feeds/{feed}.csv");
    peer.ask(&format!("PUT /v2/feeds/{feed}.csv"), &[&key], b"kept,1")
        .text_of(200);
    let before = peer.ask(&read, &[&key], b"").text_of(200);
    let products = format!("PUT /v2/products/{product}");
    let shown = |peer: &mut crate::support::http::HttpPeer| {
        let line = format!("GET /v2/products/{product}");
        let all = format!("GET /v2/products/{product}/devices");
        let first = peer.ask(&line, &[&boss], b"").text_of(200);
        first + &peer.ask(&all, &[&boss], b"").text_of(200)
    };
    let product_before = shown(&mut peer);
    let lines = [
        (format!("PUT /v2/feeds/{feed}.json"), &key),
        (format!("PUT /v2/feeds/{feed}.csv"), &key),
        (format!("PUT /v2/feeds/{feed}/datastreams/kept.json"), &key),
        (
            format!("POST /v2/feeds/{feed}/datastreams/kept/datapoints.csv"),
            &key,
        ),
        (format!("POST /v2/feeds/{feed}/datastreams"), &key),
        ("POST /v2/products".to_owned(), &boss),
        (products, &boss),
        (format!("POST /v2/products/{product}/devices"), &boss),
        (format!("PUT /v2/products/{product}/devices/S1"), &boss),
    ];
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let peer = std::cell::RefCell::new(peer);
    runner
        .run(&body(), |body| {
            for (line, header) in &lines {
                let status = peer.borrow_mut().ask(line, &[header], &body).status;
                prop_assert!(
                    (400..500).contains(&status),
                    "{} {:?}: {}",
                    line,
                    body,
                    status
                );
            }
            Ok(())
        })
        .expect("4xx, always");
    let mut peer = peer.into_inner();
    assert_eq!(peer.ask(&read, &[&key], b"").text_of(200), before);
    assert_eq!(shown(&mut peer), product_before);
}

#[test]
fn queries_and_headers_of_any_kind_are_no_error_of_the_server() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut peer = broker.xively();
    for query in [
        "?",
        "?key",
        "?key=%FF",
        "?%",
        "?page=%00",
        "?=&=&",
        "?key=a&key=b",
        "?datastreams=%2C%2C",
    ] {
        for path in ["/v2/feeds/1", "/v2/products", "/v2/devices/x/activate"] {
            let answer = peer.ask(&format!("GET {path}{query}"), &[], b"");
            assert!(
                (400..500).contains(&answer.status),
                "{path}{query}: {}",
                answer.head
            );
        }
    }
    for header in [
        "X-ApiKey: \u{e9}",
        "Accept: ,;,",
        "X-ApiKey: ",
        "Authorization: Basic",
        "Content-Type: \u{7f}x",
    ] {
        let mut peer = broker.xively();
        peer.send(&request("GET /v2/feeds/1", &[header], b""));
        let answer = peer.response();
        assert!(
            (400..500).contains(&answer.status),
            "{header}: {}",
            answer.head
        );
    }
}

#[test]
fn who_is_never_admitted_keeps_no_connection() {
    let broker = TestBroker::with_xively_and(&["connect_seconds=1"]);
    broker.fleet(&["S1"]);
    let Credentials { feed, key } = broker.activate(Version::V311, "S1");
    let line = format!("GET /v2/feeds/{feed}.csv");
    let own = format!("X-ApiKey: {key}");
    let mut device = broker.xively();
    let mut stranger = dial(broker.listens("xively"));
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < HUNG, "a stranger holds a connection");
        device.ask(&line, &[&own], b"").text_of(200);
        let asked = stranger.write_all(&request("GET /v2/x", &[], b""));
        let told = stranger.read(&mut [0; 4096]);
        if asked.is_err() || !matches!(told, Ok(1..)) {
            break;
        }
    }
    // It went on asking, but is not the only one that did.
    device.ask(&line, &[&own], b"").text_of(200);
    let evil = ["Origin: https://evil.example", &own];
    let refused = device.ask(&line, &evil, b"");
    assert!(refused.denied(403, "Forbidden").contains("another origin"));
}

#[test]
fn nothing_secret_is_ever_logged() {
    let broker = TestBroker::with_xively_that_says("trace");
    broker.fleet(&["S1"]);
    let code = code("S1");
    let Credentials { key, feed } = Credentials::read(&broker.activation(&code, &[]).body);
    let mut peer = broker.xively();
    let header = format!("X-ApiKey: {key}");
    peer.ask(&format!("GET /v2/feeds/{feed}"), &[&header], b"")
        .text_of(200);
    peer.ask(&format!("GET /v2/feeds/{feed}?key={key}"), &[], b"")
        .text_of(200);
    peer.ask(&format!("PUT /v2/feeds/{feed}.csv"), &[&header], b"a b,1")
        .denied(422, "Unprocessable entity");
    peer.ask(
        &format!("GET /v2/devices/{code}/activate?key={key}"),
        &[],
        b"",
    )
    .text_of(200);
    broker
        .activation(&code.to_uppercase(), &[])
        .denied(403, "Forbidden");
    let mut mqtt = broker.login(Version::V311, "S1", &key);
    mqtt.deliver(&format!("{key}/v2/feeds/{feed}.csv"), 1, b"a,1");
    mqtt.subscribe(&[(&format!("{key}/v2/feeds/{feed}.csv"), 0)], &[0]);
    let log = broker.log();
    assert!(
        log.contains("devices/CODE/activate"),
        "it is logged at all: {log}"
    );
    for secret in [&code, &code.to_uppercase(), &key] {
        let at = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(at, None);
    }
    for event in broker.events() {
        let text = event.to_string();
        assert!(!text.contains(&key) && !text.contains(&code), "{text}");
    }
}
