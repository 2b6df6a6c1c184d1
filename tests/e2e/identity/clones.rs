//! One identity in two places at once, and what only looks like it.

use crate::support::signing::{Algorithm, OTHER_PI_WITH_ITS_CARD, PI, Signing, now};
use crate::support::wire::{DISCONNECT, text};
use crate::support::{Connect, Peer, TestBroker, Version, code};

const HERE: [u8; 4] = [127, 0, 0, 2];
const THERE: [u8; 4] = [127, 0, 0, 3];

/// The original and its copy take the identity from each other, so often.
fn fight(broker: &TestBroker, device: &Signing, version: Version, rounds: usize) -> Vec<Peer> {
    let mut sessions: Vec<Peer> = Vec::new();
    for source in [HERE, THERE].into_iter().cycle().take(rounds) {
        let session = broker.sign_in_from(source, version, device);
        if let Some(mut earlier) = sessions.pop() {
            earlier.expect_farewell(0x8e);
        }
        sessions.push(session);
    }
    sessions
}

#[test]
fn two_that_take_turns_are_seen() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(Algorithm::EdDsa, "S1");
        let _session = fight(&broker, &device, version, 4);
        let suspicions = broker.suspicions();
        assert_eq!(suspicions.len(), 1, "{suspicions:?}");
        assert_eq!(suspicions[0]["signal"], "two_addresses");
        let mut both = [&suspicions[0]["source"], &suspicions[0]["other"]];
        both.sort_by_key(|address| address.to_string());
        assert_eq!(both, ["127.0.0.2", "127.0.0.3"]);
        // Operators are told; the device is not touched.
        assert_eq!(broker.lifecycle("S1"), "active");
    }
}

#[test]
fn two_that_take_turns_are_both_out_if_the_product_says_so() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    broker
        .cli(&["product", "set", &product, "--on-clone", "quarantine"])
        .ok();
    let device = Signing::derived(&product, "S1");
    let mut last = fight(&broker, &device, version, 4).pop().expect("one");
    let reason = "this device is quarantined: two may be using one identity";
    last.expect_farewell_because(0x98, reason);
    for source in [HERE, THERE] {
        let token = device.login();
        let told = broker.told_from(source, version, &device.connect(&token));
        assert_eq!(told, version.connack_because(0x87, reason));
    }
    assert_eq!(broker.lifecycle("S1"), "quarantined");
    assert_eq!(
        broker.lifecycle("S2"),
        "registered",
        "nobody else is touched"
    );
    broker.cli(&["device", "release", "S1"]).ok();
    broker.sign_in_from(HERE, version, &device).expect_alive();
}

/// Its old session is open still whenever it comes from somewhere new.
#[test]
fn a_device_that_roams_raises_nothing() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(Algorithm::Hs256, "S1");
        let mut earlier: Option<Peer> = None;
        for last in 10..22 {
            let session = broker.sign_in_from([127, 0, 0, last], version, &device);
            if let Some(mut earlier) = earlier.replace(session) {
                earlier.expect_farewell(0x8e);
            }
        }
        // Home again, and out, properly.
        let mut session = earlier.expect("one");
        for source in [HERE, THERE, HERE, THERE, HERE] {
            session.send(&DISCONNECT);
            session.expect_close();
            session = broker.sign_in_from(source, version, &device);
        }
        session.expect_alive();
        assert!(broker.suspicions().is_empty(), "{:?}", broker.suspicions());
    }
}

#[test]
fn a_device_that_restarts_raises_nothing() {
    let version = Version::V311;
    let broker = TestBroker::start();
    let device = broker.signing(Algorithm::Hs256, "S1");
    let mut sessions = Vec::new();
    for number in 0..8 {
        // Some libraries make a name up each time.
        let client_id = format!("lib-{number}");
        let token = device.login();
        let connect = Connect {
            client_id: &client_id,
            ..device.connect(&token)
        };
        sessions.push(broker.admitted(version, &connect));
    }
    assert!(broker.suspicions().is_empty(), "{:?}", broker.suspicions());
}

#[test]
fn one_key_under_two_client_ids_is_seen() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(Algorithm::EdDsa, "S1");
        let mut sessions = Vec::new();
        for client_id in ["app", "agent", "app"] {
            let token = device.login();
            let connect = Connect {
                client_id,
                ..device.connect(&token)
            };
            sessions.push(broker.admitted(version, &connect));
        }
        let suspicions = broker.suspicions();
        assert_eq!(suspicions.len(), 1, "{suspicions:?}");
        assert_eq!(suspicions[0]["signal"], "two_client_ids");
        let ids = suspicions[0]["client_ids"].as_array().expect("a list");
        assert!(ids.contains(&"app".into()) && ids.contains(&"agent".into()));
    }
}

/// The code was burnt into the card. Who has a copy shows it from a board of
/// its own; only MQTT 5 has a place to say which.
#[test]
fn a_spent_code_from_another_board_is_seen() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let device = Signing::derived(&product, "S1").on(PI);
    broker.sign_in(version, &device).expect_alive();
    let spent = |device: &Signing| {
        let shown = device.hardware().to_string();
        let property = [&[0x26][..], &text("hardware"), &text(&shown)].concat();
        let code = code("S1");
        let connect = Connect {
            properties: &property,
            ..Connect::new("S1", &code)
        };
        let told = broker.told(version, &connect).expect("a CONNACK");
        assert_eq!(told[3], 0x87);
    };
    spent(&device);
    assert!(
        broker.suspicions().is_empty(),
        "the same board, after a reset of its own"
    );
    spent(&device.clone().on(OTHER_PI_WITH_ITS_CARD));
    let suspicions = broker.suspicions();
    assert_eq!(suspicions.len(), 1, "{suspicions:?}");
    assert_eq!(suspicions[0]["signal"], "spent_code");
    assert_eq!(super::facts(&suspicions[0]), ["cpu_serial", "mac"]);
}

/// It is a clone's sign, and a lazy client library's: the docs say so.
#[test]
fn a_library_that_reconnects_with_its_old_token_is_told() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let device = broker.signing(Algorithm::Hs256, "S1");
    let token = device.login_at(now(), std::time::Duration::from_secs(300));
    let mut session = broker.admitted(version, &device.connect(&token));
    session.send(&DISCONNECT);
    session.expect_close();
    let told = broker.told(version, &device.connect(&token));
    let reason = "the token was used before";
    let told = told.expect("a CONNACK");
    assert!(super::is_refused_with_reason(version, &told, reason));
    assert_eq!(broker.suspicions()[0]["signal"], "token_replayed");
    broker.sign_in(version, &device).expect_alive();
}
