//! Where time and randomness enter: the operating system's, and nobody else's.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firstwake::clock::steady::{Difference, Notice, Steady};
use firstwake::mailbox::Moment;
use firstwake::{Entropy, Timestamp};

/// The operating system's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "without randomness no secret can be made; the kernel's generator does not fail once it is seeded"
        )]
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

/// The clocks of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Sessions that were opened before, and never closed, were cut off.
    alone_since: Timestamp,
    /// Keeps jumps of the wall clock from a server. A command is over too soon
    /// for that.
    guard: Option<&'static Guard>,
}

/// The wall clock of a server, which is followed as [`Steady`] says.
#[derive(Debug)]
struct Guard {
    /// Milliseconds between the wall clock and the time since the start.
    offset: AtomicI64,
    /// The wall clock was where it should be when it was last read closely.
    is_still: AtomicBool,
    steady: Mutex<Steady>,
}

/// Milliseconds that the wall clock may drift before it is read closely.
const DRIFT: u64 = 1000;

/// Time since the server started, in tenths of a second: what deadlines are
/// kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// Ticks in a second.
    pub(crate) const RATE: u32 = 10;

    /// So many seconds after the start.
    #[cfg(test)]
    pub(crate) const fn at(seconds: u32) -> Self {
        Self(seconds * Self::RATE)
    }

    /// The tick `seconds` later.
    pub(crate) fn plus(self, seconds: u32) -> Self {
        self.plus_ticks(seconds.saturating_mul(Self::RATE))
    }

    /// The tick so many ticks later.
    pub(crate) fn plus_ticks(self, ticks: u32) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// The tick that never comes.
    pub(crate) const NEVER: Self = Self(u32::MAX);
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            alone_since: wall_clock(),
            guard: None,
        }
    }

    /// The clocks of a server: one that is guarded against a wall clock that
    /// jumps, and is held against the newest event of its registry.
    #[must_use]
    pub(crate) fn guarded(self, newest: Option<Timestamp>) -> Self {
        let (elapsed, wall) = (self.started.elapsed(), wall_clock());
        let mut steady = Steady::start(elapsed, wall);
        if let Some(doubt) = newest.and_then(|newest| steady.compare(elapsed, newest)) {
            tracing::warn!(
                "the clock is {doubt} of the newest event: if it is wrong, set it right; for a day \
                 nothing is thrown away because of it"
            );
        }
        // One for each server, for as long as the process lives: clocks are
        // copied to wherever time is read.
        let guard = Box::leak(Box::new(Guard::new(steady, elapsed, wall)));
        Self {
            guard: Some(guard),
            ..self
        }
    }

    /// The clocks of one server among others on the same registry: a session
    /// that it knows nothing of may go on at another.
    #[must_use]
    pub(crate) fn among_others(self) -> Self {
        Self {
            alone_since: Timestamp::from_millis(0),
            ..self
        }
    }

    /// The time of day. A clock before 1970 counts as 1970.
    pub(crate) fn now(&self) -> Timestamp {
        match self.guard {
            Some(guard) => guard.now(self.started.elapsed(), wall_clock()),
            None => wall_clock(),
        }
    }

    /// The time of day for what cannot be undone: while the clock is in doubt,
    /// no later than it was before.
    pub(crate) fn cautious(&self) -> Timestamp {
        let now = self.now();
        let elapsed = self.started.elapsed();
        self.guard
            .map_or(now, |guard| guard.lock().cautious(elapsed))
    }

    /// The same with the time since when this has been counting.
    pub(crate) fn cautious_moment(&self) -> Moment {
        Moment {
            at: self.cautious(),
            running_since: self.alone_since,
        }
    }

    /// How far the wall clock is from the time that the server goes by, if it
    /// has jumped.
    pub(crate) fn jump(&self) -> Option<Difference> {
        self.now();
        self.guard.and_then(|guard| guard.lock().jump())
    }

    /// Now, and since when this has been counting.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            at: self.now(),
            running_since: self.alone_since,
        }
    }

    /// Time since the start; goes on whatever happens to the wall clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same in ticks.
    pub(crate) fn tick(&self) -> Tick {
        let tenths = self.started.elapsed().as_millis() * u128::from(Tick::RATE) / 1000;
        Tick(u32::try_from(tenths).unwrap_or(u32::MAX - 1))
    }
}

impl Guard {
    fn new(steady: Steady, elapsed: Duration, wall: Timestamp) -> Self {
        Self {
            offset: AtomicI64::new(offset(elapsed, wall)),
            is_still: AtomicBool::new(true),
            steady: Mutex::new(steady),
        }
    }

    /// The time to go by, when the clocks say this.
    fn now(&self, elapsed: Duration, wall: Timestamp) -> Timestamp {
        let seen = offset(elapsed, wall);
        // Nearly always: no lock is taken for a clock that only goes on.
        if self.is_still.load(Ordering::Acquire)
            && seen.abs_diff(self.offset.load(Ordering::Acquire)) < DRIFT
        {
            return wall;
        }
        let mut steady = self.lock();
        if let Some(notice) = steady.observe(elapsed, wall) {
            report(notice);
        }
        let now = steady.now(elapsed);
        let used = offset(elapsed, now);
        self.offset.store(used, Ordering::Release);
        let is_still = steady.jump().is_none();
        self.is_still.store(is_still, Ordering::Release);
        now
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Steady> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(notice: Notice) {
    match notice {
        Notice::Jumped(by) => tracing::warn!(
            "the machine's clock has jumped: it is {by} of the time that the server goes by, and \
             is followed if it stands for five minutes"
        ),
        Notice::Followed(by) => tracing::warn!(
            "the machine's clock has stood since it jumped: the server's time is now {by} of what \
             it was; for a day nothing is thrown away because of it"
        ),
        Notice::Mended => tracing::info!("the machine's clock is right again"),
    }
}

fn offset(elapsed: Duration, wall: Timestamp) -> i64 {
    let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
    let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    wall.saturating_sub(elapsed)
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).plus(since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_does_not_see_a_clock_that_jumps_for_a_moment() {
        const START: u64 = 1_790_000_000;
        let at = |seconds: u64| Timestamp::from_millis((START + seconds) * 1000);
        let since = Duration::from_secs;
        let mut steady = Steady::start(since(0), at(0));
        assert_eq!(steady.compare(since(0), at(0)), None);
        let guard = Guard::new(steady, since(0), at(0));
        let year = 365 * 86_400;
        for start in [100, 2000] {
            assert_eq!(guard.now(since(start), at(start)), at(start));
            for second in start + 1..start + 200 {
                let seen = guard.now(since(second), at(second + year));
                assert_eq!(seen, at(second), "a year ahead");
                assert!(guard.lock().jump().is_some());
            }
            // Read once, and right: the next jump begins anew.
            let end = start + 200;
            assert_eq!(guard.now(since(end), at(end)), at(end));
            assert_eq!(guard.lock().jump(), None);
        }
        for second in 3000..3400 {
            guard.now(since(second), at(second + year));
        }
        assert_eq!(guard.now(since(3400), at(3400 + year)), at(3400 + year));
        assert_eq!(guard.lock().cautious(since(3400)), at(3400));
    }
}
