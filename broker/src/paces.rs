//! How fast devices write over HTTP.
//!
//! A session has a bucket of its own; a request has no session, so the buckets
//! of those that write are kept here. They are bounded in number: one that was
//! long not asked for makes room, and is full again when it comes back.

use std::sync::Mutex;

use firstwake::{Bucket, FeedId, Rate};
use quick_cache::unsync::Cache;

use crate::edge::Clock;
use crate::limits::Limits;

/// Devices whose bucket is kept.
const KEPT: usize = 16_384;

/// The buckets of devices that write over HTTP.
pub(crate) struct Paces(Mutex<Cache<FeedId, Bucket>>);

/// It writes too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFast;

impl Default for Paces {
    fn default() -> Self {
        Self(Mutex::new(Cache::new(KEPT)))
    }
}

impl Paces {
    /// Takes the token for one message.
    pub(crate) fn take(&self, feed: FeedId, limits: &Limits, clock: Clock) -> Result<(), TooFast> {
        let rate = Rate::per_second(limits.device_publish_rate, limits.device_publish_burst);
        let Some(rate) = rate else {
            return Ok(());
        };
        let mut buckets = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bucket = buckets.get(&feed).cloned().unwrap_or_default();
        let taken = bucket.take(rate, clock.elapsed());
        buckets.insert(feed, bucket);
        taken.map_err(|_wait| TooFast)
    }
}
