//! How often something may happen: one token bucket, and the failures of each
//! source counted with it.
//!
//! Codes cannot be guessed; what is protected here is the processor, the logs
//! and operators' eyes. Nothing in this module ever keeps a right credential
//! out: whoever asks it has verified first. Time is an argument.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;

use crate::clock::Timestamp;
use crate::source::Source;

/// Sources whose failures are remembered; beyond it, those that failed least
/// are forgotten first.
const SOURCES: usize = 16_384;

/// So many in the long run, and so many at once on top of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one costs.
    each: u64,
    /// Nanoseconds that may be owed.
    credit: u64,
}

impl Rate {
    /// `count` a second; `None`, any number, if that is 0.
    pub fn per_second(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(1), count, burst)
    }

    /// `count` a minute; `None`, any number, if that is 0.
    pub fn per_minute(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(60), count, burst)
    }

    /// `count` a day; `None`, any number, if that is 0.
    pub fn per_day(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(24 * 60 * 60), count, burst)
    }

    fn per(span: Duration, count: u32, burst: u32) -> Option<Self> {
        let each = nanoseconds(span).checked_div(count.into())?.max(1);
        Some(Self {
            each,
            credit: each.saturating_mul(burst.into()),
        })
    }
}

/// One token bucket, in eight bytes: until when what was taken is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(u64);

impl Bucket {
    /// Takes a token, or says how long it takes until there is one. `now`
    /// counts from any fixed point.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let now = nanoseconds(now);
        self.settle(rate, now);
        match self.0.saturating_sub(now.saturating_add(rate.credit)) {
            0 => {
                self.0 = self.0.max(now).saturating_add(rate.each);
                Ok(())
            }
            left => Err(Duration::from_nanos(left)),
        }
    }

    /// Whether there is no token now. Asking costs none.
    pub fn is_empty(mut self, rate: Rate, now: Duration) -> bool {
        let now = nanoseconds(now);
        self.settle(rate, now);
        self.0 > now.saturating_add(rate.credit)
    }

    /// Whether it was taken from at a time that is yet to come: the clock was
    /// set back since.
    pub(crate) fn is_ahead(self, rate: Rate, now: Duration) -> bool {
        let mut settled = self;
        settled.settle(rate, nanoseconds(now));
        settled != self
    }

    /// A clock that was set back must not make anybody wait for it to catch
    /// up: nobody ever owes more than the credit and one.
    fn settle(&mut self, rate: Rate, now: u64) {
        let most = now.saturating_add(rate.credit).saturating_add(rate.each);
        self.0 = self.0.min(most);
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as it is known.
    AtOnce,
    /// The source has failed too often: it waits.
    Slowly,
}

/// What each source has failed at lately.
pub(crate) struct Failures {
    rate: Option<Rate>,
    buckets: Mutex<Cache<Source, Bucket>>,
}

impl Failures {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            buckets: Mutex::new(Cache::new(SOURCES)),
        }
    }

    /// Counts one more.
    pub(crate) fn note(&self, source: Source, now: Timestamp) {
        let Some(rate) = self.rate else { return };
        let now = Duration::from_millis(now.as_millis());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = buckets.get(&source).copied().unwrap_or_default();
        // An empty bucket stays empty: there is nothing more to count.
        if bucket.take(rate, now).is_ok() {
            buckets.insert(source, bucket);
        }
    }

    /// How a source is told of its next failure.
    pub(crate) fn pace(&self, source: Source, now: Timestamp) -> Pace {
        let Some(rate) = self.rate else {
            return Pace::AtOnce;
        };
        let now = Duration::from_millis(now.as_millis());
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        match buckets.peek(&source) {
            Some(bucket) if bucket.is_empty(rate, now) => Pace::Slowly,
            _ => Pace::AtOnce,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::per_second(2, 3).expect("not 0");
        let mut bucket = Bucket::default();
        let start = 100 * SECOND;
        for _ in 0..4 {
            assert_eq!(bucket.take(rate, start), Ok(()), "one, and three on top");
        }
        let wait = Duration::from_millis(500);
        assert!(bucket.is_empty(rate, start));
        assert_eq!(bucket.take(rate, start), Err(wait));
        assert_eq!(bucket.take(rate, start), Err(wait), "asking costs nothing");
        assert_eq!(bucket.take(rate, start + wait), Ok(()));
        assert_eq!(bucket.take(rate, start + wait), Err(wait));
        assert_eq!(Rate::per_second(0, 3), None);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_for_it() {
        let rate = Rate::per_second(1, 0).expect("not 0");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(rate, 5000 * SECOND), Ok(()));
        assert_eq!(bucket.take(rate, SECOND), Err(SECOND));
        assert_eq!(bucket.take(rate, 2 * SECOND), Ok(()));
    }

    #[test]
    fn failures_are_counted_by_source() {
        let failures = Failures::new(Rate::per_minute(20, 2));
        let source = |n: u8| Source::from(IpAddr::from([10, 0, 0, n]));
        let at = |seconds: u64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1000);
        for _ in 0..3 {
            assert_eq!(failures.pace(source(1), at(0)), Pace::AtOnce);
            failures.note(source(1), at(0));
        }
        assert_eq!(failures.pace(source(1), at(0)), Pace::Slowly);
        assert_eq!(failures.pace(source(2), at(0)), Pace::AtOnce);
        for _ in 0..1000 {
            failures.note(source(1), at(0));
        }
        assert_eq!(failures.pace(source(1), at(3)), Pace::AtOnce, "20 a minute");
        let any = Failures::new(None);
        any.note(source(1), at(0));
        assert_eq!(any.pace(source(1), at(0)), Pace::AtOnce);
    }

    #[test]
    fn sources_without_number_take_no_memory_without_bound() {
        let failures = Failures::new(Rate::per_minute(20, 0));
        for n in 0..4 * SOURCES as u32 {
            let source = Source::from(IpAddr::from(n.to_be_bytes()));
            failures.note(source, Timestamp::from_millis(0));
        }
        let kept = failures.buckets.lock().expect("not poisoned").len();
        assert!(kept <= SOURCES, "{kept}");
    }

    proptest! {
        /// Whatever the pattern, no more than burst and rate allow.
        #[test]
        fn never_more_than_the_rate(
            count in 1u32..100, burst in 0u32..100,
            steps in proptest::collection::vec(0u64..200, 1..300),
        ) {
            let rate = Rate::per_second(count, burst).expect("not 0");
            let (mut bucket, mut now, mut taken) = (Bucket::default(), 1_000_000, 0u64);
            for step in steps {
                now += step;
                if bucket.take(rate, Duration::from_millis(now)).is_ok() {
                    taken += 1;
                }
            }
            let span = now - 1_000_000;
            let most = u64::from(burst) + 2 + span * u64::from(count) / 1000;
            prop_assert!(taken <= most, "{} of {}", taken, most);
        }
    }
}
