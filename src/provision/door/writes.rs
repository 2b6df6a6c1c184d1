//! How often peers may have something written to disk.
//!
//! A right credential is never too much in itself: this is asked when a peer
//! is known, and before the write that it wants. One that goes too fast is told
//! to come again, within seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;

use crate::clock::Timestamp;
use crate::identity::{FeedId, ProductId};
use crate::operator::OperatorName;
use crate::throttle::{Bucket, Rate};

/// Writers that are remembered; beyond it, those that write least are
/// forgotten first.
const WRITERS: usize = 65_536;

/// A writer, and what it wants written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::provision) enum Writer {
    /// A device that fetches credentials: 10 at once, one a second.
    Issue(FeedId),
    /// A device that signs and logs in: 20 at once, one a second.
    Login(FeedId),
    /// A device whose requests others have checked: 1,000 at once, 100 a second.
    Request(FeedId),
    /// A product whose devices fetch credentials once more: 200,000 at once,
    /// as many a day. Each device's first are not counted: there are no more
    /// of them than devices.
    Again(ProductId),
    /// An operator that makes tokens, or one that may only look and names
    /// requests: 200 at once, ten a minute.
    Operator(OperatorName),
}

/// It has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provision) struct TooFast;

/// What each writer has had written lately.
pub(in crate::provision) struct Writes(Mutex<Cache<Writer, Bucket>>);

impl Default for Writes {
    fn default() -> Self {
        Self(Mutex::new(Cache::new(WRITERS)))
    }
}

impl Writer {
    fn rate(&self) -> Option<Rate> {
        match self {
            Self::Issue(_) => Rate::per_second(1, 9),
            Self::Login(_) => Rate::per_second(1, 19),
            Self::Request(_) => Rate::per_second(100, 999),
            Self::Again(_) => Rate::per_day(200_000, 199_999),
            Self::Operator(_) => Rate::per_minute(10, 199),
        }
    }
}

impl Writes {
    /// Takes the token for one write.
    pub(in crate::provision) fn take(&self, writer: Writer, now: Timestamp) -> Result<(), TooFast> {
        let Some(rate) = writer.rate() else {
            return Ok(());
        };
        let now = Duration::from_millis(now.as_millis());
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = buckets.get(&writer).copied().unwrap_or_default();
        if bucket.is_ahead(rate, now) {
            // Nobody waits for what a clock that was wrong has counted.
            bucket = Bucket::default();
        }
        bucket.take(rate, now).map_err(|_wait| TooFast)?;
        buckets.insert(writer, bucket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn each_writer_has_its_own_pace() {
        let writes = Writes::default();
        let one = || Writer::Issue(FeedId::new(1).expect("valid"));
        let taken = (0..1000).filter(|_| writes.take(one(), at(0)).is_ok());
        assert_eq!(taken.count(), 10);
        assert_eq!(writes.take(one(), at(1)), Ok(()), "within seconds");
        assert_eq!(writes.take(one(), at(1)), Err(TooFast));
        let login = Writer::Login(FeedId::new(1).expect("valid"));
        assert_eq!(writes.take(login, at(1)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nobody_up() {
        let writes = Writes::default();
        let one = || Writer::Login(FeedId::new(1).expect("valid"));
        assert_eq!(writes.take(one(), at(1_000_000)), Ok(()));
        assert_eq!(writes.take(one(), at(0)), Ok(()));
    }

    #[test]
    fn a_product_has_a_bound_for_a_day() {
        let writes = Writes::default();
        let product = ProductId::parse("abcdefghijklmnopqrst").expect("valid");
        let taken = |seconds| {
            let all = (0..500_000).filter(|_| {
                let again = Writer::Again(product.clone());
                writes.take(again, at(seconds)).is_ok()
            });
            all.count()
        };
        assert_eq!(taken(0), 200_000);
        assert_eq!(taken(24 * 60 * 60), 200_000);
    }

    #[test]
    fn writers_without_number_take_no_memory_without_bound() {
        let writes = Writes::default();
        for n in 1..4 * WRITERS as u32 {
            let writer = Writer::Issue(FeedId::new(n).expect("valid"));
            assert_eq!(writes.take(writer, at(0)), Ok(()));
        }
        let kept = writes.0.lock().expect("not poisoned").len();
        assert!(kept <= WRITERS, "{kept}");
    }
}
