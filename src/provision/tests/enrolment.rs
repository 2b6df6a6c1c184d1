//! Key pairs: whose they are, what a product makes of them, and what an
//! operator's window is worth.

use super::signing::{Author, SERIAL, after};
use super::*;
use crate::hardware::Pepper;
use crate::keypair::PrivateKey;
use crate::signed::Signer;

impl World {
    /// The same with a key pair of its own.
    fn paired(&self, key: &PrivateKey) -> Author {
        Author {
            signer: Signer::Ed25519(key.clone()),
            ..self.derived()
        }
    }

    /// Enrols a key pair over an activation with the code.
    async fn enrol(&self, key: &PrivateKey) -> serde_json::Value {
        let mut activation = self.activation().await;
        let asked = self
            .ask(&mut activation, r#"{"ask":"challenge"}"#, NOW)
            .await;
        let challenge = asked["challenge"].as_str().expect("a challenge");
        let serial = Serial::parse(SERIAL).expect("valid");
        let request = serde_json::json!({
            "public_key": key.public().to_string(),
            "challenge": challenge,
            "signature": key.sign_enrolment(&self.product, &serial, challenge),
        });
        self.ask(&mut activation, &request.to_string(), NOW).await
    }
}

fn key_pair(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

#[tokio::test]
async fn a_key_pair_is_enrolled_with_the_code() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (pair, other) = (key_pair(1), key_pair(2));
    let answer = world.enrol(&pair).await;
    assert!(answer.get("apikey").is_none(), "{answer}");
    assert!(answer["feed_id"].is_number(), "{answer}");
    assert_eq!(world.lifecycle().await, Lifecycle::Issued);

    // The answer was lost; the device has made another key pair.
    world.enrol(&other).await;
    let refusal = world
        .turned_away(&world.paired(&pair).login(NOW, "1"), NOW)
        .await;
    assert_eq!(refusal, Refusal::TokenInvalid);
    // From now on no other algorithm.
    let refusal = world
        .turned_away(&world.derived().login(NOW, "1"), NOW)
        .await;
    assert_eq!(refusal, Refusal::TokenInvalid);
    world
        .sign_in(&world.paired(&other).login(NOW, "1"), NOW)
        .await
        .expect("the key that was enrolled last");
    assert_eq!(world.lifecycle().await, Lifecycle::Active);
    let code = code(SECRET, SERIAL);
    assert_eq!(world.refused(SERIAL, &code).await, Refusal::CodeSpent);
    assert!(world.event_names().await.contains(&"public_key_enrolled"));
}

#[tokio::test]
async fn the_key_in_use_works_until_a_newer_one_is_used() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (old, new) = (key_pair(1), key_pair(2));
    world.enrol(&old).await;
    world
        .sign_in(&world.paired(&old).login(NOW, "1"), NOW)
        .await
        .expect("signed");
    world
        .change(Transition::Reopen { until: after(9000) })
        .await;
    world.enrol(&new).await;
    world
        .sign_in(&world.paired(&old).login(after(1), "1"), after(1))
        .await
        .expect("the one in use");
    world
        .sign_in(&world.paired(&new).login(after(2), "1"), after(2))
        .await
        .expect("the newer one");
    let refusal = world
        .turned_away(&world.paired(&old).login(after(3), "1"), after(3))
        .await;
    assert_eq!(refusal, Refusal::TokenInvalid);
}

#[tokio::test]
async fn enrolment_needs_the_private_half_and_a_fresh_challenge() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (pair, other) = (key_pair(1), key_pair(2));
    let serial = Serial::parse(SERIAL).expect("valid");
    let mut activation = world.activation().await;
    let asked = world
        .ask(&mut activation, r#"{"ask":"challenge"}"#, NOW)
        .await;
    let challenge = asked["challenge"].as_str().expect("a challenge").to_owned();
    assert_eq!(asked["serial"], SERIAL);
    assert!(Pepper::parse(asked["pepper"].as_str().expect("text")).is_some());
    let mut check = async |signer: &PrivateKey, challenge: &str, now, expected: &str| {
        let request = serde_json::json!({
            "public_key": pair.public().to_string(),
            "challenge": challenge,
            "signature": signer.sign_enrolment(&world.product, &serial, challenge),
        });
        let answer = world.ask(&mut activation, &request.to_string(), now).await;
        assert_eq!(answer["error"]["code"], expected, "{answer}");
    };
    check(&other, &challenge, NOW, "signature_wrong").await;
    check(&pair, "bWFkZSB1cA", NOW, "challenge_expired").await;
    check(&pair, &challenge, after(120_001), "challenge_expired").await;
    assert_eq!(world.lifecycle().await, Lifecycle::Registered);
}

#[tokio::test]
async fn a_product_says_what_its_devices_prove_themselves_with() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let policy = |proof| ProductChange {
        proof: Some(proof),
        ..ProductChange::default()
    };
    world.set(policy(crate::ProofPolicy::Code)).await;
    let token = world.derived().login(NOW, "1");
    let refusal = world.turned_away(&token, NOW).await;
    assert_eq!(refusal, Refusal::SigningDisabled);
    let answer = world.enrol(&key_pair(1)).await;
    assert_eq!(answer["error"]["code"], "signing_disabled");
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    assert!(world.is_in(&key).await);

    world.set(policy(crate::ProofPolicy::Signed)).await;
    assert_eq!(world.refused(SERIAL, &key).await, Refusal::KeyDisabled);
    world.change(Transition::Reset).await;
    let mut activation = world.activation().await;
    assert!(
        world
            .door
            .waits_for_request(&activation)
            .await
            .expect("readable")
    );
    let answer = world.ask(&mut activation, "{}", NOW).await;
    assert!(answer.get("apikey").is_none() && answer["feed_id"].is_number());
    assert_eq!(world.lifecycle().await, Lifecycle::Issued);
    world.sign_in(&token, NOW).await.expect("signed");

    let ended = ProductChange {
        codes_until: Some(Some(NOW)),
        ..ProductChange::default()
    };
    world.set(ended).await;
    world.change(Transition::Reset).await;
    let code = code(SECRET, SERIAL);
    assert_eq!(world.refused(SERIAL, &code).await, Refusal::CodeDisabled);
}

#[tokio::test]
async fn what_was_let_have_and_not_used_in_time_ends() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let sign = async |at: u64| {
        let now = after(at);
        world.sign_in(&device.login(now, "1"), now).await.map(drop)
    };
    sign(0).await.expect("signed");
    world
        .change(Transition::Reopen { until: after(1000) })
        .await;
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    let pair = key_pair(7);
    let show = async |now: Timestamp| {
        let attempt = Attempt {
            username: None,
            password: Some(key.as_bytes()),
            source: HERE,
            hardware: None,
        };
        world.door.admit(attempt, now).await.map(drop)
    };
    let ended = Err(NotAdmitted::Refused(Refusal::KeyEnded));
    assert_eq!(show(after(1000)).await, ended, "the window is closed");
    sign(1001).await.expect("signed");
    assert_eq!(world.event_names().await.last(), Some(&"key_ended"));

    // The same with a pair that somebody enrolled meanwhile.
    world
        .change(Transition::Reopen { until: after(9000) })
        .await;
    world.enrol(&pair).await;
    let late = world.paired(&pair).login(after(9000), "1");
    assert_eq!(
        world.turned_away(&late, after(9000)).await,
        Refusal::TokenInvalid
    );
}
