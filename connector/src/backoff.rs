//! How long to wait before the next try: exponential, with full jitter.
//!
//! A fleet that lost its server must not come back in step, so the wait is
//! drawn uniformly from zero to the ceiling. The random number is an argument:
//! nothing here draws one, sleeps, or reads a clock.

use std::time::Duration;

/// Waits that grow from `base` to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first wait.
    pub base: Duration,
    /// The ceiling that no wait exceeds.
    pub cap: Duration,
}

impl Default for Backoff {
    /// One second, doubling up to a minute.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait after `failures` earlier ones in a row: `random` (any `u64`,
    /// uniformly drawn) picks a point from zero to [`ceiling`](Self::ceiling).
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        fraction(self.ceiling(failures), random)
    }

    /// `min(cap, base · 2^failures)`.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The wait after a refusal, which only an operator can change: from one
    /// to two caps, so that a refused fleet spreads out too.
    pub fn slow(&self, random: u64) -> Duration {
        self.cap.saturating_add(fraction(self.cap, random))
    }
}

/// `whole · random / 2^64`.
fn fraction(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    let scaled = (u128::from(nanos) * u128::from(random)) >> 64;
    // A product of two 64-bit numbers, shifted by 64, has 64 bits.
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let check = |failures, seconds| {
            assert_eq!(Backoff::default().ceiling(failures), SECOND * seconds);
        };
        check(0, 1);
        check(1, 2);
        check(5, 32);
        check(6, 60);
        check(31, 60);
        check(u32::MAX, 60);
    }

    #[test]
    fn the_wait_is_uniform_below_the_ceiling() {
        let check = |failures, random, expected| {
            assert_eq!(Backoff::default().wait(failures, random), expected);
        };
        check(0, 0, Duration::ZERO);
        check(0, 1 << 63, SECOND / 2);
        check(3, 1 << 63, SECOND * 4);
        check(3, 1 << 62, SECOND * 2);
        assert!(Backoff::default().wait(9, u64::MAX) < SECOND * 60);
    }

    #[test]
    fn a_refusal_waits_at_least_the_cap() {
        assert_eq!(Backoff::default().slow(0), SECOND * 60);
        assert_eq!(Backoff::default().slow(1 << 63), SECOND * 90);
    }
}
