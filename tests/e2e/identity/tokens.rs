//! Tokens that were recorded, borrowed or made up.

use std::time::Duration;

use serde_json::json;

use super::{is_refused_with_reason, no};
use crate::support::signing::{Algorithm, Signing, claims, device_key, forged, now, with_part};
use crate::support::{Connect, TestBroker, Version};

const ELSEWHERE: [u8; 4] = [127, 0, 0, 66];
const USED: &str = "the token was used before";

#[test]
fn a_sniffed_login_is_of_no_use() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(algorithm, "S1");
        for version in Version::ALL {
            let unused = device.login();
            let sniffed = device.login();
            let connect = device.connect(&sniffed);
            let mut session = broker.admitted(version, &connect);

            let told = broker.told_from(ELSEWHERE, version, &connect);
            assert!(is_refused_with_reason(version, &told, USED), "{told:02x?}");
            // One that never arrived, and was followed by another, is no better.
            let told = broker.told_from(ELSEWHERE, version, &device.connect(&unused));
            assert!(is_refused_with_reason(version, &told, USED), "{told:02x?}");
            session.expect_alive();
            broker.sign_in(version, &device).expect_alive();
        }
        let suspicion = &broker.suspicions()[0];
        assert_eq!(suspicion["signal"], "token_replayed");
        assert_eq!(suspicion["source"], "127.0.0.66");
        assert_eq!(broker.suspicions().len(), 1, "folded to one a minute");
    }
}

#[test]
fn a_token_that_nobody_waited_for_is_still_good_once() {
    let broker = TestBroker::start();
    let device = broker.signing(Algorithm::Hs256, "S1");
    let token = device.login();
    let connect = device.connect(&token);
    // However many try at once, one of them is let in.
    let let_in: Vec<bool> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let told = broker.told(Version::V311, &connect);
                    told == Some(Version::V311.connack(0))
                })
            })
            .collect();
        let ended = racers.into_iter().map(|racer| racer.join());
        ended.map(|let_in| let_in.expect("no panic")).collect()
    });
    assert_eq!(let_in.iter().filter(|one| **one).count(), 1, "{let_in:?}");
}

#[test]
fn a_token_is_good_once_whichever_way_it_comes() {
    let version = Version::V5;
    let broker = TestBroker::with_xively();
    let device = broker.signing(Algorithm::EdDsa, "S1");
    broker.sign_in(version, &device).expect_alive();
    let feed = broker.json(&["device", "show", "S1"])["feed_id"].clone();
    let line = format!("GET /v2/feeds/{feed}.json");
    let over_http = |token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        broker.xively().ask(&line, &[&bearer], b"").status
    };
    let over_mqtt = |token: &str| {
        let told = broker.told(version, &device.connect(token));
        told.expect("a CONNACK")[3]
    };
    let token = device.login();
    assert_eq!(over_http(&token), 200);
    assert_eq!((over_http(&token), over_mqtt(&token)), (401, 0x87));
    let token = device.login();
    assert_eq!(over_mqtt(&token), 0);
    assert_eq!(over_http(&token), 401);
}

#[test]
fn a_token_is_for_one_product_and_one_device() {
    let broker = TestBroker::start();
    let lamps = broker.fleet(&["S1", "S2"]);
    let pumps = broker.other_fleet(&["S1"]);
    let lamp = Signing::derived(&lamps, "S1");
    for version in Version::ALL {
        let token = lamp.login();
        let as_a_pump = format!("{pumps}/S1");
        for username in [as_a_pump.as_str(), "S2"] {
            let connect = Connect::new(username, &token);
            assert_eq!(broker.told(version, &connect), Some(no(version)));
        }
        // What it says is what was signed.
        let mut said = claims(&token);
        said["aud"] = pumps.as_str().into();
        let borrowed = with_part(&token, 1, &said.to_string());
        let connect = lamp.connect(&borrowed);
        assert_eq!(broker.told(version, &connect), Some(no(version)));
        broker
            .admitted(version, &lamp.connect(&token))
            .expect_alive();
    }
    let shown = broker.json(&["device", "show", &format!("{pumps}/S1")]);
    assert_eq!(shown["lifecycle"], "registered");
    assert_eq!(broker.lifecycle("S2"), "registered");
}

