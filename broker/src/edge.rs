//! Where time and randomness enter: the operating system's, and nobody else's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
}

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

    /// Wall-clock time. A clock before 1970 counts as 1970.
    pub(crate) fn now(&self) -> Timestamp {
        wall_clock()
    }

    /// Now, and since when this has been counting.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            at: wall_clock(),
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

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).plus(since.unwrap_or_default())
}
