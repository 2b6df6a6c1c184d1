//! What was used stays used when the server is killed within the window.

use firstwake::signed::RequestDigest;
use serde_json::json;

use super::is_refused_with_reason;
use crate::support::http::{HttpPeer, JSON};
use crate::support::signing::{Algorithm, SHOP};
use crate::support::{TestBroker, Version};

#[test]
fn a_used_token_stays_used() {
    for algorithm in Algorithm::ALL {
        let mut broker = TestBroker::start();
        let device = broker.signing(algorithm, "S1");
        let (older, used) = (device.login(), device.login());
        broker
            .admitted(Version::V5, &device.connect(&used))
            .expect_alive();
        broker.kill_and_restart();
        for version in Version::ALL {
            for token in [&used, &older] {
                let told = broker.told(version, &device.connect(token));
                let told = told.expect("a CONNACK");
                let reason = "the token was used before";
                assert!(
                    is_refused_with_reason(version, &told, reason),
                    "{told:02x?}"
                );
            }
        }
        broker.sign_in(Version::V5, &device).expect_alive();
    }
}

#[test]
fn a_used_counter_stays_used() {
    for algorithm in Algorithm::ALL {
        let mut broker = TestBroker::with_http();
        let device = broker.signing(algorithm, "S1");
        broker.sign_in(Version::V5, &device).expect_alive();
        let operator = broker.token("admin");
        let request = |counter| device.request(counter, RequestDigest::of("GET", "/x", b""));
        // Out of order, as requests that are made at once arrive.
        let used: Vec<String> = [3, 1, 200, 150].map(request).into();
        for token in &used {
            assert_eq!(verified(&broker, &operator, token), "");
        }
        broker.kill_and_restart();
        for token in &used {
            assert_eq!(verified(&broker, &operator, token), "token_replayed");
        }
        // What the window has left open is open still, and what is too old is not.
        assert_eq!(verified(&broker, &operator, &request(151)), "");
        assert_eq!(verified(&broker, &operator, &request(2)), "token_replayed");
        assert_eq!(
            verified(&broker, &operator, &request(150)),
            "token_replayed"
        );
    }
}

/// Why a request does not hold; nothing if it does.
fn verified(broker: &TestBroker, operator: &str, token: &str) -> String {
    let question = json!({
        "token": token, "audience": SHOP, "method": "GET", "target": "/x", "body": "",
    });
    let bearer = format!("Authorization: Bearer {operator}");
    let answer = HttpPeer::open(broker.listens("http")).ask(
        "POST /api/v1/verify",
        &[&bearer, JSON],
        question.to_string().as_bytes(),
    );
    let answer = answer.of(200);
    match answer["verified"].as_bool().expect("yes or no") {
        true => String::new(),
        false => answer["refusal"].as_str().expect("a reason").to_owned(),
    }
}
