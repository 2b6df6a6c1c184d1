//! The operating system's clock and random generator: the only place of this
//! package that touches them.

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

/// The wall clock, and a count of the time since the plugin was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
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
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::from_millis(0).plus(since.unwrap_or_default())
    }

    /// Time since the start. Changes of the wall clock do not affect it.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