#[test]
fn nobody_chooses_an_algorithm() {
    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    let derived = Signing::derived(&product, "S1");
    let pair = broker.signing_of(&product, Algorithm::EdDsa, "S2");
    let (one, two) = (derived.login(), pair.login());
    let (says_one, says_two) = (claims(&one), claims(&two));
    let public = pair.public_bytes();
    let pair_for_derived = Signing::with_pair(&product, "S1", 7);
    let derived_for_pair = Signing::derived(&product, "S2");
    let another_pair = Signing::with_pair(&product, "S2", 8);
    let of = |serial: &str, header: &str, says| forged(header, says, &device_key(serial));
    let attempts = [
        ("S1", with_part(&one, 0, r#"{"alg":"none"}"#)),
        ("S1", of("S1", r#"{"alg":"none"}"#, &says_one)),
        ("S1", of("S1", r#"{"alg":"RS256"}"#, &says_one)),
        ("S1", of("S1", r#"{"alg":"HS512"}"#, &says_one)),
        ("S1", of("S1", r#"{"alg":["HS256"]}"#, &says_one)),
        ("S1", of("S1", r#"{"typ":"JWT"}"#, &says_one)),
        ("S1", with_part(&one, 0, r#"{"alg":"EdDSA","typ":"JWT"}"#)),
        ("S1", pair_for_derived.login()),
        ("S2", derived_for_pair.login()),
        ("S2", another_pair.login()),
        ("S2", with_part(&two, 0, HS256)),
        ("S2", with_part(&two, 0, r#"{"alg":"RS256"}"#)),
        // What everybody may know, taken for a secret.
        ("S2", forged(HS256, &says_two, &public)),
        ("S2", forged(HS256, &says_two, hex(&public).as_bytes())),
    ];
    for version in Version::ALL {
        for (serial, token) in &attempts {
            let told = broker.told(version, &Connect::new(serial, token));
            assert_eq!(told, Some(no(version)), "{serial} {token}");
        }
        let unsigned = one.rsplit_once('.').expect("three parts").0;
        let told = broker.told(version, &Connect::new("S1", &format!("{unsigned}.")));
        assert_eq!(told, Some(no(version)));
    }
    for serial in ["S1", "S2"] {
        let explained = broker.cli(&["device", "explain", serial]).ok();
        assert!(explained.contains("token_invalid"), "{explained}");
    }
    // Nothing of that has used up what was signed rightly.
    broker
        .admitted(Version::V311, &derived.connect(&one))
        .expect_alive();
    broker
        .admitted(Version::V5, &pair.connect(&two))
        .expect_alive();
}

#[test]
fn what_nobody_signs_is_not_looked_at() {
    let broker = TestBroker::start();
    let device = broker.signing(Algorithm::Hs256, "S1");
    let token = device.login();
    let says = claims(&token);
    let key = device_key("S1");
    let padded = |length| format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(length));
    let crit = r#"{"alg":"HS256","crit":["exp"],"exp":1}"#;
    let mut long = says.clone();
    long["more"] = "m".repeat(4000).into();
    let mut wide = says.clone();
    wide["more"] = json!(vec![0; 500]);
    for version in Version::ALL {
        for (header, says) in [
            (padded(500).as_str(), &says),
            (&padded(3000), &says),
            (crit, &says),
            (r#"{"alg":"HS256"}"#, &long),
        ] {
            let forged = forged(header, says, &key);
            let told = broker.told(version, &device.connect(&forged));
            assert_eq!(told, Some(no(version)), "{} bytes", forged.len());
        }
    }
    // Neither is what a small header or other claims say besides.
    let fine = forged(&padded(300), &wide, &key);
    broker
        .admitted(Version::V5, &device.connect(&fine))
        .expect_alive();
}

#[test]
fn an_altered_claim_breaks_the_signature() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(algorithm, "S1");
        let token = device.login_at(now(), Duration::from_secs(30));
        for (name, value) in [
            ("exp", json!(now().as_millis() / 1000 + 250)),
            ("jti", json!("zzzz")),
            ("iat", json!(now().as_millis() / 1000 + 1)),
            ("hw", json!({"mac": "0b".repeat(16)})),
            ("sub", json!("S2")),
        ] {
            let mut says = claims(&token);
            says[name] = value;
            let altered = with_part(&token, 1, &says.to_string());
            let told = broker.told(Version::V5, &device.connect(&altered));
            assert_eq!(told, Some(no(Version::V5)), "{algorithm:?} {name}");
        }
        broker
            .admitted(Version::V5, &device.connect(&token))
            .expect_alive();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
