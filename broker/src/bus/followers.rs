//! How far readers are, so that a flood goes at the pace of those who keep up
//! with it.
//!
//! The router drops what a reader has not taken when its log is full. Before
//! it comes to that, the pump waits for the reader that is furthest behind,
//! and publishers wait for the pump. Only for a moment: a reader that does not
//! take a batch within that is left behind, and what it misses is counted. So
//! nobody who reads on loses anything, and nobody who stands still holds up
//! a device.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Bytes that readers may be behind before the pump waits; the router keeps
/// twice as many.
const AHEAD: usize = 8 * 1024 * 1024;
/// How long the pump waits for one batch to be read.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where all readers are.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Vec<Weak<Follower>>>);

/// Where one reader is.
#[derive(Debug)]
pub(super) struct Follower {
    /// The number of the last message that it read; `u64::MAX` before the
    /// first.
    read: AtomicU64,
    /// Nobody waits for it.
    left_behind: AtomicBool,
}

impl Follower {
    /// Notes what was read.
    pub(super) fn note(&self, number: u64) {
        self.read.store(number, Ordering::Release);
    }

    fn at(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }
}

impl Followers {
    /// Adds a reader that has read nothing yet.
    pub(super) fn join(&self) -> Arc<Follower> {
        let follower = Arc::new(Follower {
            read: AtomicU64::new(u64::MAX),
            left_behind: AtomicBool::new(false),
        });
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|known| known.strong_count() > 0);
        followers.push(Arc::downgrade(&follower));
        follower
    }

    /// The number that the last of those has read who are waited for.
    fn slowest(&self) -> u64 {
        let mut slowest = u64::MAX;
        self.each(|follower| {
            if !follower.left_behind.load(Ordering::Relaxed) {
                slowest = slowest.min(follower.at());
            }
        });
        slowest
    }

    /// Waits no longer for those who have not come as far as this.
    fn leave_behind(&self, passed: u64) {
        self.each(|follower| {
            if follower.at() < passed {
                follower.left_behind.store(true, Ordering::Relaxed);
            }
        });
    }

    fn each(&self, mut see: impl FnMut(&Follower)) {
        let followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = followers.iter().filter_map(Weak::upgrade);
        live.for_each(|follower| see(&follower));
    }
}

/// What the pump has handed on of late.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// The last batches, each with the number of its last message and its
    /// bytes: together no more than readers may be behind.
    recent: VecDeque<(u64, usize)>,
    bytes: usize,
    /// The number of the last message that is no longer among them.
    passed: u64,
}

impl Lead {
    /// Notes a batch that is handed on.
    pub(super) fn note(&mut self, last: u64, bytes: usize) {
        self.recent.push_back((last, bytes));
        self.bytes += bytes;
        while self.bytes > AHEAD
            && let Some((last, bytes)) = self.recent.pop_front()
        {
            self.bytes -= bytes;
            self.passed = last;
        }
    }

    /// Waits until readers are close enough. `pause` sleeps for a moment, and
    /// says how long that was.
    pub(super) fn wait(&self, followers: &Followers, mut pause: impl FnMut() -> Duration) {
        self.wait_again_for(followers);
        let mut waited = Duration::ZERO;
        while followers.slowest() < self.passed {
            if waited >= PATIENCE {
                followers.leave_behind(self.passed);
                return;
            }
            waited += pause();
        }
    }

    /// Whoever was left behind and has caught up counts again.
    fn wait_again_for(&self, followers: &Followers) {
        let near = self.recent.get(self.recent.len() / 2);
        let near = near.map_or(self.passed, |(last, _)| *last);
        followers.each(|follower| {
            if follower.at() >= near {
                follower.left_behind.store(false, Ordering::Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 1024 * 1024;

    /// A pump that hands on batches of one message, each a mebibyte.
    #[derive(Default)]
    struct Bench {
        followers: Followers,
        lead: Lead,
        number: u64,
    }

    impl Bench {
        /// Hands on one batch; how often the pump paused before it.
        fn hand_on(&mut self, mut meanwhile: impl FnMut()) -> u32 {
            let mut pauses = 0;
            self.lead.wait(&self.followers, || {
                pauses += 1;
                meanwhile();
                PATIENCE / 4
            });
            self.number += 1;
            self.lead.note(self.number, BATCH);
            pauses
        }
    }

    #[test]
    fn the_pump_goes_at_the_pace_of_who_reads_on() {
        let mut bench = Bench::default();
        let (fast, slow) = (bench.followers.join(), bench.followers.join());
        slow.note(0);
        let mut at = 0;
        for n in 1..=100 {
            let pauses = bench.hand_on(|| {
                at += 1;
                slow.note(at);
            });
            fast.note(n);
            assert_eq!(pauses, u32::from(n > 9), "eight are ahead at most");
        }
        assert_eq!(at, 91);
    }

    #[test]
    fn who_stands_still_is_left_behind_until_it_is_back() {
        let mut bench = Bench::default();
        let still = bench.followers.join();
        still.note(0);
        let pauses: Vec<u32> = (0..30).map(|_| bench.hand_on(|| {})).collect();
        assert_eq!(pauses.iter().sum::<u32>(), 4, "once, and not for long");
        // It is back near the head: waited for again.
        still.note(28);
        let pauses: Vec<u32> = (0..20).map(|_| bench.hand_on(|| {})).collect();
        assert_eq!(pauses.iter().sum::<u32>(), 4);
    }

    #[test]
    fn who_has_left_or_read_nothing_is_not_waited_for() {
        let mut bench = Bench::default();
        let gone = bench.followers.join();
        gone.note(0);
        drop(gone);
        let _fresh = bench.followers.join();
        let pauses: u32 = (0..50).map(|_| bench.hand_on(|| {})).sum();
        assert_eq!(pauses, 0);
        assert!(bench.lead.recent.len() <= 8, "what is noted is bounded");
    }
}
