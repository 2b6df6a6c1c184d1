//! What a device that is in may ask the server, and how it is answered.

use serde_json::{Value, json};

use crate::support::wire::{PUBACK, text};
use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version, eventually};

const RESPONSE: &str = "provision/S1/response";
const REQUEST: &str = "provision/S1/request";

/// A device that has subscribed to its answers.
fn listening(broker: &TestBroker, version: Version) -> Peer {
    broker.fleet(&["S1"]);
    let (mut peer, _) = broker.device(version, "S1");
    // Nothing waits for a later connection: quality 0, whatever is asked.
    peer.subscribe(&[(RESPONSE, 1)], &[0]);
    peer
}

fn ask(peer: &mut Peer, payload: &str) -> Value {
    peer.send(&peer.version.publish(REQUEST, 0, 0, payload.as_bytes()));
    let answer = peer.publish();
    assert_eq!((answer.topic.as_str(), answer.retain()), (RESPONSE, false));
    answer.json()
}

#[test]
fn it_is_told_who_it_is_taken_for() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut peer = listening(&broker, version);
        let shown = broker.json(&["device", "show", "S1"]);
        let product = shown["product_id"].as_str().expect("an id");
        let pepper = broker.cli(&["product", "pepper", product]).ok();
        for payload in ["", "{}", r#"{"ask":"identity","nonce":"n1"}"#] {
            let told = ask(&mut peer, payload);
            assert_eq!(told["feed_id"], shown["feed_id"]);
            assert_eq!(told["datastreams"], json!(["temperature", "humidity"]));
            assert_eq!(
                (&told["serial"], &told["product_id"], &told["status"]),
                (&json!("S1"), &json!(product), &json!("active"))
            );
            assert_eq!(
                (&told["proof"], &told["hardware"]),
                (&json!("key"), &json!([]))
            );
            assert_eq!(told["pepper"], pepper.trim_end());
            assert!(told["server_time"].is_string() && told["apikey"].is_null());
            assert_eq!(told["nonce"].is_string(), payload.contains("nonce"));
        }
        // A wrong question is answered, too.
        let told = ask(&mut peer, "[");
        assert_eq!(told["error"]["code"], "bad_request");
        peer.expect_alive();
    }
}

#[test]
fn a_question_before_the_subscription_is_answered_after_it() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut peer, _) = broker.device(version, "S1");
        let ask = |id, nonce: &str| {
            let payload = json!({ "nonce": nonce }).to_string();
            version.publish(REQUEST, 1, id, payload.as_bytes())
        };
        peer.send(&ask(3, "first"));
        peer.expect(&version.acknowledgement(PUBACK, 3, 0));
        // One is kept, and of another the device learns as it can.
        peer.send(&ask(4, "second"));
        peer.expect(&version.acknowledgement(PUBACK, 4, 0x97));
        peer.expect_alive();
        peer.subscribe(&[(RESPONSE, 0)], &[0]);
        assert_eq!(peer.publish().json()["nonce"], "first");
        peer.send(&ask(5, "third"));
        peer.expect(&version.acknowledgement(PUBACK, 5, 0));
        assert_eq!(peer.publish().json()["nonce"], "third");
        peer.send(&version.unsubscribe(2, &[RESPONSE]));
        peer.expect(&version.unsuback(2, &[0]));
        peer.send(&ask(6, "fourth"));
        peer.expect(&version.acknowledgement(PUBACK, 6, 0));
        peer.expect_alive();
    }
}

/// A session that outlives its connection keeps this subscription, too.
#[test]
fn who_comes_back_need_not_subscribe_again() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let credentials = broker.activate(version, "S1");
        let connect = Connect {
            clean: false,
            // Session expiry: an hour.
            properties: if version.is_5() {
                &[0x11, 0, 0, 14, 16]
            } else {
                &[]
            },
            ..Connect::new("S1", &credentials.key)
        };
        let mut peer = broker.admitted(version, &connect);
        peer.subscribe(&[(RESPONSE, 1)], &[0]);
        peer.vanish();
        let mut peer = broker.peer(version);
        peer.send(&connect.bytes(version));
        let connack = peer.packet();
        assert_eq!(connack.body[1], 0, "let in");
        assert_eq!(ask(&mut peer, "{}")["serial"], "S1");
        peer.expect_alive();
    }
}

