//! The way in, from credential to key, over the memory store.

mod acts;
mod causes;
mod clock;
mod enrolment;
mod hardware;
mod licensing;
mod one_step;
mod pending;
mod requests;
mod secrets;
mod several;
mod signing;

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Lifecycle, Transition};
use crate::entropy::counting::Counting;
use crate::identity::{DeviceName, ProductId, Serial};
use crate::operator::{OperatorName, Role};
use crate::product::Reactivation;
use crate::refusal::Refusal;
use crate::registry::Memory;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";

struct World {
    registry: Arc<Memory>,
    door: Provisioner,
    product: ProductId,
}

impl World {
    async fn new(reactivation: Reactivation) -> Self {
        let registry = Arc::new(Memory::default());
        let entropy = Arc::new(Counting::default());
        let sealing = SealingKey::generate(&*entropy);
        let door = Provisioner::start(Arc::clone(&registry) as _, sealing, entropy)
            .await
            .expect("an empty registry");
        let mut world = Self {
            registry,
            door,
            product: ProductId::parse("abcdefghijklmnopqrst").expect("valid"),
        };
        world.product = world.product(reactivation, SECRET).await;
        world.register(&["0123456789"]).await;
        world
    }

    async fn product(&self, reactivation: Reactivation, secret: &str) -> ProductId {
        let new = NewProduct {
            secret: Some(ProductSecret::parse(secret).expect("valid")),
            reactivation,
            new_datastreams: 2,
            ..NewProduct::named("lamp")
        };
        let made = self.door.create_product(new, NOW).await.expect("made");
        made.0.id
    }

    async fn register(&self, serials: &[&str]) {
        let serials = serials
            .iter()
            .map(|text| Serial::parse(text).expect("valid").into());
        let outcome = self.door.register(&self.product, serials.collect(), NOW);
        outcome.await.expect("registered");
    }

    async fn admit(&self, username: &str, password: &str) -> Result<Admission, NotAdmitted> {
        let attempt = Attempt {
            username: Some(username),
            password: Some(password.as_bytes()),
            source: HERE,
            hardware: None,
        };
        self.door.admit(attempt, NOW).await
    }

    async fn activation(&self) -> Activation {
        match self.admit("0123456789", &code(SECRET, "0123456789")).await {
            Ok(Admission::Activation(activation)) => activation,
            other => panic!("{other:?}"),
        }
    }

    async fn key(&self, activation: &mut Activation) -> String {
        let request = ProvisionRequest::default();
        let answer = self.door.issue(activation, &request, HERE, NOW).await;
        let answer = answer.expect("a key is due");
        let json: serde_json::Value =
            serde_json::from_slice(answer.expose_bytes()).expect("the answer is JSON");
        json["apikey"].as_str().expect("a key").to_owned()
    }

