//! The lifecycle table, cell by cell.

use std::time::Duration;

use super::transition::Changed;
use super::*;
use crate::entropy::counting::Counting;
use crate::secret::ApiKey;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn digest(n: usize) -> Key {
    let entropy = Counting::default();
    let mut key = ApiKey::generate(&entropy);
    for _ in 0..n {
        key = ApiKey::generate(&entropy);
    }
    Key::Api(key.digest())
}

fn registered() -> Device {
    Device::registered(
        ProductId::parse("abcdefghijklmnopqrst").expect("valid"),
        Serial::parse("S1").expect("valid"),
        FeedId::new(9).expect("valid"),
        NOW,
    )
}

fn issued() -> Device {
    registered().issue(digest(0), 1, NOW).device
}

fn active() -> Device {
    issued().confirm(NOW).expect("a key is pending").device
}

fn put(device: Device, transition: Transition) -> Device {
    device.apply(transition, NOW).expect("allowed").device
}

fn names(changed: &Changed) -> Vec<&'static str> {
    changed
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect()
}

#[test]
fn the_states_have_their_names() {
    let check = |device: Device, expected| assert_eq!(device.lifecycle(), expected);
    check(registered(), Lifecycle::Registered);
    check(issued(), Lifecycle::Issued);
    check(active(), Lifecycle::Active);
    for base in [registered, issued, active] {
        check(put(base(), Transition::Suspend), Lifecycle::Suspended);
        check(put(base(), Transition::Quarantine), Lifecycle::Quarantined);
        check(put(base(), Transition::Revoke), Lifecycle::Revoked);
        check(put(base(), Transition::Reset), Lifecycle::Registered);
    }
}

#[test]
fn who_may_activate() {
    use Reactivation::{Always, Never, UntilConfirmed};
    let check = |device: &Device, policy, expected: Result<(), Refusal>| {
        assert_eq!(
            device.may_activate(policy, NOW),
            expected,
            "{} {policy}",
            device.lifecycle()
        );
    };
    for policy in [UntilConfirmed, Always, Never] {
        check(&registered(), policy, Ok(()));
        for (transition, refusal) in [
            (Transition::Suspend, Refusal::Suspended),
            (Transition::Quarantine, Refusal::Quarantined),
            (Transition::Revoke, Refusal::Revoked),
        ] {
            check(&put(registered(), transition), policy, Err(refusal));
        }
    }
    check(&issued(), UntilConfirmed, Ok(()));
    check(&issued(), Always, Ok(()));
    check(&issued(), Never, Err(Refusal::CodeSpent));
    check(&active(), UntilConfirmed, Err(Refusal::CodeSpent));
    check(&active(), Always, Ok(()));
    check(&active(), Never, Err(Refusal::CodeSpent));
}

#[test]
fn a_window_opens_the_code_and_closes() {
    let until = NOW.plus(Duration::from_secs(60));
    let open = put(active(), Transition::Reopen { until });
    assert_eq!(open.may_activate(Reactivation::Never, NOW), Ok(()));
    assert_eq!(
        open.may_activate(Reactivation::Never, until),
        Err(Refusal::CodeSpent)
    );
    let used = open.issue(digest(1), 1, NOW).device.confirm(NOW);
    let used = used.expect("a key is pending").device;
    assert_eq!(
        used.may_activate(Reactivation::UntilConfirmed, NOW),
        Err(Refusal::CodeSpent),
        "the window closes with the key it was opened for"
    );
}

#[test]
fn issuing_again_replaces_only_the_pending_key() {
    let again = issued().issue(digest(1), 1, NOW);
    assert_eq!(names(&again), ["key_ended", "activation_issued"]);
    assert_eq!(again.device.keys, Keys::Pending(digest(1)));
    assert_eq!(again.device.ended, digest(0).digest());

    let beside = active().issue(digest(1), 2, NOW);
    assert_eq!(names(&beside), ["activation_issued"]);
    assert_eq!(
        beside.device.keys,
        Keys::Confirmed {
            current: digest(0),
            pending: Some(digest(1))
        }
    );
    assert_eq!(beside.device.lifecycle(), Lifecycle::Active);
}

#[test]
fn confirming_swaps_the_keys() {
    let first = issued().confirm(NOW).expect("a key is pending");
    assert_eq!(names(&first), ["activation_confirmed"]);

    let second = active().issue(digest(1), 1, NOW).device.confirm(NOW);
    let second = second.expect("a key is pending");
    assert_eq!(names(&second), ["key_ended", "activation_confirmed"]);
    assert_eq!(
        second.device.keys,
        Keys::Confirmed {
            current: digest(1),
            pending: None
        }
    );
    assert_eq!(second.device.ended, digest(0).digest());

    assert!(registered().confirm(NOW).is_none());
    assert!(active().confirm(NOW).is_none());
}

#[test]
fn putting_aside_and_taking_back_restores_what_was() {
    for base in [registered(), issued(), active()] {
        for (aside, back) in [
            (Transition::Suspend, Transition::Resume),
            (Transition::Quarantine, Transition::Release),
        ] {
            assert_eq!(put(put(base.clone(), aside), back), base);
        }
    }
}

#[test]
fn reset_keeps_the_feed_and_drops_the_rest() {
    assert_eq!(
        put(active(), Transition::Reset),
        Device {
            generation: 1,
            ..registered()
        }
    );
    assert_eq!(put(active(), Transition::Reset).key_digests().count(), 0);
}

#[test]
fn what_is_not_possible_says_why() {
    let check = |device: Device, transition, expected| {
        assert_eq!(device.apply(transition, NOW).err(), Some(expected));
    };
    let revoked = || put(active(), Transition::Revoke);
    check(
        revoked(),
        Transition::Revoke,
        TransitionError::Already(Lifecycle::Revoked),
    );
    for transition in [
        Transition::Suspend,
        Transition::Quarantine,
        Transition::Reset,
        Transition::Reopen { until: NOW },
    ] {
        check(revoked(), transition, TransitionError::Revoked);
    }
    assert_eq!(
        put(revoked(), Transition::ResetFromRevoked).lifecycle(),
        Lifecycle::Registered
    );
    check(
        put(active(), Transition::Quarantine),
        Transition::Suspend,
        TransitionError::PutAside(Lifecycle::Quarantined),
    );
    check(
        active(),
        Transition::Resume,
        TransitionError::NotIn {
            expected: Lifecycle::Suspended,
            found: Lifecycle::Active,
        },
    );
}
