//! The hand-over of a key: lost answers, repeated requests, races.

use std::thread;

use serde_json::{Value, json};

use crate::support::wire::{PUBACK, Publish, text};
use crate::support::{Connect, Credentials, Peer, TestBroker, Version, code};

const RESPONSE: &str = "provision/S1/response";
const REQUEST: &str = "provision/S1/request";

fn ask(peer: &mut Peer, payload: &str) -> Publish {
    peer.send(&peer.version.publish(REQUEST, 0, 0, payload.as_bytes()));
    peer.message()
}

#[test]
fn after_a_lost_answer_the_device_activates_again() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let lost = broker.activate(version, "S1");
        let found = broker.activate(version, "S1");
        assert_eq!(found.feed, lost.feed);
        assert_ne!(found.key, lost.key);
        assert!(!broker.works("S1", &lost.key), "a newer one was issued");
        assert!(broker.works("S1", &found.key));
        assert!(broker.works("S1", &found.key), "again and again");
    }
}

#[test]
fn a_confirmed_key_works_until_another_is_confirmed() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut session, old) = broker.device(version, "S1");
        broker.cli(&["device", "reopen", "S1", "--for", "1h"]).ok();
        let lost = broker.activate(version, "S1");
        let new = broker.activate(version, "S1");
        // Issuing kicks nobody.
        session.expect_alive();
        assert!(!broker.works("S1", &lost.key));
        session.expect_alive();

        let mut newer = broker.login(version, "S1", &new.key);
        session.expect_farewell(0x8e);
        newer.expect_alive();
        assert!(!broker.works("S1", &old.key), "the new one was confirmed");
        newer.expect_alive();
        let told = broker.told(version, &Connect::new("S1", &code("S1")));
        let refused = if version.is_5() { 0x87 } else { 5 };
        assert_eq!(told.expect("a CONNACK")[3], refused);
    }
}

#[test]
fn two_that_race_with_one_code_end_with_one_key() {
    let broker = TestBroker::start();
    let serials: Vec<String> = (0..40).map(|n| format!("race-{n}")).collect();
    let names: Vec<&str> = serials.iter().map(String::as_str).collect();
    broker.fleet(&names);
    for serial in names {
        let racer = || -> Option<Credentials> {
            let mut peer = broker.peer(Version::V311);
            let connect = Connect::new(serial, &code(serial)).bytes(Version::V311);
            let topic = format!("provision/{serial}/response");
            let subscribe = Version::V311.subscribe(1, &[(&topic, 0)]);
            peer.send(&[connect, subscribe].concat());
            // The later one ends the session of the earlier.
            while let Some(packet) = peer.next() {
                if let Some(answer) = packet.publish(Version::V311) {
                    return Some(Credentials::read(&answer.payload));
                }
            }
            None
        };
        let keys: Vec<Credentials> = thread::scope(|scope| {
            let racers = [scope.spawn(racer), scope.spawn(racer)];
            let ended = racers.map(|racer| racer.join().expect("no panic"));
            ended.into_iter().flatten().collect()
        });
        let works = |one: &&Credentials| broker.works(serial, &one.key);
        assert_eq!(keys.iter().filter(works).count(), 1, "{serial}");
    }
}

#[test]
fn a_request_before_the_subscription_is_answered_after_it() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1"]);
        let mut peer = broker.activating(version, "S1");
        let request = br#"{"details":true,"nonce":"n1"}"#;
        peer.send(&version.publish(REQUEST, 1, 5, request));
        peer.expect(&version.acknowledgement(PUBACK, 5, 0));
        peer.expect_alive();
        peer.subscribe(&[(RESPONSE, 1)], &[1]);
        let answer = peer.message().json();
        assert_eq!(answer["serial"], "S1");
        assert_eq!(answer["product_id"], product.as_str());
        assert_eq!(answer["status"], "issued");
        assert_eq!(answer["nonce"], "n1");
        assert!(answer["server_time"].is_string());
        // One request, one answer.
        peer.expect_alive();
    }
}