#[test]
fn answers_are_labelled_and_go_nowhere_else() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.add_operator("ops", "admin", &[]);
    let mut everything = broker.admitted(version, &Connect::new("ops", PASSWORD));
    everything.subscribe(&[("#", 0)], &[0]);
    let mut peer = listening(&broker, version);
    let correlation = [0x09, 0, 3, 0, 0xff, 7];
    let own = [&correlation[..], &[0x08], &text(RESPONSE)].concat();
    for properties in [&correlation[..], &own] {
        peer.send(&version.publish_with(0x30, REQUEST, 0, properties, b""));
        assert_eq!(peer.publish().properties, correlation);
    }
    // The answer goes to the device's own topic or nowhere, and a device asks
    // for itself or not at all.
    let elsewhere = [&[0x08], text("app/x").as_slice()].concat();
    peer.send(&version.publish_with(0x32, REQUEST, 3, &elsewhere, b""));
    peer.expect(&version.acknowledgement(PUBACK, 3, 0x87));
    peer.send(&version.publish("provision/other/request", 1, 4, b""));
    peer.expect(&version.acknowledgement(PUBACK, 4, 0x87));
    peer.subscribe(&[("provision/other/response", 0)], &[0x87]);
    // What everybody may read comes after it, and is all that comes.
    let feed = broker.json(&["device", "show", "S1"])["feed_id"].clone();
    peer.deliver(&format!("feeds/{feed}/data/temperature"), 1, b"21");
    let seen = std::iter::repeat_with(|| everything.publish().topic);
    for topic in seen.take_while(|topic| !topic.starts_with("feeds/")) {
        assert!(topic.starts_with("provisioning/"), "{topic}");
    }
}

/// Each question has one answer; those that come too fast cost nothing.
#[test]
fn who_asks_too_fast_is_told_so() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut peer = listening(&broker, version);
        let requests: Vec<u8> = (0..40)
            .flat_map(|_| version.publish(REQUEST, 0, 0, b""))
            .collect();
        peer.send(&requests);
        let answers: Vec<Value> = (0..40).map(|_| peer.publish().json()).collect();
        let carried_out = |answer: &&Value| answer["serial"] == "S1";
        let told = |answer: &&Value| answer["error"]["code"] == "too_many";
        let count = answers.iter().filter(carried_out).count();
        assert!((5..40).contains(&count), "{count}");
        assert_eq!(answers.iter().filter(told).count(), 40 - count);
        peer.expect_alive();
    }
}

#[test]
fn a_licence_is_for_products_that_have_one() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut peer = listening(&broker, version);
        let product = broker.json(&["device", "show", "S1"])["product_id"].clone();
        let product = product.as_str().expect("an id");
        let told = ask(&mut peer, r#"{"ask":"licence"}"#);
        assert_eq!(told["error"]["code"], "no_licence");
        broker
            .cli(&["product", "set", product, "--seats", "5"])
            .ok();
        let told = ask(&mut peer, r#"{"ask":"licence"}"#);
        let licence = told["licence"].as_str().expect("a token");
        assert_eq!(licence.split('.').count(), 3);
        assert!(told["expires_at"].is_string());
        // It is written down that there is one, never the token.
        let events = broker.events();
        let last = events.last().expect("an event");
        assert_eq!(last["event"], "licence_issued");
        assert!(!last.to_string().contains(licence));
    }
}

/// One that stays connected is not away.
#[test]
fn a_device_that_stays_keeps_its_lease() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let lease = ["product", "set", &product, "--lease", "4s"];
    broker.cli(&lease).ok();
    let (mut peer, credentials) = broker.device(Version::V311, "S1");
    let until = || broker.json(&["device", "show", "S1"])["lease_until"].to_string();
    let first = until();
    assert_ne!(first, "null");
    // RFC 3339 in UTC: later is greater. Twice the lease goes by.
    let renewed = |before: &str| {
        eventually("the lease is renewed", || {
            Some(until()).filter(|now| now.as_str() > before)
        })
    };
    let mut last = first;
    for _ in 0..8 {
        last = renewed(&last);
    }
    peer.expect_alive();
    assert!(broker.works("S1", &credentials.key));
}
