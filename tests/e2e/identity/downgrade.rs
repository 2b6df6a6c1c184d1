//! Who signs does not go back to a code or a key, whoever asks for it.

use serde_json::Value;

use super::is_refused_with_reason;
use crate::support::signing::{Algorithm, Signing};
use crate::support::wire::DISCONNECT;
use crate::support::{Connect, TestBroker, Version, code};

const SPENT: &str = "the device is already active";

#[test]
fn one_signed_login_ends_code_and_key() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1"]);
        // A device of the old days, which learns to sign.
        let (mut session, old) = broker.device(Version::V5, "S1");
        let device = match algorithm {
            Algorithm::Hs256 => Signing::derived(&product, "S1"),
            Algorithm::EdDsa => {
                broker.cli(&["device", "reopen", "S1", "--for", "1h"]).ok();
                broker.signing_of(&product, algorithm, "S1")
            }
        };
        session.expect_alive();
        let mut session = broker.sign_in(Version::V5, &device);
        let always = ["product", "set", &product, "--reactivation", "always"];
        broker.cli(&always).ok();
        for version in Version::ALL {
            let told = broker.told(version, &Connect::new("S1", &code("S1")));
            let told = told.expect("a CONNACK");
            assert!(is_refused_with_reason(version, &told, SPENT), "{told:02x?}");
            let told = broker.told(version, &Connect::new("S1", &old.key));
            assert_eq!(
                told,
                Some(super::no(version)),
                "an ended key is a wrong one"
            );
        }
        session.expect_alive();
        // An operator may let it start over: the way back is a window, not a code.
        broker.cli(&["device", "reopen", "S1", "--for", "1h"]).ok();
        let told = broker.told(Version::V5, &Connect::new("S1", &code("S1")));
        assert_eq!(told.expect("a CONNACK")[3], 0);
    }
}

#[test]
fn where_all_have_to_sign_no_key_is_made_or_taken() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2", "S3"]);
    let (_, old) = broker.device(Version::V311, "S1");
    broker
        .cli(&["product", "set", &product, "--proof", "signed"])
        .ok();
    for version in Version::ALL {
        let told = broker.told(version, &Connect::new("S1", &old.key));
        let told = told.expect("a CONNACK");
        let reason = "this product's devices sign their logins";
        assert!(
            is_refused_with_reason(version, &told, reason),
            "{told:02x?}"
        );

        // A code opens a session, in which a subscription is no request.
        let mut peer = broker.activating(version, "S2");
        peer.subscribe(&[("provision/S2/response", 1)], &[1]);
        peer.expect_alive();
        peer.send(&DISCONNECT);
        peer.expect_close();
        assert_eq!(broker.lifecycle("S2"), "registered");
    }
    for (algorithm, serial) in [(Algorithm::Hs256, "S2"), (Algorithm::EdDsa, "S3")] {
        let device = broker.signing_of(&product, algorithm, serial);
        broker.sign_in(Version::V311, &device).expect_alive();
        assert_eq!(broker.lifecycle(serial), "active");
    }
    // The old one can sign as well, and then is in again.
    let device = Signing::derived(&product, "S1");
    broker.sign_in(Version::V5, &device).expect_alive();
}

#[test]
fn codes_end_with_their_date() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    let until = |date: &str| {
        let change = ["product", "set", &product, "--codes-until", date];
        broker.cli(&change).ok();
    };
    until("2100-01-01T00:00:00Z");
    broker.activate(Version::V5, "S1");
    until("2020-01-01T00:00:00Z");
    for version in Version::ALL {
        let told = broker.told(version, &Connect::new("S2", &code("S2")));
        let told = told.expect("a CONNACK");
        let reason = "this product no longer takes activation codes";
        assert!(
            is_refused_with_reason(version, &told, reason),
            "{told:02x?}"
        );
    }
    let device = Signing::derived(&product, "S2");
    broker.sign_in(Version::V5, &device).expect_alive();
}

#[test]
fn an_enrolment_is_for_who_has_the_private_half() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    let device = Signing::with_pair(&product, "S1", 7);
    let thief = Signing::with_pair(&product, "S1", 8);
    let neighbour = Signing::with_pair(&product, "S2", 7);
    let version = Version::V5;
    let mut peer = broker.activating(version, "S1");
    peer.subscribe(&[("provision/S1/response", 0)], &[0]);
    peer.publish();
    let mut ask = |request: &str| -> Value {
        peer.send(&version.publish("provision/S1/request", 0, 0, request.as_bytes()));
        peer.publish().json()
    };
    let challenge = |answer: Value| answer["challenge"].as_str().expect("text").to_owned();
    let mine = challenge(ask(r#"{"ask":"challenge"}"#));
    let code = |answer: &Value| answer["error"]["code"].as_str().map(str::to_owned);

    // The public half of one, signed by another; and a signature for S2.
    let mut mixed: Value = serde_json::from_str(&device.enrolment(&mine)).expect("JSON");
    let other: Value = serde_json::from_str(&thief.enrolment(&mine)).expect("JSON");
    mixed["signature"] = other["signature"].clone();
    assert_eq!(
        code(&ask(&mixed.to_string())).as_deref(),
        Some("signature_wrong")
    );
    let foreign = neighbour.enrolment(&mine);
    assert_eq!(code(&ask(&foreign)).as_deref(), Some("signature_wrong"));
    // A challenge of one's own making, and one that was given to another.
    let made_up = device.enrolment(&mine.replace(&mine[..4], "AAAA"));
    assert_eq!(code(&ask(&made_up)).as_deref(), Some("challenge_expired"));
    let mut other = broker.activating(version, "S2");
    other.subscribe(&[("provision/S2/response", 0)], &[0]);
    other.publish();
    other.send(&version.publish("provision/S2/request", 0, 0, br#"{"ask":"challenge"}"#));
    let theirs = challenge(other.publish().json());
    let borrowed = device.enrolment(&theirs);
    assert_eq!(code(&ask(&borrowed)).as_deref(), Some("challenge_expired"));

    let enrolled = ask(&device.enrolment(&mine));
    assert_eq!(code(&enrolled), None, "{enrolled}");
    assert!(enrolled["apikey"].is_null());
    broker.sign_in(version, &device).expect_alive();
}
