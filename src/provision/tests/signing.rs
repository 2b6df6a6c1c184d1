//! Signed logins and requests: who gets in, once, and what there is no way
//! back from.

use super::*;
use crate::clones::OnClone;
use crate::code::DeviceKey;
use crate::event::EventKind;
use crate::hardware::{Fact, Facts, Pepper};
use crate::signed::{LoginClaims, Signer};

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

    pub(super) fn claims<'a>(&'a self, at: Timestamp, jti: &'a str) -> LoginClaims<'a> {
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

    pub(super) async fn set(&self, change: ProductChange) {
        let changed = self.door.change_product(&self.product, change, NOW).await;
        changed.expect("changed");
    }
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
        names[names.len() - 3..],
        ["key_ended", "activation_confirmed", "device_key_used"]
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
    let other_product = world
        .product(Reactivation::Always, super::secrets::NEWER)
        .await;
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

    let newer = ProductSecret::parse(NEWER).expect("valid");
    let rotated = world
        .door
        .rotate_secret(&world.product, Some(newer), Duration::ZERO, NOW);
    assert_eq!(rotated.await.expect("rotated").generation, 2);

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
async fn a_device_that_counts_in_seconds_signs_in_the_second_of_its_registration() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let name = DeviceName::parse(SERIAL).expect("valid");
    let serial = Serial::parse(SERIAL).expect("valid");
    let register = async |at| {
        let new = vec![serial.clone().into()];
        let again = world.door.register(&world.product, new, at).await;
        again.expect("registered");
    };
    let removed = world.door.remove_device(&name, after(400)).await;
    removed.expect("removed");
    register(after(700)).await;
    let of_seconds = world.derived().login(NOW, "1");
    let of_millis = world.derived().login(after(650), "1");
    assert_eq!(
        world.turned_away(&of_millis, after(800)).await,
        Refusal::TokenExpired
    );
    world
        .sign_in(&of_seconds, after(800))
        .await
        .expect("signed");

    // One that was used is not good for the next of this serial.
    let removed = world.door.remove_device(&name, after(850)).await;
    removed.expect("removed");
    register(after(900)).await;
    assert_eq!(
        world.turned_away(&of_seconds, after(950)).await,
        Refusal::TokenExpired
    );
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

#[tokio::test]
async fn a_server_whose_clock_was_ahead_locks_nobody_out() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let early = Timestamp::from_millis(NOW.as_millis() - 7_200_000);
    let token = world.derived().login(early, "1");
    world
        .sign_in(&token, early)
        .await
        .expect("registered later, by the clock");
}

#[tokio::test]
async fn an_alarm_of_a_late_token_names_both_and_takes_both() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world
        .set(ProductChange {
            on_clone: Some(OnClone::Quarantine),
            ..ProductChange::default()
        })
        .await;
    let device = world.derived();
    world
        .sign_in(&device.login(NOW, "1"), NOW)
        .await
        .expect("the original");
    // A copy whose clock is as far ahead as it may be.
    let copy: IpAddr = IpAddr::from([192, 0, 2, 7]);
    let ahead = device.login(after(59_000), "1");
    let attempt = Attempt {
        username: Some(SERIAL),
        password: Some(ahead.as_bytes()),
        source: copy,
        hardware: None,
    };
    let admitted = world.door.admit(attempt, after(1)).await;
    let Ok(admission) = admitted else {
        panic!("{admitted:?}");
    };
    world.door.recheck(&admission).await.expect("it is in");

    let late = device.login(after(2), "2");
    assert_eq!(
        world.turned_away(&late, after(2)).await,
        Refusal::TokenReplayed
    );
    let events = world.registry.events(0, 100).await.expect("readable");
    let evidence = events.iter().find_map(|event| match &event.body.kind {
        EventKind::CloneSuspected { evidence, .. } => Some(evidence.clone()),
        _ => None,
    });
    let evidence = evidence.expect("an alarm");
    assert_eq!((evidence.source, evidence.other), (HERE, Some(copy)));
    // The copy's session ends as well.
    let out = world.door.recheck(&admission).await;
    assert_eq!(out, Err(Refusal::Quarantined.into()));
}

#[tokio::test]
async fn a_used_token_that_was_dated_ahead_is_not_good_for_the_next_device_of_the_serial() {
    for renamed in [false, true] {
        let world = World::new(Reactivation::UntilConfirmed).await;
        let token = world.derived().login(after(59_000), "1");
        world.sign_in(&token, NOW).await.expect("signed");
        let name = DeviceName::parse(SERIAL).expect("valid");
        if renamed {
            let other = Serial::parse("other").expect("valid");
            let done = world.door.rename_device(&name, other, after(1)).await;
            done.expect("renamed");
        } else {
            let done = world.door.remove_device(&name, after(1)).await;
            done.expect("removed");
        }
        let serial = Serial::parse(SERIAL).expect("valid");
        let again = vec![serial.into()];
        let again = world.door.register(&world.product, again, after(2)).await;
        again.expect("registered");

        for at in [3, 30_000, 59_500] {
            let refusal = world.turned_away(&token, after(at)).await;
            assert_eq!(refusal, Refusal::TokenExpired, "renamed {renamed}, {at} ms");
        }
        let names = world.event_names().await;
        assert!(!names.contains(&"clone_suspected"), "{names:?}");
        let own = world.derived().login(after(59_600), "1");
        world.sign_in(&own, after(59_600)).await.expect("its own");
    }
}

#[tokio::test]
async fn a_used_token_is_not_good_for_a_device_that_is_renamed_to_the_serial() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["spare"]).await;
    let token = world.derived().login(after(100), "1");
    world.sign_in(&token, after(100)).await.expect("signed");
    let name = |text: &str| DeviceName::parse(text).expect("valid");
    let removed = world.door.remove_device(&name(SERIAL), after(200)).await;
    removed.expect("removed");
    let serial = Serial::parse(SERIAL).expect("valid");
    let renamed = world
        .door
        .rename_device(&name("spare"), serial, after(300))
        .await;
    renamed.expect("renamed");
    assert_eq!(
        world.turned_away(&token, after(400)).await,
        Refusal::TokenExpired
    );
    let own = world.derived().login(after(500), "1");
    world.sign_in(&own, after(500)).await.expect("its own");
}

#[tokio::test]
async fn a_removal_under_a_wrong_clock_keeps_no_new_device_out() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let year = 365 * 24 * 3600 * 1000;
    let token = world.derived().login(after(year), "1");
    world.sign_in(&token, after(year)).await.expect("signed");
    let name = DeviceName::parse(SERIAL).expect("valid");
    let removed = world.door.remove_device(&name, after(1)).await;
    removed.expect("removed");
    let serial = Serial::parse(SERIAL).expect("valid");
    let again = vec![serial.into()];
    let again = world.door.register(&world.product, again, after(2)).await;
    again.expect("registered");
    let own = world.derived().login(after(3), "1");
    world.sign_in(&own, after(3)).await.expect("its own");
}
