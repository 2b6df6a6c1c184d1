//! What a device does next, given what it holds and what it was told. Pure.
//!
//! The order that makes a power cut harmless: a stored key comes first, the
//! activation code only where there is no key, or the server does not know it.
//! The code is spent when a key is first *used*, so a device that never saw
//! its answer, or lost power with the key unconfirmed, can always go on.

use firstwake::ActivationCode;

use crate::credentials::Stored;
use crate::error::{Refusal, Trouble};

/// One way to introduce oneself to the server.
#[derive(Debug)]
pub(crate) enum Attempt<'a> {
    /// With the key from the credentials file.
    Key(Stored),
    /// With the activation code, to be given a key.
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

/// The first attempt.
pub(crate) fn first(stored: Option<Stored>, code: &ActivationCode) -> Attempt<'_> {
    stored.map_or(Attempt::Code(code), Attempt::Key)
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
        (Setback::Refused(Refusal::WrongKey), Some(code)) => match before {
            None => Step::Now(Attempt::Code(code)),
            Some(_) => Step::Later(Attempt::Code(code), Trouble::KeysRefused),
        },
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
        assert!(matches!(first(Some(key()), &code), Attempt::Key(_)));
        assert!(matches!(first(None, &code), Attempt::Code(_)));
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
