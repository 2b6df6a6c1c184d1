//! The time of day that a server goes by.
//!
//! A wall clock can be set to another year and back within a second, by a
//! person or by a time server; what was decided in between (a login that is the
//! newest, a secret that has ended) stays. So a server goes by the clock that
//! only counts on, and takes the wall clock's word for the difference: small
//! corrections at once, a jump only when it has stood for [`HOLD`]. A jump ahead
//! that stood is still no reason to throw anything away for a day: see
//! [`Steady::cautious`].
//!
//! Which clocks these are is for the caller: both are arguments.

use std::time::Duration;

use super::Timestamp;

/// A difference that is taken at once.
pub const TOLERANCE: Duration = Duration::from_secs(60);
/// How long a jump has to stand before it is taken.
pub const HOLD: Duration = Duration::from_secs(5 * 60);
/// How long a time that was reached by a jump ahead is not enough to throw
/// anything away.
pub const CAUTION: Duration = Duration::from_secs(24 * 3600);
/// How much later than the newest event a server may start without a doubt
/// about its clock.
pub const IDLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Milliseconds between the time of day and the clock that counts on.
type Offset = i64;

/// The state of a server's clock.
#[derive(Clone, Debug)]
pub struct Steady {
    /// In use.
    offset: Offset,
    /// Small corrections are held against this one, so that many of them are
    /// no jump: it moves once in [`HOLD`].
    anchor: (Offset, Duration),
    /// The wall clock's, while it is not taken, and since when.
    jump: Option<(Offset, Duration)>,
    caution: Option<Caution>,
    /// No event says what time it was: until then the wall clock is taken at
    /// its word.
    new_until: Duration,
}

/// A doubt about the time in use.
#[derive(Clone, Copy, Debug)]
struct Caution {
    /// The time that there is no doubt about.
    reference: Offset,
    /// A wall clock that comes within so much behind it is right again, and
    /// taken at once.
    reach: Duration,
    until: Duration,
}

/// A change that operators should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The wall clock has jumped, and is not followed yet.
    Jumped(Difference),
    /// The wall clock has stood since a jump, and is followed from now on.
    Followed(Difference),
    /// The wall clock is back where it was, or where it should be.
    Mended,
}

/// How far a wall clock is from a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Later by so much.
    Ahead(Duration),
    /// Earlier by so much.
    Behind(Duration),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (span, word) = match self {
            Self::Ahead(span) => (span, "ahead"),
            Self::Behind(span) => (span, "behind"),
        };
        let span = Duration::from_secs(span.as_secs());
        write!(f, "{} {word}", humantime::format_duration(span))
    }
}

impl Steady {
    /// Goes by the wall clock as it is now.
    pub fn start(elapsed: Duration, wall: Timestamp) -> Self {
        let offset = between(wall, elapsed);
        Self {
            offset,
            anchor: (offset, elapsed),
            jump: None,
            caution: None,
            new_until: elapsed.saturating_add(HOLD),
        }
    }

    /// Compares the clock with the newest event of the registry that was just
    /// opened. Returns the difference if there is reason to doubt the clock: no
    /// time is known to be right then, and the wall clock is taken at its word
    /// when it comes near the newest event.
    pub fn compare(&mut self, elapsed: Duration, newest: Timestamp) -> Option<Difference> {
        self.new_until = elapsed;
        let reference = between(newest, elapsed);
        let doubt = match difference(self.offset, reference) {
            Difference::Ahead(by) if by <= IDLE => return None,
            Difference::Behind(by) if by <= HOLD => return None,
            doubt => doubt,
        };
        self.caution = Some(Caution {
            reference,
            reach: IDLE,
            until: elapsed.saturating_add(CAUTION),
        });
        Some(doubt)
    }

