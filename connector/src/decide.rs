//! What a device does next, given what it holds and what it was told. Pure.
//!
//! The order that makes a power cut harmless: a stored secret comes first, the
//! activation code only where there is none, or the server does not know it.
//! The code is spent when a secret is first *used*, so a device that never saw
//! its answer, or lost power with the secret unconfirmed, can always go on.

use firstwake::ActivationCode;

use crate::credentials::Stored;
use crate::error::{Refusal, Trouble};

/// One way to introduce oneself to the server.
#[derive(Debug)]
pub(crate) enum Attempt<'a> {
    /// With the key from the credentials file, or a signature by it.
    Key(Stored),
    /// With the activation code, to be given a key or to enrol one.
    Code(&'a ActivationCode),
}

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(crate) enum Setback {
    /// The server said no.
    Refused(Refusal),
    /// It may work later.
    Trouble(Trouble),
}

/// What to do after a setback.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// This, at once.
    Now(Attempt<'a>),
    /// This, after a wait.
    Later(Attempt<'a>, Trouble),
    /// Nothing more: a person has to do something.
    Stop(Refusal),
}

/// The first attempt; `None` without anything to show. A key pair that the
/// server has not answered to is enrolled again, which changes nothing if it
/// was enrolled before.
pub(crate) fn first(stored: Option<Stored>, code: Option<&ActivationCode>) -> Option<Attempt<'_>> {
    let usable = stored.filter(Stored::may_log_in);
    usable.map(Attempt::Key).or(code.map(Attempt::Code))
}

/// The server did not let this key in. `before` is another key that it refused
/// before: replacing one at once is right, one after the other is a loop.
pub(crate) fn after_key<'a>(
    stored: Stored,
    setback: Setback,
    code: Option<&'a ActivationCode>,
    before: Option<Stored>,
) -> Step<'a> {
    match (setback, code) {
        (Setback::Trouble(trouble), _) => Step::Later(Attempt::Key(stored), trouble),
        // No code replaces what the factory burnt in.
        (Setback::Refused(Refusal::WrongKey), Some(code)) if !stored.is_burnt_in() => {
            match before {
                None => Step::Now(Attempt::Code(code)),
                Some(_) => Step::Later(Attempt::Code(code), Trouble::KeysRefused),
            }
        }
        (Setback::Refused(refusal), _) => Step::Stop(refusal),
    }
}

/// The server gave no key for this code. `untried` is a key in the credentials
/// file that it has not refused: another process may have activated meanwhile.
pub(crate) fn after_code(
    code: &ActivationCode,
    setback: Setback,
    untried: Option<Stored>,
) -> Step<'_> {
    match (setback, untried) {
        (Setback::Trouble(trouble), _) => Step::Later(Attempt::Code(code), trouble),
        (Setback::Refused(refusal), Some(key)) if is_spent(&refusal) => {
            Step::Now(Attempt::Key(key))
        }
        (Setback::Refused(refusal), _) => Step::Stop(refusal),
    }
}

/// Sorts a refusal that came as an answer: a busy server says so there too.
pub(crate) fn answered(code: String, message: String) -> Setback {
    match code.as_str() {
        "overloaded" | "unavailable" => Setback::Trouble(Trouble::Busy),
        "challenge_expired" => Setback::Trouble(Trouble::NoAnswer),
        _ => Setback::Refused(Refusal::Answered { code, message }),
    }
}

/// Whether the code may be spent. CONNACK 5 does not tell it from revoked.
fn is_spent(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::CodeNotAllowed => true,
        Refusal::Answered { code, .. } => code == "code_spent",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> ActivationCode {
        ActivationCode::parse(&"a".repeat(40)).expect("code")
    }

    fn key() -> Stored {
        Stored::for_test("S", 'k')
    }

    fn answer(code: &str) -> Setback {
        answered(code.to_owned(), String::new())
    }

    /// The step in one word, and whether it is with the key or the code.
    fn name(step: &Step<'_>) -> String {
        let attempt = |attempt: &Attempt<'_>| match attempt {
            Attempt::Key(_) => "key",
            Attempt::Code(_) => "code",
        };
        match step {
            Step::Now(next) => format!("now {}", attempt(next)),
            Step::Later(next, _) => format!("later {}", attempt(next)),
            Step::Stop(_) => "stop".to_owned(),
        }
    }

    #[test]
    fn a_stored_key_comes_first() {
        let code = code();
        assert!(matches!(
            first(Some(key()), Some(&code)),
            Some(Attempt::Key(_))
        ));
        assert!(matches!(first(Some(key()), None), Some(Attempt::Key(_))));
        assert!(matches!(first(None, Some(&code)), Some(Attempt::Code(_))));
        assert!(first(None, None).is_none());
    }

    #[test]
    fn a_key_pair_that_nobody_knows_is_enrolled() {
        let code = code();
        let unknown = || Some(Stored::fresh_key_pair_for_test("S", 7));
        assert!(matches!(
            first(unknown(), Some(&code)),
            Some(Attempt::Code(_))
        ));
        assert!(first(unknown(), None).is_none());
        let known = Some(Stored::key_pair_for_test("S", 7));
        assert!(matches!(first(known, Some(&code)), Some(Attempt::Key(_))));
    }

    #[test]
    fn after_a_key() {
        let code = code();
        let check = |setback, given: Option<&ActivationCode>, expected| {
            assert_eq!(name(&after_key(key(), setback, given, None)), expected);
        };
        check(Setback::Trouble(Trouble::Busy), Some(&code), "later key");
        check(Setback::Trouble(Trouble::Busy), None, "later key");
        check(Setback::Refused(Refusal::WrongKey), Some(&code), "now code");
        check(Setback::Refused(Refusal::WrongKey), None, "stop");
        check(
            Setback::Refused(Refusal::KeyNotAllowed),
            Some(&code),
            "stop",
        );
        check(Setback::Refused(Refusal::Protocol), Some(&code), "stop");
    }

    #[test]
    fn a_code_does_not_replace_a_device_key() {
        let code = code();
        let step = after_key(
            Stored::device_key_for_test("S"),
            Setback::Refused(Refusal::WrongKey),
            Some(&code),
            None,
        );
        assert_eq!(name(&step), "stop");
    }

    #[test]
    fn keys_refused_one_after_the_other_are_no_reason_to_hurry() {
        let code = code();
        let refused = || Setback::Refused(Refusal::WrongKey);
        let again = after_key(key(), refused(), Some(&code), Some(key()));
        assert_eq!(name(&again), "later code");
        assert_eq!(
            name(&after_key(key(), refused(), None, Some(key()))),
            "stop"
        );
    }

    #[test]
    fn after_a_code() {
        let code = code();
        let check = |setback, untried: Option<Stored>, expected| {
            assert_eq!(name(&after_code(&code, setback, untried)), expected);
        };
        check(Setback::Trouble(Trouble::NoAnswer), None, "later code");
        check(Setback::Trouble(Trouble::Busy), Some(key()), "later code");
        check(answer("overloaded"), None, "later code");
        check(
            Setback::Refused(Refusal::CodeNotAllowed),
            Some(key()),
            "now key",
        );
        check(Setback::Refused(Refusal::CodeNotAllowed), None, "stop");
        check(answer("code_spent"), Some(key()), "now key");
        check(answer("code_spent"), None, "stop");
        check(answer("revoked"), Some(key()), "stop");
        check(Setback::Refused(Refusal::WrongCode), Some(key()), "stop");
    }
}
