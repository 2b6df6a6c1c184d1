//! From code to confirmed key, and everything that may come between.

use std::fs;
use std::time::Duration;

use firstwake_connector::{ActivateError, Activated, Refusal, Trouble, activate};

use crate::fake::{ACCEPTED, BAD_CREDENTIALS, BUSY, NOT_AUTHORISED};
use crate::fixture::{CODE, Fixture, RESPONSE, answer, code, key, together, with_password};

fn is_now(activated: Result<Activated, ActivateError>) {
    assert!(matches!(activated, Ok(Activated::Now(_))), "{activated:?}");
}

fn is_refused(activated: Result<Activated, ActivateError>, expected: &Refusal) {
    assert!(
        matches!(&activated, Err(ActivateError::Refused(refusal)) if refusal == expected),
        "{activated:?}"
    );
}

#[tokio::test]
async fn a_code_becomes_a_stored_confirmed_key() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            fixture.issues('a').await;
            fixture.takes_key('a', ACCEPTED).await;
        })
        .await;
    is_now(activated);
    assert_eq!(fixture.stored(), Some((key('a'), true)));
    assert_eq!(fixture.files(), ["device.json", "device.json.lock"]);
}

#[tokio::test]
async fn the_key_is_stored_before_it_is_used() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            fixture.issues('a').await;
            let (mut peer, login) = fixture.broker.login().await;
            assert_eq!(login, with_password(&key('a')));
            assert_eq!(fixture.stored(), Some((key('a'), false)));
            peer.connack(ACCEPTED).await;
            peer.disconnect().await;
        })
        .await;
    is_now(activated);
}

#[tokio::test]
async fn activating_again_does_nothing() {
    let fixture = Fixture::new().await;
    fixture.stores('a', true);
    // No script: a connection would be refused, and retried until it hangs.
    let activated = fixture.activate(async {}).await;
    assert!(matches!(activated, Ok(Activated::Already(_))));
}

#[tokio::test]
async fn a_lost_answer_costs_nothing() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            peer.asks_for_a_challenge().await;
            drop(peer);
            assert_eq!(fixture.stored(), None);
            fixture.issues('b').await;
            fixture.takes_key('b', ACCEPTED).await;
        })
        .await;
    is_now(activated);
    assert_eq!(fixture.stored(), Some((key('b'), true)));
}

#[tokio::test]
async fn an_answer_counts_even_if_the_server_closes_at_once() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            peer.asks_for_a_challenge().await;
            peer.message(RESPONSE, &answer('a')).await;
            drop(peer);
            fixture.takes_key('a', ACCEPTED).await;
        })
        .await;
    is_now(activated);
}

#[tokio::test]
async fn a_server_that_never_answers_is_asked_again() {
    let mut fixture = Fixture::new().await;
    fixture.device.pace.answer = Duration::from_millis(20);
    let activated = fixture
        .activate(async {
            let (mut silent, _) = fixture.broker.connack(ACCEPTED).await;
            silent.hung_up().await;
            // It gives up on that one, and comes again with its code.
            fixture.broker.connack(BAD_CREDENTIALS).await;
        })
        .await;
    is_refused(activated, &Refusal::WrongCode);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            fixture.broker.connack(BUSY).await;
            fixture.issues('a').await;
            fixture.takes_key('a', BUSY).await;
            fixture.takes_key('a', ACCEPTED).await;
        })
        .await;
    is_now(activated);
}

#[tokio::test]
async fn refusals_end_it_and_say_why() {
    for (connack, expected) in [
        (BAD_CREDENTIALS, Refusal::WrongCode),
        (NOT_AUTHORISED, Refusal::CodeNotAllowed),
        (2, Refusal::Protocol),
    ] {
        let fixture = Fixture::new().await;
        let activated = fixture
            .activate(async {
                fixture.broker.connack(connack).await;
                if connack == NOT_AUTHORISED {
                    fixture.broker.is_asked_why().await;
                }
            })
            .await;
        is_refused(activated, &expected);
        assert_eq!(fixture.stored(), None);
    }
}