    /// Takes in what both clocks say; returns what is to be reported, if this
    /// is news.
    pub fn observe(&mut self, elapsed: Duration, wall: Timestamp) -> Option<Notice> {
        let seen = between(wall, elapsed);
        if self.caution.is_some_and(|it| it.until <= elapsed) {
            self.caution = None;
        }
        if distance(seen, self.anchor.0) <= TOLERANCE {
            self.offset = seen;
            if elapsed.saturating_sub(self.anchor.1) >= HOLD {
                self.anchor = (seen, elapsed);
            }
            return self.jump.take().map(|_| Notice::Mended);
        }
        let mends = self.caution.is_some_and(|it| it.takes(seen));
        if mends || elapsed < self.new_until {
            self.take(seen, elapsed);
            self.caution = None;
            return Some(Notice::Mended);
        }
        match self.jump {
            Some((jump, since)) if distance(seen, jump) <= TOLERANCE => {
                if elapsed.saturating_sub(since) < HOLD {
                    return None;
                }
                let before = self.offset;
                self.take(seen, elapsed);
                if seen > before {
                    // Of two jumps, the time before the first is the one that
                    // is not in doubt.
                    let first = self.caution.map_or(before, |it| it.reference.min(before));
                    self.caution = Some(Caution {
                        reference: first,
                        reach: TOLERANCE,
                        until: elapsed.saturating_add(CAUTION),
                    });
                }
                Some(Notice::Followed(difference(seen, before)))
            }
            _ => {
                self.jump = Some((seen, elapsed));
                Some(Notice::Jumped(difference(seen, self.offset)))
            }
        }
    }

    fn take(&mut self, seen: Offset, elapsed: Duration) {
        self.offset = seen;
        self.anchor = (seen, elapsed);
        self.jump = None;
    }

    /// The time of day.
    pub fn now(&self, elapsed: Duration) -> Timestamp {
        at(self.offset, elapsed)
    }

    /// The time of day for whatever cannot be undone: what has ended only by a
    /// time that is in doubt is not thrown away yet.
    pub fn cautious(&self, elapsed: Duration) -> Timestamp {
        match self.caution {
            Some(it) if elapsed < it.until => at(self.offset.min(it.reference), elapsed),
            _ => self.now(elapsed),
        }
    }

    /// How far the wall clock is from the time in use, while it is not followed.
    pub fn jump(&self) -> Option<Difference> {
        self.jump.map(|(seen, _)| difference(seen, self.offset))
    }
}

impl Caution {
    fn takes(&self, seen: Offset) -> bool {
        match difference(seen, self.reference) {
            Difference::Ahead(by) => by <= self.reach,
            Difference::Behind(by) => by <= TOLERANCE,
        }
    }
}

