//! Counting what a device must not do: ten within a minute end its session.

use crate::edge::Tick;

/// Forbidden things within the span that end a session.
const LIMIT: usize = 10;
/// Seconds in which they count.
const SPAN: u32 = 60;

/// When a session's last offences were. A well-behaved session keeps nothing.
#[derive(Debug, Default)]
pub(super) struct Offences(Option<Box<Times>>);

#[derive(Debug, Default)]
struct Times(Vec<Tick>);

/// Whether a session may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    Left,
    Gone,
}

impl Offences {
    /// Notes one more.
    pub(super) fn note(&mut self, now: Tick) -> Tolerance {
        let Times(times) = &mut **self.0.get_or_insert_default();
        times.retain(|then| now < then.plus(SPAN));
        times.push(now);
        if times.len() >= LIMIT {
            Tolerance::Gone
        } else {
            Tolerance::Left
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

        let mut slow = Offences::default();
        for n in 0..100 {
            assert_eq!(slow.note(Tick::at(n * 7)), Tolerance::Left, "nine a minute");
        }
    }
}
