//! Points in time as devices write them.
//!
//! RFC 3339, which is what Xively asked for. What shipped clients do beyond it
//! is read too: a space for the `T`, an offset without its colon, and no zone
//! at all, which means UTC. A time is never guessed at: what cannot be read is
//! an error, not "now".

use std::borrow::Cow;
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;

/// So far ahead of the server a device's clock may be. Many write local time
/// and call it UTC; but a value from far ahead would keep all later ones out.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text is no time of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTime {
    /// It is no time at all.
    #[error("a time is written as in 2026-03-01T12:30:00Z or 2026-03-01T13:30:00.250+01:00")]
    Unreadable,
    /// Before 1970.
    #[error("the time lies before 1970: set the device's clock, or leave the time out")]
    TooEarly,
    /// See [`AHEAD`].
    #[error(
        "the time lies more than a day ahead of the server's clock: set the device's clock, or leave the time out"
    )]
    Ahead,
}

/// Reads the time of a value that came at `now`.
pub(super) fn read(text: &str, now: Timestamp) -> Result<Timestamp, NoTime> {
    let text = text.trim();
    let time = OffsetDateTime::parse(&spelled_out(text), &Rfc3339);
    let nanos = time.map_err(|_| NoTime::Unreadable)?.unix_timestamp_nanos();
    let millis = u64::try_from(nanos.div_euclid(1_000_000)).map_err(|_| NoTime::TooEarly)?;
    let at = Timestamp::from_millis(millis);
    if at > now.plus(AHEAD) {
        return Err(NoTime::Ahead);
    }
    Ok(at)
}

/// The same time with the zone that it lacks, or the colon.
fn spelled_out(text: &str) -> Cow<'_, str> {
    // A date has ten characters; the sign of an offset comes behind them.
    let Some((date, clock)) = text.split_at_checked(10) else {
        return Cow::Borrowed(text);
    };
    match clock.rfind(['+', '-']) {
        Some(sign) => {
            let (clock, offset) = clock.split_at(sign);
            match offset.len() {
                5 if offset.is_ascii() && !offset.contains(':') => {
                    let (hours, minutes) = offset.split_at(3);
                    Cow::Owned(format!("{date}{clock}{hours}:{minutes}"))
                }
                _ => Cow::Borrowed(text),
            }
        }
        None if clock.ends_with(['Z', 'z']) => Cow::Borrowed(text),
        None => Cow::Owned(format!("{text}Z")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    #[test]
    fn times() {
        let check = |text: &str, expected: Result<&str, NoTime>| {
            let read = read(text, NOW).map(|at| at.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        };
        check("2025-12-31T12:00:00Z", Ok("2025-12-31T12:00:00.000Z"));
        check("2025-12-31T12:00:00z", Ok("2025-12-31T12:00:00.000Z"));
        check(" 2025-12-31T12:00:00.5Z ", Ok("2025-12-31T12:00:00.500Z"));
        check(
            "2025-12-31T12:00:00.123456Z",
            Ok("2025-12-31T12:00:00.123Z"),
        );
        check("2025-12-31T12:00:00+02:00", Ok("2025-12-31T10:00:00.000Z"));
        check("2025-12-31T12:00:00-0330", Ok("2025-12-31T15:30:00.000Z"));
        check("2025-12-31T12:00:00", Ok("2025-12-31T12:00:00.000Z"));
        check("2025-12-31 12:00:00", Ok("2025-12-31T12:00:00.000Z"));
        check("1970-01-01T00:00:00Z", Ok("1970-01-01T00:00:00.000Z"));
        check("2026-01-01T23:59:59Z", Ok("2026-01-01T23:59:59.000Z"));
        check("2026-01-02T00:00:01Z", Err(NoTime::Ahead));
        check("1969-12-31T23:59:59.999Z", Err(NoTime::TooEarly));
        for wrong in [
            "",
            "now",
            "1767225600",
            "2025-12-31",
            "2025-13-31T12:00:00Z",
            "2025-02-30T12:00:00Z",
            "2025-12-31T12:00:00+00:00Z",
            "2025-12-31T12:00:00+2",
            "2025-12-31T12:00:00 UTC",
            "é025-12-31T12:00:00Z",
        ] {
            check(wrong, Err(NoTime::Unreadable));
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_prints(millis in 0u64..1_767_312_000_000) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(read(&at.to_string(), NOW), Ok(at));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = read(&text, NOW);
        }
    }
}