fn between(wall: Timestamp, elapsed: Duration) -> Offset {
    let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    wall.saturating_sub(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

fn at(offset: Offset, elapsed: Duration) -> Timestamp {
    let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    let millis = offset.saturating_add(elapsed);
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn distance(one: Offset, other: Offset) -> Duration {
    Duration::from_millis(one.abs_diff(other))
}

fn difference(seen: Offset, from: Offset) -> Difference {
    match seen >= from {
        true => Difference::Ahead(distance(seen, from)),
        false => Difference::Behind(distance(seen, from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 3600;
    const YEAR: u64 = 365 * DAY;
    /// Seconds since 1970 at the start.
    const START: u64 = 1_790_000_000;

    /// Both clocks, in seconds since the start; the wall clock is off by some.
    struct Clocks {
        steady: Steady,
        elapsed: u64,
        off: i64,
    }

    impl Clocks {
        fn at_work() -> Self {
            let mut steady = Steady::start(Duration::ZERO, seconds(START));
            assert_eq!(steady.compare(Duration::ZERO, seconds(START - DAY)), None);
            Self {
                steady,
                elapsed: 0,
                off: 0,
            }
        }

        /// Reads both each second for a while; returns what is reported.
        fn pass(&mut self, span: u64) -> Vec<Notice> {
            let mut notices = Vec::new();
            for _ in 0..span {
                self.elapsed += 1;
                notices.extend(self.read());
            }
            notices
        }

        fn read(&mut self) -> Option<Notice> {
            let wall = (START + self.elapsed).saturating_add_signed(self.off);
            self.steady.observe(self.at(), seconds(wall))
        }

        fn at(&self) -> Duration {
            Duration::from_secs(self.elapsed)
        }

        /// How far the time in use, and the cautious one, are from the truth.
        fn errors(&self) -> (i64, i64) {
            let right = seconds(START + self.elapsed);
            let off = |time: Timestamp| {
                let millis = time.as_millis().cast_signed() - right.as_millis().cast_signed();
                millis / 1000
            };
            (
                off(self.steady.now(self.at())),
                off(self.steady.cautious(self.at())),
            )
        }
    }

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_jump_for_a_moment_is_never_seen() {
        for off in [YEAR.cast_signed(), -YEAR.cast_signed(), 90] {
            let mut clocks = Clocks::at_work();
            clocks.pass(1000);
            clocks.off = off;
            let notices = clocks.pass(4 * MINUTE);
            assert!(matches!(notices[..], [Notice::Jumped(_)]), "{notices:?}");
            assert_eq!(clocks.errors(), (0, 0));
            assert!(clocks.steady.jump().is_some());
            clocks.off = 1;
            assert_eq!(clocks.pass(1), [Notice::Mended]);
            assert_eq!(clocks.errors(), (1, 1));
            assert_eq!(clocks.steady.jump(), None);
            // Another one has to stand as long again.
            clocks.off = off;
            clocks.pass(4 * MINUTE);
            assert_eq!(clocks.errors(), (1, 1));
        }
    }

    #[test]
    fn a_jump_that_stands_is_followed_and_throws_nothing_away_for_a_day() {
        let mut clocks = Clocks::at_work();
        clocks.off = YEAR.cast_signed();
        let notices = clocks.pass(6 * MINUTE);
        assert!(matches!(
            notices[..],
            [Notice::Jumped(_), Notice::Followed(_)]
        ));
        assert_eq!(clocks.errors(), (YEAR.cast_signed(), 0));
        clocks.pass(DAY - 2 * MINUTE);
        assert_eq!(clocks.errors().1, 0);
        clocks.pass(2 * MINUTE);
        assert_eq!(clocks.errors(), (YEAR.cast_signed(), YEAR.cast_signed()));
        // Set right again within the day: at once.
        let mut clocks = Clocks::at_work();
        clocks.off = YEAR.cast_signed();
        clocks.pass(MINUTE * 60);
        clocks.off = 3;
        assert_eq!(clocks.pass(1), [Notice::Mended]);
        assert_eq!(clocks.errors(), (3, 3));
    }

    #[test]
    fn small_corrections_are_taken_at_once_and_many_are_a_jump() {
        let mut clocks = Clocks::at_work();
        clocks.off = 20;
        assert_eq!(clocks.pass(1), []);
        assert_eq!(clocks.errors(), (20, 20));
        for _ in 0..60 {
            clocks.off += 20;
            clocks.pass(1);
        }
        assert!(clocks.errors().0 <= 60, "{:?}", clocks.errors());
        assert!(clocks.steady.jump().is_some());
    }

    /// A board without a battery starts in 1970, and is set right by NTP.
    #[test]
    fn a_clock_that_starts_wrong_is_doubted_and_set_right_at_once() {
        for (wrong, newest, is_ahead) in [
            (0, START - DAY, false),
            (START + YEAR, START - 20 * DAY, true),
        ] {
            let mut steady = Steady::start(Duration::ZERO, seconds(wrong));
            let doubt = steady.compare(Duration::from_secs(1), seconds(newest));
            assert_eq!(matches!(doubt, Some(Difference::Ahead(_))), is_ahead);
            assert!(doubt.is_some());
            let after = |steady: &Steady| steady.cautious(Duration::from_secs(10));
            assert!(after(&steady) <= seconds(newest + 10));
            let right = seconds(START + 9);
            let notice = steady.observe(Duration::from_secs(9), right);
            assert_eq!(notice, Some(Notice::Mended));
            assert_eq!(steady.now(Duration::from_secs(9)), right);
            assert_eq!(steady.cautious(Duration::from_secs(9)), right);
        }
        // A registry that knows of no time follows for its first minutes.
        let mut steady = Steady::start(Duration::ZERO, seconds(5));
        steady.observe(Duration::from_secs(9), seconds(START));
        assert_eq!(steady.now(Duration::from_secs(9)), seconds(START));
    }

    #[test]
    fn a_difference_reads_as_people_say_it() {
        let check = |difference: Difference, expected| {
            assert_eq!(difference.to_string(), expected);
        };
        check(
            Difference::Ahead(Duration::from_millis(90_500)),
            "1m 30s ahead",
        );
        check(Difference::Behind(Duration::from_secs(DAY)), "1day behind");
    }
}
