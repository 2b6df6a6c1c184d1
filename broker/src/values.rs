//! Feeds' current values on their way from MQTT to the registry.
//!
//! A device that measures ten times a second must not cost ten syncs. So
//! values that come over MQTT wait here, the newest of each datastream alone,
//! and are written together, a second later at most. An acknowledgement
//! over MQTT says that the bus has the message: a crash may lose what waited
//! here. What HTTP has answered never waited. A clean stop writes everything.
//!
//! The room is bounded. Where the registry does not keep up, values of
//! datastreams that wait already still replace each other; others are left
//! out, counted and told.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use firstwake::feed::CurrentValue;
use firstwake::{FeedId, NotKept, Provisioner, RegistryError, Timestamp};
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

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

    /// Waits until values should not be left to wait any longer.
    pub(crate) async fn press(&self) {
        self.pressing.notified().await;
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
        if values.is_empty() {
            // All that came was left out.
            return self.forget(feed, &values);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firstwake::feed::Value;
    use firstwake::registry::Memory;
    use firstwake::{Datastream, DatastreamId, NewProduct, ProductId, SealingKey, Serial};

    use super::*;
    use crate::edge::OsEntropy;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn value(name: &str, text: &str, at: u64) -> CurrentValue {
        CurrentValue {
            datastream: DatastreamId::parse(name).expect("valid"),
            value: Value::parse(text).expect("valid"),
            at: Timestamp::from_millis(NOW.as_millis() - 1000 + at),
        }
    }

    fn feed(number: u32) -> FeedId {
        FeedId::new(number).expect("valid")
    }

    /// A registry with one device, whose product names `a` and allows one more.
    async fn world() -> (Arc<Memory>, Provisioner, ProductId) {
        let registry = Arc::new(Memory::default());
        let sealing = SealingKey::generate(&OsEntropy);
        let provisioner =
            Provisioner::start(Arc::clone(&registry) as _, sealing, Arc::new(OsEntropy));
        let provisioner = provisioner.await.expect("it starts");
        let new = NewProduct {
            datastreams: vec![Datastream::from(DatastreamId::parse("a").expect("valid"))],
            new_datastreams: 1,
            ..NewProduct::named("lamp")
        };
        let (product, _) = provisioner.create_product(new, NOW).await.expect("made");
        let serial = Serial::parse("S1").expect("valid");
        let registered = provisioner
            .register(&product.id, vec![serial.into()], NOW)
            .await;
        registered.expect("registered");
        (registry, provisioner, product.id)
    }

    /// The values as `name=text`.
    fn shown(values: &[CurrentValue]) -> Vec<String> {
        let one = |value: &CurrentValue| format!("{}={}", value.datastream, value.value);
        values.iter().map(one).collect()
    }

    #[tokio::test]
    async fn the_newest_of_each_is_read_at_once_and_written_once() {
        let (_, provisioner, _) = world().await;
        let values = Values::default();
        let read = || values.of(feed(1), &provisioner);
        values.keep(feed(1), vec![value("a", "1", 10), value("b", "1", 10)]);
        values.keep(feed(1), vec![value("a", "2", 20), value("b", "0", 5)]);
        assert_eq!(shown(&read().await.expect("read")), ["a=2", "b=1"]);
        let written = provisioner.registry().values(feed(1)).await.expect("read");
        assert!(written.is_empty());

        values.write(&provisioner, NOW).await;
        let written = provisioner.registry().values(feed(1)).await.expect("read");
        assert_eq!(shown(&written), ["a=2", "b=1"]);
        assert!(values.waiting.is_empty());
        assert_eq!(values.bytes.load(Ordering::Relaxed), 0);
        // One that waits and is older than what is written does not hide it.
        values.keep(feed(1), vec![value("a", "old", 1)]);
        assert_eq!(shown(&read().await.expect("read")), ["a=2", "b=1"]);
    }

    #[tokio::test]
    async fn what_cannot_be_written_waits_and_what_never_can_is_dropped() {
        let (registry, provisioner, _) = world().await;
        let values = Values::default();
        values.keep(feed(1), vec![value("a", "1", 10)]);
        registry.fail_after(0);
        values.write(&provisioner, NOW).await;
        assert_eq!(values.waiting.len(), 1, "the registry is in trouble");
        registry.recover();
        // Two names of its own are one too many: what is allowed is kept.
        let more = vec![value("b", "1", 10), value("c", "1", 10)];
        values.keep(feed(1), more);
        values.keep(feed(99), vec![value("a", "nobody's", 10)]);
        values.write(&provisioner, NOW).await;
        assert!(values.waiting.is_empty());
        let written = provisioner.registry().values(feed(1)).await.expect("read");
        assert_eq!(shown(&written), ["a=1", "b=1"]);
    }

    #[test]
    fn the_room_is_bounded() {
        let values = Values::default();
        let long = "x".repeat(1024);
        let each = size(&value("a", &long, 0));
        let most = u32::try_from(ROOM / each).expect("small");
        for number in 1..=most + 10 {
            values.keep(feed(number), vec![value("a", &long, 0)]);
        }
        assert!(values.bytes.load(Ordering::Relaxed) <= ROOM);
        assert_eq!(values.left_out.load(Ordering::Relaxed), 10);
        // What waits is still replaced.
        values.keep(feed(1), vec![value("a", "new", 1)]);
        let waits = values.waiting.get(&feed(1)).expect("it waits");
        assert_eq!(shown(&waits), ["a=new"]);
    }
}
