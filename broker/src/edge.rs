//! Where time and randomness enter: the operating system's, and nobody else's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firstwake::{Entropy, Timestamp};

/// The operating system's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

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
}

/// Whole seconds since the server started: what deadlines are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// The tick `seconds` later.
    pub(crate) fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The tick that never comes.
    pub(crate) const NEVER: Self = Self(u32::MAX);
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Wall-clock time. A clock before 1970 counts as 1970.
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(0).plus(since)
    }

    /// Time since the start; goes on whatever happens to the wall clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Seconds since the start; goes on whatever happens to the wall clock.
    pub(crate) fn tick(&self) -> Tick {
        Tick(u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX - 1))
    }
}