    async fn refused(&self, username: &str, password: &str) -> Refusal {
        match self.admit(username, password).await {
            Err(NotAdmitted::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    async fn is_in(&self, key: &str) -> bool {
        matches!(
            self.admit("0123456789", key).await,
            Ok(Admission::Device(_))
        )
    }

    async fn change(&self, transition: Transition) {
        let name = DeviceName::parse("0123456789").expect("valid");
        let changed = self.door.change_device(&name, transition, NOW).await;
        changed.expect("allowed");
    }

    async fn lifecycle(&self) -> Lifecycle {
        let name = DeviceName::parse("0123456789").expect("valid");
        let device = self.door.find_device(&name).await.expect("registered");
        device.lifecycle()
    }

    async fn event_names(&self) -> Vec<&'static str> {
        let events = self.registry.events(0, 1000).await.expect("readable");
        events
            .iter()
            .map(|event| event.body.kind.as_str())
            .collect()
    }
}

fn code(secret: &str, serial: &str) -> String {
    let secret = ProductSecret::parse(secret).expect("valid");
    ActivationCode::compute(&secret, &Serial::parse(serial).expect("valid")).expose_hex()
}

#[tokio::test]
async fn the_published_code_activates_and_the_key_confirms() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let published = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
    for password in [published.to_owned(), published.to_uppercase()] {
        assert!(world.admit("0123456789", &password).await.is_ok());
    }
    let key = world.key(&mut world.activation().await).await;
    assert_eq!(world.lifecycle().await, Lifecycle::Issued);
    assert!(world.is_in(&key).await);
    assert_eq!(world.lifecycle().await, Lifecycle::Active);
    assert!(world.is_in(&key).await, "and again");
    assert_eq!(
        world.event_names().await,
        [
            "product_created",
            "device_registered",
            "activation_issued",
            "activation_confirmed"
        ]
    );
    assert_eq!(
        world.refused("0123456789", published).await,
        Refusal::CodeSpent
    );
}

#[tokio::test]
async fn strangers_are_refused_by_cause() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["other"]).await;
    let right = code(SECRET, "0123456789");
    let check = async |username: &str, password: &str, expected| {
        assert_eq!(
            world.refused(username, password).await,
            expected,
            "{username} {password}"
        );
    };
    check("nobody", &right, Refusal::UnknownDevice).await;
    check("other", &right, Refusal::WrongCode).await;
    check("0123456789", &"a".repeat(40), Refusal::WrongCode).await;
    check("0123456789", &"a".repeat(48), Refusal::WrongKey).await;
    check("0123456789", &right[1..], Refusal::Malformed).await;
    check("0123456789", &format!("{right}0"), Refusal::Malformed).await;
    check("0123456789", "a.b.c", Refusal::TokenInvalid).await;
    check("no such name!", &right, Refusal::Malformed).await;
    check("", "", Refusal::Malformed).await;
    let wrong_product = format!("{}/0123456789", "z".repeat(20));
    check(&wrong_product, &right, Refusal::UnknownDevice).await;
    let named = format!("{}/0123456789", world.product);
    assert!(world.admit(&named, &right).await.is_ok());

    let nothing = Attempt {
        username: None,
        password: None,
        source: HERE,
        hardware: None,
    };
    let refused = world.door.admit(nothing, NOW).await.err();
    assert_eq!(refused, Some(NotAdmitted::Refused(Refusal::NoCredentials)));
    assert_eq!(world.door.take_refusals().refusals.len(), 6);
    assert_eq!(
        world.event_names().await.len(),
        3,
        "what was not proved is not written down"
    );
}

#[tokio::test]
async fn the_near_miss_is_recognised_and_explained() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let world_two = "be0f6928e3653cf175b7f8ebb2da50c6658b30b7";
    let product = world.product(Reactivation::UntilConfirmed, world_two).await;
    let serial = Serial::parse("123123123").expect("valid");
    let registered = world
        .door
        .register(&product, vec![serial.into()], NOW)
        .await;
    registered.expect("registered");

    let published = "66b02f4c691287144c09e3b76816275742c155b5";
    assert_eq!(
        world.refused("123123123", published).await,
        Refusal::CodeFromTextSecret
    );
    let name = DeviceName::parse("123123123").expect("valid");
    let explained = world.door.explain(&name, NOW).await.expect("known");
    assert_eq!(explained.attempts[0].refusal, Refusal::CodeFromTextSecret);
    assert!(explained.advice.contains("decode the hex"));
}

#[tokio::test]
async fn one_key_for_one_session_and_a_new_one_for_the_next() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let mut lost = world.activation().await;
    let first = world.key(&mut lost).await;
    assert_eq!(world.key(&mut lost).await, first, "repeated byte for byte");
    let mut again = world.activation().await;
    let second = world.key(&mut again).await;
    assert_eq!(lost.feed(), again.feed());
    assert_eq!(world.refused("0123456789", &first).await, Refusal::KeyEnded);
    assert!(world.is_in(&second).await);
}

#[tokio::test]
async fn racing_sessions_end_with_one_working_key() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (mut one, mut two) = (world.activation().await, world.activation().await);
    let (one, two) = tokio::join!(world.key(&mut one), world.key(&mut two));
    let working = [world.is_in(&one).await, world.is_in(&two).await];
    assert_eq!(working.iter().filter(|works| **works).count(), 1);

    // A session admitted before the confirmation gets no key after it.
    let world = World::new(Reactivation::UntilConfirmed).await;
    let (mut fast, mut slow) = (world.activation().await, world.activation().await);
    let key = world.key(&mut fast).await;
    assert!(world.is_in(&key).await);
    let request = ProvisionRequest::default();
    assert_eq!(
        world.door.issue(&mut slow, &request, HERE, NOW).await.err(),
        Some(NotIssued::Refused(Refusal::CodeSpent))
    );
    assert!(world.is_in(&key).await);
}