#[tokio::test]
async fn an_error_for_an_answer_ends_it_too() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            peer.asks_for_a_challenge().await;
            let message = "no seats are left for this product: ask an operator for more of them";
            let error = format!(r#"{{"error":{{"code":"no_seats","message":"{message}"}}}}"#);
            peer.message(RESPONSE, &error).await;
            peer.acknowledgement().await;
            peer.disconnect().await;
        })
        .await;
    let error = activated.expect_err("refused").to_string();
    assert!(error.contains("no seats are left"), "{error}");
    assert!(error.ends_with("(no_seats)"), "{error}");
}

#[tokio::test]
async fn a_refused_subscription_ends_it() {
    let fixture = Fixture::new().await;
    let activated = fixture
        .activate(async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            peer.question().await;
            peer.subscription_answered(0x80).await;
        })
        .await;
    is_refused(activated, &Refusal::Subscription);
}

#[tokio::test]
async fn after_a_power_cut_the_stored_key_comes_first() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let activated = fixture.activate(fixture.takes_key('a', ACCEPTED)).await;
    is_now(activated);
    assert_eq!(fixture.stored(), Some((key('a'), true)));
}

#[tokio::test]
async fn a_stored_key_that_no_longer_counts_is_replaced() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let activated = fixture
        .activate(async {
            fixture.takes_key('a', BAD_CREDENTIALS).await;
            fixture.issues('b').await;
            fixture.takes_key('b', ACCEPTED).await;
        })
        .await;
    is_now(activated);
    assert_eq!(fixture.stored(), Some((key('b'), true)));
}

#[tokio::test]
async fn a_stored_key_of_a_revoked_device_is_kept() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let activated = fixture
        .activate(fixture.takes_key('a', NOT_AUTHORISED))
        .await;
    is_refused(activated, &Refusal::KeyNotAllowed);
    assert_eq!(fixture.stored(), Some((key('a'), false)));
}

#[tokio::test]
async fn a_spent_code_makes_it_look_for_a_newer_key() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let activated = fixture
        .activate(async {
            fixture.takes_key('a', BAD_CREDENTIALS).await;
            // Another process on this device activates while this one tries.
            fixture.stores('b', false);
            let (_, login) = fixture.broker.connack(NOT_AUTHORISED).await;
            assert_eq!(login, with_password(CODE));
            fixture.takes_key('b', ACCEPTED).await;
        })
        .await;
    is_now(activated);
    assert_eq!(fixture.stored(), Some((key('b'), true)));
}

#[tokio::test]
async fn a_spent_code_with_no_newer_key_ends_it() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let activated = fixture
        .activate(async {
            fixture.takes_key('a', BAD_CREDENTIALS).await;
            fixture.broker.connack(NOT_AUTHORISED).await;
            fixture.broker.is_asked_why().await;
        })
        .await;
    is_refused(activated, &Refusal::CodeNotAllowed);
}

#[tokio::test]
async fn a_damaged_file_is_not_overwritten() {
    let fixture = Fixture::new().await;
    fixture.stores('a', false);
    let whole = fs::read_to_string(fixture.path()).expect("text");
    let half = &whole[..whole.len() / 2];
    fs::write(fixture.path(), half).expect("written");
    let activated = fixture.activate(async {}).await;
    assert!(
        matches!(activated, Err(ActivateError::Load(_))),
        "{activated:?}"
    );
    assert_eq!(fs::read_to_string(fixture.path()).expect("text"), half);
}

#[tokio::test]
async fn a_key_that_cannot_be_stored_is_never_used() {
    let fixture = Fixture::new().await;
    fs::create_dir(fixture.directory.path().join("device.json.new")).expect("in the way");
    let activated = fixture.activate(fixture.issues('a')).await;
    assert!(
        matches!(activated, Err(ActivateError::Store(_))),
        "{activated:?}"
    );
}

#[tokio::test]
async fn it_gives_up_and_says_what_was_wrong() {
    let fixture = Fixture::new().await;
    let code = code();
    let patience = Duration::from_secs(5);
    let activated = together(activate(&fixture.device, Some(&code), patience), async {
        let (mut peer, _) = fixture.broker.connack(BUSY).await;
        peer.hung_up().await;
        // Nobody answers any more: the clock runs to the end of its patience.
        tokio::time::pause();
    })
    .await;
    let error = activated.expect_err("gave up");
    assert!(
        matches!(
            &error,
            ActivateError::GaveUp {
                last: Some(Trouble::Busy),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "gave up after 5 seconds: the server is busy"
    );
}
