//! Feeds' current values on their way from MQTT to the registry.
//!
//! A device that measures ten times a second must not cost ten syncs. So
//! values that come over MQTT wait here, the newest of each datastream alone,
//! and are written together, half a second later at most. An acknowledgement
//! over MQTT says that the bus has the message: a crash may lose what waited
//! here. What HTTP has answered never waited. A clean stop writes everything.
//!
//! The room is bounded. Where the registry does not keep up, values of
//! datastreams that wait already still replace each other; others are left
//! out, counted and told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use firstwake::feed::CurrentValue;
use firstwake::{FeedId, NotKept, Provisioner, RegistryError, Timestamp};
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::broker::Broker;

/// How long values wait.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes that may wait.
const ROOM: usize = 16 * 1024 * 1024;
/// Bytes that are not left to wait any longer.
const PRESSING: usize = ROOM / 4;
/// Feeds written at once: enough to share syncs, few enough that an activation
/// does not wait behind them.
const TOGETHER: usize = 64;

/// Values that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Values {
    waiting: DashMap<FeedId, Vec<CurrentValue>>,
    bytes: AtomicUsize,
    left_out: AtomicU64,
    pressing: Notify,
}

impl Values {
    /// Takes the newest values of a feed. The device may send them.
    pub(crate) fn keep(&self, feed: FeedId, values: Vec<CurrentValue>) {
        if values.is_empty() {
            return;
        }
        let mut waiting = self.waiting.entry(feed).or_default();
        for value in values {
            let known = waiting
                .iter_mut()
                .find(|known| known.datastream == value.datastream);
            let before = self.bytes.load(Ordering::Relaxed);
            match known {
                Some(known) if known.at <= value.at => {
                    self.bytes.fetch_add(size(&value), Ordering::Relaxed);
                    self.bytes.fetch_sub(size(known), Ordering::Relaxed);
                    *known = value;
                }
                Some(_) => {}
                None if before + size(&value) > ROOM => {
                    self.left_out.fetch_add(1, Ordering::Relaxed);
                }
                None => {
                    self.bytes.fetch_add(size(&value), Ordering::Relaxed);
                    waiting.push(value);
                }
            }
            if before > PRESSING {
                self.pressing.notify_one();
            }
        }
    }

    /// A feed's current values, those that still wait included.
    pub(crate) async fn of(
        &self,
        feed: FeedId,
        provisioner: &Provisioner,
    ) -> Result<Vec<CurrentValue>, RegistryError> {
        // First what waits: what is written meanwhile is then read twice, and
        // not missed.
        let waiting = self.waiting.get(&feed).map(|waiting| waiting.clone());
        let mut values = provisioner.registry().values(feed).await?;
        for value in waiting.into_iter().flatten() {
            match values.binary_search_by(|known| known.datastream.cmp(&value.datastream)) {
                Ok(place) if values[place].at <= value.at => values[place] = value,
                Ok(_) => {}
                Err(place) => values.insert(place, value),
            }
        }
        Ok(values)
    }

    /// Writes what waits.
    pub(crate) async fn write(&self, provisioner: &Provisioner, now: Timestamp) {
        let feeds: Vec<FeedId> = self.waiting.iter().map(|entry| *entry.key()).collect();
        let each = |feed| self.write_feed(feed, provisioner, now);
        stream::iter(feeds)
            .for_each_concurrent(TOGETHER, each)
            .await;
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::warn!(left_out, "values came faster than the registry took them");
        }
    }

    async fn write_feed(&self, feed: FeedId, provisioner: &Provisioner, now: Timestamp) {
        let Some(values) = self.waiting.get(&feed).map(|waiting| waiting.clone()) else {
            return;
        };
        match provisioner.keep_values(feed, values.clone(), now).await {
            Ok(()) | Err(NotKept::Unknown(_)) => self.forget(feed, &values),
            Err(NotKept::Unavailable(error)) => {
                tracing::debug!(%error, "values could not be written; trying again");
            }
            // The product allows fewer names than when they were sent: those
            // that are still allowed are kept.
            Err(NotKept::QuotaExceeded) => {
                for value in &values {
                    let alone = provisioner.keep_values(feed, vec![value.clone()], now);
                    if !matches!(alone.await, Err(NotKept::Unavailable(_))) {
                        self.forget(feed, std::slice::from_ref(value));
                    }
                }
            }
        }
    }

    /// Values that are written, or never will be, but for those that were
    /// replaced meanwhile.
    fn forget(&self, feed: FeedId, written: &[CurrentValue]) {
        let Entry::Occupied(mut entry) = self.waiting.entry(feed) else {
            return;
        };
        entry.get_mut().retain(|value| {
            let keep = !written.contains(value);
            if !keep {
                self.bytes.fetch_sub(size(value), Ordering::Relaxed);
            }
            keep
        });
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

/// Bytes that a value takes, about.
fn size(value: &CurrentValue) -> usize {
    size_of::<CurrentValue>() + 64 + value.datastream.as_str().len() + value.value.as_str().len()
}

/// Writes what waits, again and again.
pub(crate) async fn write_behind(broker: Arc<Broker>) {
    let mut pause = interval(PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = pause.tick() => {}
            () = broker.values.pressing.notified() => {}
        }
        let now = broker.clock.now();
        broker.values.write(&broker.provisioner, now).await;
    }
}
