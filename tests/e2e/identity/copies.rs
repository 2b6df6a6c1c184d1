//! Cards, images and key files in other hands: what the hardware says.

use serde_json::Value;

use super::{facts, is_refused_with_reason, no};
use crate::support::signing::{
    Algorithm, LAPTOP, OTHER_PI_WITH_ITS_CARD, PI, PI_WITH_A_NEW_CARD, Signing, claims, with_part,
};
use crate::support::{TestBroker, Version};

const MISMATCH: &str = "the device's hardware is not the one that was enrolled";

/// A device that has logged in once from its own board, under this mode.
fn at_home(broker: &TestBroker, algorithm: Algorithm, mode: &str) -> Signing {
    let product = broker.fleet(&["S1"]);
    broker
        .cli(&["product", "set", &product, "--hardware", mode])
        .ok();
    let device = Signing::derived(&product, "S1").on(PI);
    let device = match algorithm {
        Algorithm::Hs256 => device,
        Algorithm::EdDsa => {
            let device = Signing::with_pair(&product, "S1", 7).on(PI);
            broker.enrol(&device);
            device
        }
    };
    broker.sign_in(Version::V311, &device).expect_alive();
    device
}

#[test]
fn a_card_in_another_board_is_refused_and_seen() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = at_home(&broker, algorithm, "enforce");
        let stolen = device.clone().on(OTHER_PI_WITH_ITS_CARD);
        for version in Version::ALL {
            let token = stolen.login();
            let told = broker.told(version, &stolen.connect(&token));
            let told = told.expect("a CONNACK");
            assert!(
                is_refused_with_reason(version, &told, MISMATCH),
                "{told:02x?}"
            );
            // The original notices nothing.
            broker.sign_in(version, &device).expect_alive();
        }
        let suspicions = broker.suspicions();
        assert_eq!(
            suspicions.len(),
            1,
            "folded to one a minute: {suspicions:?}"
        );
        assert_eq!(suspicions[0]["signal"], "hardware_mismatch");
        assert_eq!(suspicions[0]["source"], "127.0.0.1");
        assert_eq!(facts(&suspicions[0]), ["cpu_serial", "mac"]);
        let shown = serde_json::to_string(&broker.events()).expect("text");
        let hash = device.hardware()["mac"].as_str().expect("one").to_owned();
        assert!(!shown.contains(&hash), "names of facts, never their hashes");
    }
}

#[test]
fn a_key_file_without_its_card_is_no_device() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = at_home(&broker, algorithm, "enforce");
        for elsewhere in [device.clone().on(LAPTOP), device.clone().on(&[])] {
            let token = elsewhere.login();
            let told = broker.told(Version::V5, &elsewhere.connect(&token));
            let told = told.expect("a CONNACK");
            assert!(is_refused_with_reason(Version::V5, &told, MISMATCH));
        }
        let suspicions = broker.suspicions();
        assert_eq!(facts(&suspicions[0]), ["cpu_serial", "board", "mac"]);
        broker.sign_in(Version::V5, &device).expect_alive();
    }
}

/// Who has the key may say what it likes; who has not, cannot even say that.
#[test]
fn a_signature_over_other_facts_does_not_hold() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = at_home(&broker, algorithm, "enforce");
        let thief = device.clone().on(LAPTOP);
        let token = thief.login();
        let mut says = claims(&token);
        says["hw"] = device.hardware();
        let forged = with_part(&token, 1, &says.to_string());
        for version in Version::ALL {
            let told = broker.told(version, &thief.connect(&forged));
            assert_eq!(told, Some(no(version)));
        }
        assert!(broker.suspicions().is_empty(), "nobody has proved anything");
        // What this page says is left: the key *and* the facts are the device.
        let mimic = thief.on(PI);
        broker.sign_in(Version::V5, &mimic).expect_alive();
    }
}

#[test]
fn what_follows_is_the_products_choice() {
    for (mode, let_in, suspected, noted) in [
        ("off", true, false, false),
        ("record", true, false, true),
        ("warn", true, true, true),
        ("enforce", false, true, true),
    ] {
        let broker = TestBroker::start();
        let device = at_home(&broker, Algorithm::Hs256, mode);
        let stolen = device.on(OTHER_PI_WITH_ITS_CARD);
        let token = stolen.login();
        let told = broker.told(Version::V311, &stolen.connect(&token));
        let accepted = told == Some(Version::V311.connack(0));
        assert_eq!(accepted, let_in, "{mode}");
        assert_eq!(!broker.suspicions().is_empty(), suspected, "{mode}");
        // Enrolling is a change that is noted, too.
        assert_eq!(broker.count("hardware_changed") > 0, noted, "{mode}");
    }
}

#[test]
fn a_replaced_card_is_no_stolen_identity() {
    let broker = TestBroker::start();
    let device = at_home(&broker, Algorithm::EdDsa, "enforce");
    let repaired = device.clone().on(PI_WITH_A_NEW_CARD);
    broker.sign_in(Version::V5, &repaired).expect_alive();
    assert!(broker.suspicions().is_empty());
    let events = broker.events();
    let changed = |event: &&Value| event["event"] == "hardware_changed";
    let last = events.iter().rfind(changed).expect("it was noted");
    assert_eq!(facts(last), ["sd_card"]);

    // A product may have it otherwise.
    let broker = TestBroker::start();
    let device = at_home(&broker, Algorithm::EdDsa, "enforce");
    let product = claims(&device.login())["aud"]
        .as_str()
        .expect("an id")
        .to_owned();
    let strictly = ["product", "set", &product, "--may-change", "none"];
    broker.cli(&strictly).ok();
    let repaired = device.on(PI_WITH_A_NEW_CARD);
    let token = repaired.login();
    let told = broker.told(Version::V5, &repaired.connect(&token));
    assert!(is_refused_with_reason(
        Version::V5,
        &told.expect("a CONNACK"),
        MISMATCH
    ));
    assert_eq!(facts(&broker.suspicions()[0]), ["sd_card"]);
}

#[test]
fn a_replaced_board_is_enrolled_once_an_operator_says_so() {
    let broker = TestBroker::start();
    let device = at_home(&broker, Algorithm::Hs256, "enforce");
    let replaced = device.clone().on(OTHER_PI_WITH_ITS_CARD);
    let token = replaced.login();
    let told = broker.told(Version::V311, &replaced.connect(&token));
    assert_eq!(told, Some(Version::V311.connack(5)));
    broker.cli(&["device", "forget-hardware", "S1"]).ok();
    broker.sign_in(Version::V311, &replaced).expect_alive();
    // From now on it is that board, and the old one is another.
    let token = device.login();
    let told = broker.told(Version::V311, &device.connect(&token));
    assert_eq!(told, Some(Version::V311.connack(5)));
}