#[tokio::test]
async fn reactivation_never_kicks_the_working_key() {
    let world = World::new(Reactivation::Always).await;
    let first = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&first).await);
    let second = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&first).await, "until the new one is used");
    assert!(world.is_in(&second).await);
    assert_eq!(world.refused("0123456789", &first).await, Refusal::KeyEnded);
}

#[tokio::test]
async fn a_username_must_not_name_another_device() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["other"]).await;
    let key = world.key(&mut world.activation().await).await;
    let check = async |username: Option<&str>, password: &str, admitted: bool| {
        let attempt = Attempt {
            username,
            password: Some(password.as_bytes()),
            source: HERE,
            hardware: None,
        };
        let outcome = world.door.admit(attempt, NOW).await;
        assert_eq!(outcome.is_ok(), admitted, "{username:?}");
    };
    check(Some("other"), &key, false).await;
    check(Some("2"), &key, false).await;
    check(Some("0123456789"), &key, true).await;
    check(Some("1"), &key, true).await;
    check(Some("somebody"), &key, false).await;
    check(None, &key, true).await;
    check(Some(&key), "whatever", true).await;
}

#[tokio::test]
async fn operators_acts_keep_devices_out() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let key = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&key).await);
    let right = code(SECRET, "0123456789");
    for (act, undo, refusal) in [
        (Transition::Suspend, Transition::Resume, Refusal::Suspended),
        (
            Transition::Quarantine,
            Transition::Release,
            Refusal::Quarantined,
        ),
    ] {
        world.change(act).await;
        assert_eq!(world.refused("0123456789", &key).await, refusal);
        assert_eq!(world.refused("0123456789", &right).await, refusal);
        world.change(undo).await;
        assert!(world.is_in(&key).await);
    }
    world.change(Transition::Revoke).await;
    assert_eq!(world.refused("0123456789", &key).await, Refusal::Revoked);
    world.change(Transition::ResetFromRevoked).await;
    assert_eq!(world.refused("0123456789", &key).await, Refusal::WrongKey);
    let fresh = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&fresh).await);
}

/// Whether another device is called so makes no difference.
#[tokio::test]
async fn a_key_comes_under_its_own_name_or_none() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["other"]).await;
    let key = world.key(&mut world.activation().await).await;
    let named = |product: &str, serial: &str| format!("{product}/{serial}");
    let own = named(world.product.as_str(), "0123456789");
    for name in ["0123456789", "1", "", &own, &key] {
        assert!(world.admit(name, &key).await.is_ok(), "{name}");
    }
    let of_another = named(&"z".repeat(20), "0123456789");
    let others = ["other", "nobody", "2", "77", "no such name!", &of_another];
    for name in others {
        assert_eq!(world.refused(name, &key).await, Refusal::WrongKey, "{name}");
    }
}

#[tokio::test]
async fn an_admission_is_checked_once_more() {
    let world = World::new(Reactivation::Always).await;
    let key = world.key(&mut world.activation().await).await;
    let session = world.admit("0123456789", &key).await.expect("in");
    assert_eq!(world.door.recheck(&session).await, Ok(()));
    let newer = world.key(&mut world.activation().await).await;
    assert_eq!(world.door.recheck(&session).await, Ok(()));
    assert!(world.is_in(&newer).await);
    let ended = |refusal| Err(NotAdmitted::Refused(refusal));
    assert_eq!(world.door.recheck(&session).await, ended(Refusal::KeyEnded));
    let activation = Admission::Activation(world.activation().await);
    world.change(Transition::Suspend).await;
    assert_eq!(
        world.door.recheck(&activation).await,
        ended(Refusal::Suspended)
    );
}

#[tokio::test]
async fn proved_refusals_are_written_down_once_a_minute() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let key = world.key(&mut world.activation().await).await;
    world.change(Transition::Revoke).await;
    for _ in 0..50 {
        world.refused("0123456789", &key).await;
    }
    let before = world.event_names().await;
    let written = before.iter().filter(|name| **name == "activation_refused");
    assert_eq!(written.count(), 1);

    let later = NOW.plus(Duration::from_secs(61));
    let attempt = Attempt {
        username: Some("0123456789"),
        password: Some(key.as_bytes()),
        source: HERE,
        hardware: None,
    };
    let refused = world.door.admit(attempt, later).await;
    assert!(matches!(
        refused,
        Err(NotAdmitted::Refused(Refusal::Revoked))
    ));
    let events = world.registry.events(0, 1000).await.expect("readable");
    let last = &events.last().expect("just written").to_json();
    assert_eq!(
        (&last["refusal"], &last["count"]),
        (&"revoked".into(), &50.into())
    );
}

