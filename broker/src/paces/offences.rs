//! Counting what a device must not do: ten within a minute end its session.

use crate::edge::Tick;

/// Forbidden things within the span that end a session.
const LIMIT: usize = 10;
/// Seconds in which they count.
const SPAN: u32 = 60;

/// When a device's last offences were, the oldest first. A well-behaved device
/// keeps nothing.
#[derive(Debug, Default)]
pub(super) struct Offences(Option<Box<Times>>);

#[derive(Debug, Default)]
struct Times(Vec<Tick>);

/// Whether a session may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    Left,
    /// It ends, and is the first of its device to end for that in this minute.
    Gone,
    /// It ends, and an earlier one of its device did within this minute.
    GoneAgain,
}

impl Offences {
    /// Notes one more.
    pub(super) fn note(&mut self, now: Tick) -> Tolerance {
        let Times(times) = &mut **self.0.get_or_insert_default();
        times.retain(|then| now < then.plus(SPAN));
        let before = times.len();
        if before == LIMIT {
            // The newest are enough to know whether there were ten.
            times.remove(0);
        }
        times.push(now);
        match before {
            LIMIT => Tolerance::GoneAgain,
            _ if times.len() == LIMIT => Tolerance::Gone,
            _ => Tolerance::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_within_a_minute() {
        let mut offences = Offences::default();
        for second in 0..9 {
            assert_eq!(offences.note(Tick::at(second)), Tolerance::Left);
        }
        assert_eq!(offences.note(Tick::at(59)), Tolerance::Gone);
        for _ in 0..1000 {
            assert_eq!(offences.note(Tick::at(59)), Tolerance::GoneAgain);
        }
        assert_eq!(
            offences.0.as_ref().map(|times| times.0.len()),
            Some(LIMIT),
            "memory is bounded"
        );
        assert_eq!(
            offences.note(Tick::at(119)),
            Tolerance::Left,
            "a minute later"
        );

        let mut slow = Offences::default();
        for n in 0..100 {
            assert_eq!(slow.note(Tick::at(n * 7)), Tolerance::Left, "nine a minute");
        }
    }
}
