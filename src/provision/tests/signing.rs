//! Signed logins and requests: who gets in, once, and what there is no way
//! back from.

use super::*;
use crate::code::DeviceKey;
use crate::hardware::{Fact, Facts, Pepper};
use crate::keypair::PrivateKey;
use crate::product::ProductSecretSlot;
use crate::signed::{LoginClaims, RequestClaims, RequestDigest, Signer};

pub(super) const SERIAL: &str = "0123456789";
const SPAN: Duration = Duration::from_secs(300);

/// What a device signs with, and what it says of itself.
pub(super) struct Author {
    pub(super) signer: Signer,
    pub(super) serial: Serial,
    pub(super) product: ProductId,
    pub(super) board: Facts,
}

impl Author {
    pub(super) fn login(&self, at: Timestamp, jti: &str) -> String {
        self.signer.login(&self.claims(at, jti))
    }

    fn request(&self, counter: u64, request: RequestDigest) -> String {
        self.signer.request(&RequestClaims {
            login: self.claims(NOW, "r"),
            counter,
            request,
        })
    }

    fn claims<'a>(&'a self, at: Timestamp, jti: &'a str) -> LoginClaims<'a> {
        LoginClaims {
            serial: &self.serial,
            product: &self.product,
            issued_at: at,
            span: SPAN,
            jti,
            hardware: &self.board,
        }
    }
}

pub(super) fn after(millis: u64) -> Timestamp {
    NOW.plus(Duration::from_millis(millis))
}

impl World {
    /// The device, with the key that its factory burnt in.
    pub(super) fn derived(&self) -> Author {
        self.derived_from(SECRET)
    }

    fn derived_from(&self, secret: &str) -> Author {
        let secret = ProductSecret::parse(secret).expect("valid");
        let serial = Serial::parse(SERIAL).expect("valid");
        Author {
            signer: Signer::DeviceKey(DeviceKey::derive(&secret, &serial)),
            serial,
            product: self.product.clone(),
            board: Facts::default(),
        }
    }

    /// The same with a key pair of its own.
    fn paired(&self, key: &PrivateKey) -> Author {
        Author {
            signer: Signer::Ed25519(key.clone()),
            ..self.derived()
        }
    }

