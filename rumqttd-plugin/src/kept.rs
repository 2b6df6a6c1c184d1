//! Activations between the CONNECT that proved the code and the request that
//! asks for the key.
//!
//! In `firstwake serve` an activation lives in its session. Here the two halves
//! never meet: the auth handler sees who connects but not what it publishes,
//! the local link sees what is published but not by whom. The serial in the
//! topic is all that joins them, so this table must never hold two products'
//! activations under one serial: one device would get the other's key.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firstwake::{ProductId, Serial};

/// How long an activation is kept.
const LIFETIME: Duration = Duration::from_secs(60);
/// Activations kept at once. One rumqttd listener accepts fewer than this in a
/// lifetime; beyond it the oldest is forgotten, and its device connects again.
const LIMIT: usize = 65_536;

/// A device of another product is being activated under the same serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SerialTaken;

/// What is kept for each serial, for a minute at most.
pub(super) struct Kept<T> {
    rows: Mutex<Rows<T>>,
    limit: usize,
}

struct Rows<T> {
    live: HashMap<Serial, Row<T>>,
    /// Every row in the order it was kept, and some that are gone already.
    order: VecDeque<(Serial, u64, Duration)>,
    newest: u64,
}

struct Row<T> {
    product: ProductId,
    number: u64,
    value: T,
}

impl<T: Clone> Kept<T> {
    pub(super) fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    fn with_limit(limit: usize) -> Self {
        let rows = Mutex::new(Rows {
            live: HashMap::new(),
            order: VecDeque::new(),
            newest: 0,
        });
        Self { rows, limit }
    }

    /// Keeps this for a minute, in place of what was kept for the same device.
    pub(super) fn keep(
        &self,
        product: &ProductId,
        serial: &Serial,
        value: T,
        now: Duration,
    ) -> Result<(), SerialTaken> {
        let mut rows = self.swept(now);
        if rows
            .live
            .get(serial)
            .is_some_and(|row| row.product != *product)
        {
            return Err(SerialTaken);
        }
        if rows.order.len() == self.limit {
            rows.drop_oldest();
        }
        rows.newest += 1;
        let number = rows.newest;
        rows.order
            .push_back((serial.clone(), number, now + LIFETIME));
        let row = Row {
            product: product.clone(),
            number,
            value,
        };
        rows.live.insert(serial.clone(), row);
        Ok(())
    }

    /// What is kept for this serial.
    pub(super) fn find(&self, serial: &Serial, now: Duration) -> Option<T> {
        let rows = self.swept(now);
        rows.live.get(serial).map(|row| row.value.clone())
    }

    /// Lets go of what is kept for this device.
    pub(super) fn forget(&self, product: &ProductId, serial: &Serial) {
        let mut rows = self.lock();
        if rows
            .live
            .get(serial)
            .is_some_and(|row| row.product == *product)
        {
            rows.live.remove(serial);
        }
    }

    /// The rows without those whose minute is over.
    fn swept(&self, now: Duration) -> MutexGuard<'_, Rows<T>> {
        let mut rows = self.lock();
        while rows.order.front().is_some_and(|(_, _, ends)| *ends <= now) {
            rows.drop_oldest();
        }
        rows
    }

    fn lock(&self) -> MutexGuard<'_, Rows<T>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Rows<T> {
    fn drop_oldest(&mut self) {
        let Some((serial, number, _)) = self.order.pop_front() else {
            return;
        };
        // A later one of the same device stays.
        if self
            .live
            .get(&serial)
            .is_some_and(|row| row.number == number)
        {
            self.live.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(letter: &str) -> ProductId {
        ProductId::parse(&letter.repeat(20)).expect("valid")
    }

    fn serial(text: &str) -> Serial {
        Serial::parse(text).expect("valid")
    }

    #[test]
    fn the_newest_of_a_device_is_kept_for_a_minute() {
        let (kept, lamp, s1) = (Kept::new(), product("a"), serial("S1"));
        assert_eq!(kept.keep(&lamp, &s1, 1, Duration::from_secs(0)), Ok(()));
        assert_eq!(kept.keep(&lamp, &s1, 2, Duration::from_secs(30)), Ok(()));
        assert_eq!(kept.find(&s1, Duration::from_secs(59)), Some(2));
        assert_eq!(
            kept.find(&s1, Duration::from_secs(60)),
            Some(2),
            "the first one's end"
        );
        assert_eq!(kept.find(&s1, Duration::from_secs(89)), Some(2));
        assert_eq!(kept.find(&s1, Duration::from_secs(90)), None);
        assert_eq!(kept.find(&serial("S2"), Duration::from_secs(0)), None);
    }

    #[test]
    fn two_products_never_share_a_serial_at_one_time() {
        let (kept, s1) = (Kept::new(), serial("S1"));
        let (lamp, pump) = (product("a"), product("b"));
        assert_eq!(kept.keep(&lamp, &s1, 1, Duration::from_secs(0)), Ok(()));
        assert_eq!(
            kept.keep(&pump, &s1, 2, Duration::from_secs(59)),
            Err(SerialTaken)
        );
        assert_eq!(kept.find(&s1, Duration::from_secs(59)), Some(1));
        assert_eq!(kept.keep(&pump, &s1, 3, Duration::from_secs(60)), Ok(()));
        kept.forget(&lamp, &s1);
        assert_eq!(
            kept.find(&s1, Duration::from_secs(60)),
            Some(3),
            "not the lamp's"
        );
        kept.forget(&pump, &s1);
        assert_eq!(kept.keep(&lamp, &s1, 4, Duration::from_secs(60)), Ok(()));
        assert_eq!(kept.find(&s1, Duration::from_secs(60)), Some(4));
    }

    #[test]
    fn it_never_grows_beyond_its_limit() {
        let (kept, lamp) = (Kept::with_limit(2), product("a"));
        for (text, value) in [("S1", 1), ("S2", 2), ("S2", 3), ("S3", 4)] {
            assert_eq!(
                kept.keep(&lamp, &serial(text), value, Duration::from_secs(0)),
                Ok(())
            );
            kept.forget(&lamp, &serial("S4"));
            assert!(kept.lock().order.len() <= 2);
        }
        let found = ["S1", "S2", "S3"].map(|text| kept.find(&serial(text), Duration::from_secs(0)));
        assert_eq!(found, [None, Some(3), Some(4)]);
    }
}