#[tokio::test]
async fn a_registry_in_trouble_neither_admits_nor_refuses() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let mut activation = world.activation().await;
    let key = world.key(&mut activation).await;
    world.registry.fail_after(0);
    let outcome = world.admit("0123456789", &key).await;
    assert!(matches!(outcome, Err(NotAdmitted::Unavailable(_))));
    let mut other = world.activation().await;
    let request = ProvisionRequest::default();
    let outcome = world.door.issue(&mut other, &request, HERE, NOW).await;
    assert!(matches!(outcome, Err(NotIssued::Unavailable(_))));
    world.registry.recover();
    assert!(world.is_in(&key).await);
}

#[tokio::test]
async fn nothing_is_handed_over_before_it_is_durable() {
    // A disk that acknowledges without syncing is the only way to lose a key.
    let world = World::new(Reactivation::UntilConfirmed).await;
    let key = world.key(&mut world.activation().await).await;
    world.registry.crash();
    assert!(world.is_in(&key).await, "issued before the crash");
    world.registry.crash();
    assert_eq!(world.lifecycle().await, Lifecycle::Active);

    world.change(Transition::Reset).await;
    world.registry.stop_syncing();
    let lost = world.key(&mut world.activation().await).await;
    world.registry.crash();
    assert!(!world.is_in(&lost).await, "the store was told to lose it");
}

#[tokio::test]
async fn operators_log_in_with_their_password() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let name = OperatorName::parse("ops").expect("valid");
    let new = NewOperator {
        name: name.clone(),
        password: "correct horse".to_owned().into(),
        role: Role::Viewer,
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    world.door.add_operator(new, NOW).await.expect("added");
    let session = world.admit("ops", "correct horse").await.expect("in");
    assert!(matches!(&session, Admission::Operator(login) if login.role() == Role::Viewer));
    for _ in 0..3 {
        assert_eq!(
            world.refused("ops", "wrong horse").await,
            Refusal::WrongOperator
        );
    }
    assert_eq!(world.refused("nobody", "x").await, Refusal::Malformed);
    let refused = world.event_names().await;
    let refused = refused.iter().filter(|name| **name == "operator_refused");
    assert_eq!(refused.count(), 1);

    world
        .door
        .remove_operator(&name, NOW)
        .await
        .expect("removed");
    assert!(world.door.recheck(&session).await.is_err());
    assert!(world.door.remove_operator(&name, NOW).await.is_err());
}

#[tokio::test]
async fn names_are_found_with_help() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["ABC"]).await;
    let find = async |text: &str| {
        let name = DeviceName::parse(text).expect("valid");
        world
            .door
            .find_device(&name)
            .await
            .map_err(|e| e.to_string())
    };
    let error = find("abc").await.expect_err("another case");
    assert!(error.contains("did you mean ABC?"), "{error}");

    let other = world.product(Reactivation::Always, secrets::NEWER).await;
    let serial = Serial::parse("ABC").expect("valid");
    let registered = world.door.register(&other, vec![serial.into()], NOW).await;
    registered.expect("registered");
    let error = find("ABC").await.expect_err("in two products");
    for product in [&world.product, &other] {
        assert!(error.contains(&format!("{product}/ABC")), "{error}");
        assert!(find(&format!("{product}/ABC")).await.is_ok());
    }
}

#[tokio::test]
async fn a_registry_is_not_opened_with_the_wrong_key() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let entropy = Arc::new(Counting::default());
    let _ = SealingKey::generate(&*entropy);
    let wrong = SealingKey::generate(&*entropy);
    let refused = Provisioner::start(Arc::clone(&world.registry) as _, wrong, entropy).await;
    assert!(matches!(refused.err(), Some(StartError::Sealing(_))));
}

#[tokio::test]
async fn a_key_that_ended_is_not_handed_out_again() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let mut session = world.activation().await;
    world.key(&mut session).await;
    assert_eq!(world.door.recheck_activation(&session).await, Ok(()));
    world.change(Transition::Reset).await;
    let request = ProvisionRequest::default();
    assert_eq!(
        world
            .door
            .issue(&mut session, &request, HERE, NOW)
            .await
            .err(),
        Some(NotIssued::Refused(Refusal::KeyEnded))
    );
    assert!(world.door.recheck_activation(&session).await.is_err());
}
