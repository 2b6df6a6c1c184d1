//! Keys that were issued and not used yet: what ends them.

use super::secrets::NEWER;
use super::signing::{SERIAL, after};
use super::*;

impl World {
    /// Ends the product's first secret now, by a rotation without grace.
    async fn end_first_secret(&self) {
        let newer = ProductSecret::parse(NEWER).expect("valid");
        let rotated = self
            .door
            .rotate_secret(&self.product, Some(newer), Duration::ZERO, NOW);
        rotated.await.expect("rotated");
    }
}

#[tokio::test]
async fn a_pending_key_ends_with_the_secret_that_it_was_issued_on() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let pending = world.key(&mut world.activation().await).await;
    world.end_first_secret().await;
    assert_eq!(world.refused(SERIAL, &pending).await, Refusal::KeyEnded);
    assert_eq!(world.lifecycle().await, Lifecycle::Issued);

    // The device comes with a code of the new secret.
    let admitted = world.admit(SERIAL, &code(NEWER, SERIAL)).await;
    let Ok(Admission::Activation(mut activation)) = admitted else {
        panic!("{admitted:?}");
    };
    let key = world.key(&mut activation).await;
    assert!(world.is_in(&key).await);
}

#[tokio::test]
async fn a_confirmed_key_outlives_the_secret() {
    let world = World::new(Reactivation::Always).await;
    let key = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&key).await);
    let pending = world.key(&mut world.activation().await).await;
    world.end_first_secret().await;
    assert_eq!(world.refused(SERIAL, &pending).await, Refusal::KeyEnded);
    assert!(world.is_in(&key).await);
}

#[tokio::test]
async fn nothing_is_issued_in_a_session_whose_secret_has_ended() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let mut activation = world.activation().await;
    world.end_first_secret().await;
    let request = ProvisionRequest::default();
    let issued = world
        .door
        .issue(&mut activation, &request, HERE, after(1))
        .await;
    assert!(matches!(
        issued,
        Err(NotIssued::Refused(Refusal::SecretEnded))
    ));
    assert_eq!(world.lifecycle().await, Lifecycle::Registered);
}

#[tokio::test]
async fn a_key_from_one_window_is_not_good_in_the_next() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let first = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&first).await);

    let until = after(60_000);
    world.change(Transition::Reopen { until }).await;
    let kept = world.key(&mut world.activation().await).await;
    world.change(Transition::Reopen { until }).await;
    assert_eq!(world.refused(SERIAL, &kept).await, Refusal::KeyEnded);
    assert!(world.is_in(&first).await, "the key in use is not touched");

    // The window itself is open.
    let next = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&next).await);
}

#[tokio::test]
async fn a_key_from_a_window_ends_with_the_window() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let first = world.key(&mut world.activation().await).await;
    assert!(world.is_in(&first).await);
    let until = after(60_000);
    world.change(Transition::Reopen { until }).await;
    let kept = world.key(&mut world.activation().await).await;

    let attempt = Attempt {
        username: Some(SERIAL),
        password: Some(kept.as_bytes()),
        source: HERE,
        hardware: None,
    };
    let late = world.door.admit(attempt, until).await;
    assert_eq!(late.map(drop), Err(Refusal::KeyEnded.into()));
    assert!(world.is_in(&first).await, "the key in use is not touched");
}

#[tokio::test]
async fn a_signing_devices_key_from_one_window_is_not_good_in_the_next() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let device = world.derived();
    let signed = world.sign_in(&device.login(NOW, "1"), NOW).await;
    signed.expect("a signed login");

    let until = after(60_000);
    world.change(Transition::Reopen { until }).await;
    let kept = world.key(&mut world.activation().await).await;
    world.change(Transition::Reopen { until }).await;
    assert_eq!(world.refused(SERIAL, &kept).await, Refusal::KeyEnded);
    let signed = world.sign_in(&device.login(after(1), "2"), after(1)).await;
    signed.expect("it signs on");
}
