//! How fast each device goes: what it publishes, what it asks, and what it must
//! not do.
//!
//! These belong to the device, by its feed, and not to a connection: another
//! connection, or another protocol, finds what the last one left. Only devices
//! that did something are kept, and so many at most. Beyond that, those that do
//! least are forgotten first, whose buckets are full anyway.

mod offences;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firstwake::{Bucket, FeedId, Rate};
use quick_cache::unsync::Cache;

use self::offences::Offences;
use crate::edge::Clock;
use crate::limits::Limits;

pub(crate) use self::offences::Tolerance;

/// Parts of the table, each with a lock of its own: devices publish in
/// parallel.
const PARTS: usize = 16;
/// Devices that are kept in each part.
const KEPT: usize = 8192;
/// Questions a second that are carried out in the long run.
const QUESTIONS: u32 = 1;
/// Questions that are carried out at once on top of that.
const QUESTIONS_AT_ONCE: u32 = 4;
/// Wills a second that are published in the long run.
const WILLS: u32 = 1;
/// Wills that are published at once on top of that.
const WILLS_AT_ONCE: u32 = 9;

/// The buckets of devices, by feed.
pub(crate) struct Paces([Mutex<Cache<FeedId, Spent>>; PARTS]);

/// What one device has taken lately.
#[derive(Debug, Default)]
struct Spent {
    publishing: Bucket,
    asking: Bucket,
    wills: Bucket,
    offences: Offences,
}

/// The shortest time until it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFast(pub(crate) Duration);

impl Default for Paces {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(Cache::new(KEPT))))
    }
}

impl Paces {
    /// Takes the token for one message.
    pub(crate) fn publish(
        &self,
        feed: FeedId,
        limits: &Limits,
        clock: Clock,
    ) -> Result<(), TooFast> {
        let rate = Rate::per_second(limits.device_publish_rate, limits.device_publish_burst);
        self.take(feed, rate, |spent| &mut spent.publishing, clock.elapsed())
    }

    /// Takes the token for one question to the server.
    pub(crate) fn ask(&self, feed: FeedId, clock: Clock) -> Result<(), TooFast> {
        let rate = Rate::per_second(QUESTIONS, QUESTIONS_AT_ONCE);
        self.take(feed, rate, |spent| &mut spent.asking, clock.elapsed())
    }

    /// Takes the token for one will.
    pub(crate) fn will(&self, feed: FeedId, clock: Clock) -> Result<(), TooFast> {
        let rate = Rate::per_second(WILLS, WILLS_AT_ONCE);
        self.take(feed, rate, |spent| &mut spent.wills, clock.elapsed())
    }

    /// Notes something that the device must not do.
    pub(crate) fn forbid(&self, feed: FeedId, clock: Clock) -> Tolerance {
        let now = clock.tick();
        let tolerance = self.with(feed, |spent| spent.offences.note(now));
        if tolerance == Tolerance::Gone {
            tracing::warn!(
                %feed,
                "a device did ten forbidden things within a minute: its sessions end, each further one at once"
            );
        }
        tolerance
    }

    fn take(
        &self,
        feed: FeedId,
        rate: Option<Rate>,
        bucket: impl FnOnce(&mut Spent) -> &mut Bucket,
        now: Duration,
    ) -> Result<(), TooFast> {
        let Some(rate) = rate else { return Ok(()) };
        self.with(feed, |spent| bucket(spent).take(rate, now))
            .map_err(TooFast)
    }

    fn with<T>(&self, feed: FeedId, act: impl FnOnce(&mut Spent) -> T) -> T {
        let mut part = self.part(feed);
        if let Some(mut spent) = part.get_mut(&feed) {
            return act(&mut spent);
        }
        let mut spent = Spent::default();
        let done = act(&mut spent);
        part.insert(feed, spent);
        done
    }

    fn part(&self, feed: FeedId) -> MutexGuard<'_, Cache<FeedId, Spent>> {
        let part = &self.0[feed.as_u32() as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(n: u32) -> FeedId {
        FeedId::new(n).expect("valid")
    }

    fn publish(paces: &Paces, feed: FeedId, millis: u64) -> Result<(), TooFast> {
        let now = Duration::from_millis(1_000_000 + millis);
        let rate = Rate::per_second(10, 4);
        paces.take(feed, rate, |spent| &mut spent.publishing, now)
    }

    #[test]
    fn each_device_has_buckets_of_its_own() {
        let paces = Paces::default();
        for _ in 0..5 {
            assert_eq!(publish(&paces, feed(1), 0), Ok(()));
        }
        let wait = TooFast(Duration::from_millis(100));
        assert_eq!(publish(&paces, feed(1), 0), Err(wait));
        assert_eq!(publish(&paces, feed(2), 0), Ok(()));
        assert_eq!(publish(&paces, feed(1), 100), Ok(()));
        let now = Duration::from_millis(1_000_000);
        let rate = Rate::per_second(1, 0);
        let asked = paces.take(feed(1), rate, |spent| &mut spent.asking, now);
        assert_eq!(asked, Ok(()), "questions are counted apart");
    }

    #[test]
    fn many_devices_do_not_have_a_busy_one_forgotten() {
        let paces = Paces::default();
        let mut taken = 0;
        for n in 0..4 * (PARTS * KEPT) as u32 {
            assert_eq!(publish(&paces, feed(1_000_000 + n), 0), Ok(()));
            // The busy one goes on all the while.
            if n % 64 == 0 {
                taken += u32::from(publish(&paces, feed(1), 0).is_ok());
            }
        }
        assert_eq!(taken, 5);
        let kept: usize = paces
            .0
            .iter()
            .map(|part| part.lock().expect("whole").len())
            .sum();
        assert!(kept <= PARTS * KEPT, "{kept}");
    }
}
