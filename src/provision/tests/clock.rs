//! A server whose clock is set back by a day: nobody gets in who was out, and
//! nobody is kept out who was in.

use super::*;
use crate::ban::Network;
use crate::clones::OnClone;
use crate::hardware::HardwareMode;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_clock_that_is_set_back_changes_who_is_in_for_nobody() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let later = NOW.plus(DAY);
    let at = async |now, password: &str| {
        let attempt = Attempt {
            username: Some("0123456789"),
            password: Some(password.as_bytes()),
            source: HERE,
            hardware: None,
        };
        world.door.admit(attempt, now).await
    };
    let right = code(SECRET, "0123456789");
    let Ok(Admission::Activation(mut activation)) = at(later, &right).await else {
        panic!("the code is right");
    };
    let request = ProvisionRequest::default();
    let answer = world.door.issue(&mut activation, &request, HERE, later);
    let answer = answer.await.expect("a key is due");
    let json: serde_json::Value = serde_json::from_slice(answer.expose_bytes()).expect("JSON");
    let key = json["apikey"].as_str().expect("a key").to_owned();

    // From here on it is a day earlier.
    assert!(at(NOW, &key).await.is_ok(), "a key of later confirms");
    let spent = at(NOW, &right).await.err();
    assert_eq!(spent, Some(NotAdmitted::Refused(Refusal::CodeSpent)));
    let name = DeviceName::parse("0123456789").expect("valid");
    let suspended = world.door.change_device(&name, Transition::Suspend, later);
    suspended.await.expect("allowed");
    let refused = at(NOW, &key).await.err();
    assert_eq!(refused, Some(NotAdmitted::Refused(Refusal::Suspended)));
    world.change(Transition::Resume).await;
    assert!(at(NOW, &key).await.is_ok());

    // What ends at a time ends later, never sooner.
    let network = Network::parse("192.0.2.0/24").expect("valid");
    let banned = world.door.ban(network, Some(DAY), None, later).await;
    banned.expect("written");
    let address = "192.0.2.7".parse().expect("an address");
    assert!(world.door.bans().covers(address, NOW));
    assert!(world.door.bans().covers(address, later));
    assert!(!world.door.bans().covers(address, later.plus(DAY)));

    // The log is in the order of what happened, whatever the clock said.
    let events = world.registry.events(0, 100).await.expect("readable");
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let times: Vec<Timestamp> = events.iter().map(|event| event.body.at).collect();
    assert!(!times.is_sorted(), "its times did go back");
}

/// A server whose clock was a year ahead while a device logged in, and was set
/// right.
#[tokio::test]
async fn a_device_that_logged_in_by_a_clock_that_was_ahead_is_healed_by_a_reset_or_a_release() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    for heal in [Transition::Reset, Transition::Release] {
        let world = World::new(Reactivation::UntilConfirmed).await;
        world.mode(HardwareMode::Off, OnClone::Quarantine).await;
        let device = world.derived();
        let (recorded, ahead) = (device.login(NOW, "1"), NOW.plus(YEAR));
        world.sign_in(&recorded, NOW).await.expect("new");
        world
            .sign_in(&device.login(ahead, "2"), ahead)
            .await
            .expect("newer");
        // Right again. It is out, and no alarm puts it aside for that.
        let later = NOW.plus(Duration::from_secs(90));
        let refused = world.turned_away(&device.login(later, "3"), later).await;
        assert_eq!(refused, Refusal::TokenReplayed);
        assert_eq!(world.lifecycle().await, Lifecycle::Active);
        let name = DeviceName::parse("0123456789").expect("valid");
        let change = async |transition| {
            let changed = world.door.change_device(&name, transition, later).await;
            changed.expect("allowed");
        };
        if heal == Transition::Release {
            change(Transition::Quarantine).await;
        }
        change(heal).await;
        // What was recorded before stays used up, and raises nothing.
        for token in [&recorded, &device.login(NOW.plus(DAY / 2000), "9")] {
            let refused = world.turned_away(token, later).await;
            assert_eq!(refused, Refusal::TokenExpired);
        }
        let token = device.login(later.plus(Duration::from_secs(1)), "4");
        world.sign_in(&token, later).await.expect("healed");
        let again = world.turned_away(&token, later).await;
        assert!(
            matches!(again, Refusal::TokenReplayed | Refusal::Quarantined),
            "{again:?}"
        );
    }
}