#[test]
fn every_request_gets_one_answer_and_always_the_same_key() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut peer = broker.activating(version, "S1");
        peer.subscribe(&[(RESPONSE, 0)], &[0]);
        let first = peer.publish().payload;
        Credentials::read(&first);
        for _ in 0..5 {
            assert_eq!(ask(&mut peer, "").payload, first, "byte for byte");
        }
        peer.subscribe(&[(RESPONSE, 1)], &[1]);
        assert_eq!(peer.message().payload, first);
        let bad = ask(&mut peer, "{").json();
        assert_eq!(bad["error"]["code"], "bad_request");
        let long = format!(r#"{{"nonce":"{}"}}"#, "n".repeat(129));
        assert_eq!(ask(&mut peer, &long).json()["error"]["code"], "bad_request");
        let nonce = ask(&mut peer, r#"{"nonce":"\"x"}"#).json();
        assert_eq!(nonce["nonce"], "\"x");
        peer.expect_alive();
        let issued = |event: &&Value| event["event"] == "activation_issued";
        assert_eq!(broker.events().iter().filter(issued).count(), 1);
    }
}

#[test]
fn version_5_requests_are_labelled() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let mut peer = broker.activating(version, "S1");
    peer.subscribe(&[(RESPONSE, 0)], &[0]);
    peer.publish();
    let correlation = [0x09, 0, 3, 0, 0xff, 7];
    let own = [&correlation[..], &[0x08], &text(RESPONSE)].concat();
    for properties in [&correlation[..], &own] {
        peer.send(&version.publish_with(0x30, REQUEST, 0, properties, b""));
        assert_eq!(peer.publish().properties, correlation);
    }
    for foreign in ["provision/other/response", "app/x"] {
        let properties = [&[0x08], text(foreign).as_slice()].concat();
        peer.send(&version.publish_with(0x32, REQUEST, 3, &properties, b""));
        peer.expect(&version.acknowledgement(PUBACK, 3, 0x87));
    }
    peer.expect_alive();
}

#[test]
fn who_activates_too_late_is_told_on_its_topic() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let credentials = broker.activate(version, "S1");
        let mut late = broker.activating(version, "S1");
        broker.login(version, "S1", &credentials.key).expect_alive();
        late.subscribe(&[(RESPONSE, 0)], &[0]);
        let told = late.publish().json();
        let message =
            "the device is already active: its code was used, and the key made with it too";
        assert_eq!(
            told,
            json!({"error": {"code": "code_spent", "message": message}})
        );
    }
}

#[test]
fn unsubscribing_stops_the_answers() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut peer = broker.activating(version, "S1");
        peer.subscribe(&[(RESPONSE, 0)], &[0]);
        let first = peer.publish().payload;
        peer.send(&version.unsubscribe(2, &[RESPONSE, "never"]));
        peer.expect(&version.unsuback(2, &[0, 0x11]));
        peer.send(&version.publish(REQUEST, 0, 0, b""));
        peer.expect_alive();
        peer.subscribe(&[(RESPONSE, 0)], &[0]);
        assert_eq!(peer.publish().payload, first);
        peer.expect_alive();
    }
}

#[test]
fn a_newer_activation_ends_the_older() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut older = broker.activating(version, "S1");
        let mut newer = broker.activating(version, "S1");
        older.expect_farewell(0x8e);
        newer.expect_alive();
    }
}

/// Nothing piles up for a device that asks and does not listen, and nothing is
/// swallowed: it is told, and the session ends.
#[test]
fn who_asks_without_end_and_acknowledges_nothing_is_ended() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let mut peer = broker.activating(version, "S1");
    peer.subscribe(&[(RESPONSE, 1)], &[1]);
    let requests: Vec<u8> = (0..40)
        .flat_map(|_| version.publish("provision/S1/request", 0, 0, b""))
        .collect();
    peer.send(&requests);
    for _ in 0..16 {
        peer.publish();
    }
    peer.expect_farewell(0x97);
}