    pub(super) async fn sign_in(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<DeviceLogin, NotAdmitted> {
        let attempt = Attempt {
            username: Some(SERIAL),
            password: Some(token.as_bytes()),
            source: HERE,
            hardware: None,
        };
        match self.door.admit(attempt, now).await? {
            Admission::Device(login) => Ok(login),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn turned_away(&self, token: &str, now: Timestamp) -> Refusal {
        match self.sign_in(token, now).await {
            Err(NotAdmitted::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn ask(
        &self,
        activation: &mut Activation,
        request: &str,
        now: Timestamp,
    ) -> serde_json::Value {
        let request = ProvisionRequest::parse(request.as_bytes()).expect("a request");
        let answer = match self.door.issue(activation, &request, HERE, now).await {
            Ok(answer) => answer,
            Err(error) => error.answer(),
        };
        serde_json::from_slice(answer.expose_bytes()).expect("JSON")
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

    pub(super) async fn set(&self, change: ProductChange) {
        let changed = self.door.change_product(&self.product, change, NOW).await;
        changed.expect("changed");
    }

    async fn verify(
        &self,
        token: &str,
        request: &RequestDigest,
        now: Timestamp,
    ) -> Result<DeviceLogin, Refusal> {
        match self.door.verify_request(token, request, HERE, now).await {
            Ok(login) => Ok(login),
            Err(NotAdmitted::Refused(refusal)) => Err(refusal),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn key_pair(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

#[tokio::test]
async fn the_first_signed_login_confirms_and_there_is_no_way_back() {
    let world = World::new(Reactivation::Always).await;
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    assert!(world.is_in(&key).await);

    let device = world.derived();
    let login = world.sign_in(&device.login(NOW, "1"), NOW).await;
    assert_eq!(login.expect("signed").key(), crate::Key::Derived(1));
    assert_eq!(world.lifecycle().await, Lifecycle::Active);
    let names = world.event_names().await;
    assert_eq!(
        names[names.len() - 2..],
        ["key_ended", "activation_confirmed"]
    );

    // Neither its key nor its code, although its product always takes codes.
    assert_eq!(world.refused(SERIAL, &key).await, Refusal::KeyEnded);
    let code = code(SECRET, SERIAL);
    assert_eq!(world.refused(SERIAL, &code).await, Refusal::CodeSpent);

    // But where an operator has opened a window.
    world
        .change(Transition::Reopen { until: after(1000) })
        .await;
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    world
        .sign_in(&device.login(after(1), "1"), after(1))
        .await
        .expect("the old way works until the new one is used");
    assert!(world.is_in(&key).await, "by an operator's leave");
    // From there it may sign again, as any device with a key.
    world
        .sign_in(&device.login(after(2), "1"), after(2))
        .await
        .expect("signed");
    assert_eq!(world.refused(SERIAL, &key).await, Refusal::KeyEnded);
}

#[tokio::test]
async fn a_device_that_was_never_activated_may_sign() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");
    assert_eq!(world.lifecycle().await, Lifecycle::Active);
    assert_eq!(world.door.counts().confirmed, 1);
}

#[tokio::test]
async fn a_login_is_used_once_and_in_order() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let (first, second) = (device.login(NOW, "1"), device.login(NOW, "2"));
    let later = device.login(after(10), "1");
    world.sign_in(&first, NOW).await.expect("new");
    let refusal = world.turned_away(&first, after(1)).await;
    assert_eq!(refusal, Refusal::TokenReplayed);
    world.sign_in(&second, after(1)).await.expect("greater");
    world.sign_in(&later, after(20)).await.expect("later");
    assert_eq!(
        world.turned_away(&second, after(21)).await,
        Refusal::TokenReplayed
    );

    // A start over makes nothing of old good again.
    world.change(Transition::Reset).await;
    assert_eq!(
        world.turned_away(&later, after(30)).await,
        Refusal::TokenReplayed
    );
    assert_eq!(world.lifecycle().await, Lifecycle::Registered);
    assert!(
        world.event_names().await.contains(&"clone_suspected"),
        "operators are told"
    );
}

#[tokio::test]
async fn of_two_at_once_with_one_token_one_gets_in() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let token = world.derived().login(NOW, "1");
    let both = tokio::join!(world.sign_in(&token, NOW), world.sign_in(&token, NOW));
    let admitted = [both.0.is_ok(), both.1.is_ok()];
    assert_eq!(admitted.iter().filter(|is_in| **is_in).count(), 1);
}

#[tokio::test]
async fn times_are_told_only_to_who_can_sign() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let check = async |at: i64, expected| {
        let at = Timestamp::from_millis(NOW.as_millis().saturating_add_signed(at * 1000));
        let refusal = world.turned_away(&device.login(at, "1"), NOW).await;
        assert_eq!(refusal, expected, "{at}");
    };
    check(7200, Refusal::TokenExpired).await;
    check(-7200, Refusal::TokenExpired).await;
    assert_eq!(Refusal::TokenExpired.proof(), crate::Proof::Proved);

    let other = "be0f6928e3653cf175b7f8ebb2da50c6658b30b7";
    let stranger = world.derived_from(other);
    let forged = stranger.login(after(7_200_000), "1");
    assert_eq!(world.turned_away(&forged, NOW).await, Refusal::TokenInvalid);
}

#[tokio::test]
async fn a_token_names_its_device() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["S2"]).await;
    let other_product = world.product(Reactivation::Always, SECRET).await;
    let device = world.derived();

    let elsewhere = Author {
        product: other_product,
        ..world.derived()
    };
    let refusal = world.turned_away(&elsewhere.login(NOW, "1"), NOW).await;
    assert_eq!(refusal, Refusal::UnknownDevice);

    // Another device's name with this device's key, and the other way round.
    let posing = Author {
        serial: Serial::parse("S2").expect("valid"),
        ..world.derived()
    };
    let check = async |username: Option<&str>, token: &str, expected| {
        let attempt = Attempt {
            username,
            password: Some(token.as_bytes()),
            source: HERE,
            hardware: None,
        };
        let admitted = world.door.admit(attempt, NOW).await;
        assert_eq!(admitted.err(), Some(NotAdmitted::Refused(expected)));
    };
    check(Some("S2"), &posing.login(NOW, "1"), Refusal::TokenInvalid).await;
    check(Some("S2"), &device.login(NOW, "1"), Refusal::TokenInvalid).await;
    check(Some("a b"), &device.login(NOW, "1"), Refusal::TokenInvalid).await;
    let qualified = format!("{}/{SERIAL}", world.product);
    for username in [None, Some(qualified.as_str())] {
        let jti = username.map_or("1", |_| "2");
        let token = device.login(NOW, jti);
        let attempt = Attempt {
            username,
            password: Some(token.as_bytes()),
            source: HERE,
            hardware: None,
        };
        assert!(world.door.admit(attempt, NOW).await.is_ok(), "{username:?}");
    }
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
async fn a_device_signs_on_when_its_products_secret_has_ended() {
    const NEWER: &str = "be0f6928e3653cf175b7f8ebb2da50c6658b30b7";
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["S2"]).await;
    let (device, second) = (
        world.derived(),
        Author {
            serial: Serial::parse("S2").expect("valid"),
            ..world.derived()
        },
    );
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");

    let entropy = Counting::default();
    let newer = ProductSecret::parse(NEWER).expect("valid");
    let sealing = world.door.catalogue.sealing();
    let sealed = sealing.seal(&newer, &world.product, 2, &entropy);
    world
        .door
        .rewrite_product(&world.product, None, NOW, |product| {
            product.secrets[0].expires_at = Some(NOW);
            let slot = ProductSecretSlot {
                generation: 2,
                sealed: sealed.clone(),
                expires_at: None,
            };
            product.secrets.insert(0, slot);
        })
        .await
        .expect("rotated");

    world
        .sign_in(&device.login(after(1), "1"), after(1))
        .await
        .expect("its key comes from the earlier secret");
    // A device that has never signed comes with the newer one only.
    let token = Author {
        signer: world.derived_from(SECRET).signer,
        ..second
    }
    .login(NOW, "1");
    let attempt = Attempt {
        username: Some("S2"),
        password: Some(token.as_bytes()),
        source: HERE,
        hardware: None,
    };
    let admitted = world.door.admit(attempt, NOW).await;
    let refused = NotAdmitted::Refused(Refusal::TokenInvalid);
    assert_eq!(admitted.err(), Some(refused));
    // And one that has does not go over to the newer by itself.
    let newer = world.derived_from(NEWER).login(after(2), "1");
    assert_eq!(
        world.turned_away(&newer, after(2)).await,
        Refusal::TokenInvalid
    );
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

#[tokio::test]
async fn a_serial_that_is_registered_anew_knows_no_token_of_before() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let token = world.derived().login(NOW, "1");
    world.sign_in(&token, NOW).await.expect("signed");
    let name = DeviceName::parse(SERIAL).expect("valid");
    let removed = world.door.remove_device(&name, after(5)).await;
    removed.expect("removed");
    let serial = Serial::parse(SERIAL).expect("valid");
    let again = world
        .door
        .register(&world.product, vec![serial.into()], after(10))
        .await;
    again.expect("registered");
    assert_eq!(
        world.turned_away(&token, after(20)).await,
        Refusal::TokenExpired
    );
    let token = world.derived().login(after(10), "1");
    world.sign_in(&token, after(20)).await.expect("its own");
}

#[tokio::test]
async fn counters_are_numbers_that_all_can_tell_apart() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");
    let request = RequestDigest::of("GET", "/", b"");
    for counter in [0, 1 << 53, u64::MAX] {
        let token = device.request(counter, request);
        let verified = world.verify(&token, &request, NOW);
        assert_eq!(
            verified.await.err(),
            Some(Refusal::TokenInvalid),
            "{counter}"
        );
    }
    for counter in [1, 1 << 52] {
        let token = device.request(counter, request);
        let verified = world.verify(&token, &request, NOW);
        assert!(verified.await.is_ok(), "{counter}");
    }
    let token = device.request(2, request);
    let late = world.verify(&token, &request, NOW);
    assert_eq!(late.await.err(), Some(Refusal::TokenReplayed));
    assert!(!world.event_names().await.contains(&"clone_suspected"));
}

#[tokio::test]
async fn requests_are_good_once_in_any_order_for_what_was_signed() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let request = RequestDigest::of("PUT", "/v1/values?a=1", b"17");
    let token = device.request(2, request);
    assert_eq!(
        world.verify(&token, &request, NOW).await.err(),
        Some(Refusal::TokenInvalid),
        "a device that has never signed in"
    );
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("signed");

    let login = world.verify(&token, &request, NOW).await.expect("right");
    assert_eq!(login.serial().as_str(), SERIAL);
    let check = async |token: &str, request: &RequestDigest, now, expected| {
        assert_eq!(world.verify(token, request, now).await.err(), expected);
    };
    check(&token, &request, NOW, Some(Refusal::TokenReplayed)).await;
    let earlier = device.request(1, request);
    check(&earlier, &request, NOW, None).await;
    check(&earlier, &request, NOW, Some(Refusal::TokenReplayed)).await;

    let altered = RequestDigest::of("PUT", "/v1/values?a=1", b"18");
    let third = device.request(3, request);
    check(&third, &altered, NOW, Some(Refusal::RequestAltered)).await;
    check(&third, &request, NOW, None).await;

    let late = device.request(4, request);
    check(&late, &request, after(361_000), Some(Refusal::TokenExpired)).await;
    let login = device.login(after(1), "1");
    check(&login, &request, NOW, Some(Refusal::TokenInvalid)).await;
    assert_eq!(
        world.turned_away(&late, NOW).await,
        Refusal::TokenInvalid,
        "a request's token lets nobody in"
    );

    world.change(Transition::Suspend).await;
    let fifth = device.request(5, request);
    check(&fifth, &request, NOW, Some(Refusal::Suspended)).await;
}

#[tokio::test]
async fn a_session_stays_while_its_signature_would() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let login = world.sign_in(&device.login(NOW, "1"), NOW).await;
    let login = login.expect("signed");
    assert!(world.door.recheck_device(&login).await.is_ok());
    world
        .sign_in(&device.login(after(1), "1"), after(1))
        .await
        .expect("signed");
    assert!(world.door.recheck_device(&login).await.is_ok());
    world.change(Transition::Reset).await;
    assert!(world.door.recheck_device(&login).await.is_err());
}

/// A board by its CPU and its card.
pub(super) fn board(pepper: &Pepper, cpu: &str, card: &str) -> Facts {
    Facts::of(pepper, [(Fact::CpuSerial, cpu), (Fact::SdCard, card)])
}

#[tokio::test]
async fn a_recorded_token_writes_nothing_for_ever() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let token = world.derived().login(NOW, "1");
    world.sign_in(&token, NOW).await.expect("new");
    let before = world.event_names().await;
    for day in 1..4 {
        let late = after(day * 86_400_000);
        let refusal = world.turned_away(&token, late).await;
        assert_eq!(refusal, Refusal::TokenExpired);
    }
    assert_eq!(world.event_names().await, before);
    assert_eq!(world.door.take_refusals().refusals[0].count, 3);
}
