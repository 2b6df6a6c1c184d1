//! Values that the server has not acknowledged yet, oldest first. Pure.
//!
//! Bounded: when it is full, the oldest value that is not on the wire makes
//! room. Nothing leaves it any other way than acknowledged or displaced, so a
//! lost connection loses no value (and may deliver one twice: QoS 1).

use std::collections::VecDeque;

use crate::values::Value;

/// How many values wait at most.
pub(crate) const CAPACITY: usize = 1_000;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Those under way come before those that wait.
    entries: VecDeque<Entry>,
}

/// Whether another value fits without displacing one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Left,
    Full,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Handed to the connection, packet id not known yet.
    HandedOver,
    /// On the wire under this packet id.
    Sent(u16),
}

impl Outbox {
    /// Adds a value; returns the one that it displaced.
    pub(crate) fn push(&mut self, value: Value) -> Option<Value> {
        let displaced = if self.room() == Room::Full {
            self.entries.remove(self.under_way())
        } else {
            None
        };
        self.entries.push_back(Entry {
            value,
            stage: Stage::Waiting,
        });
        displaced.map(|entry| entry.value)
    }

    /// The next value to hand over, unless `window` values are under way.
    pub(crate) fn hand_over(&mut self, window: usize) -> Option<&Value> {
        let next = self.under_way();
        let entry = self.entries.get_mut(next).filter(|_| next < window)?;
        entry.stage = Stage::HandedOver;
        Some(&entry.value)
    }

    /// The oldest value handed over went out under this packet id.
    pub(crate) fn sent(&mut self, packet_id: u16) {
        let oldest = self
            .entries
            .iter_mut()
            .find(|entry| entry.stage == Stage::HandedOver);
        if let Some(entry) = oldest {
            entry.stage = Stage::Sent(packet_id);
        }
    }

    /// The server has the value with this packet id.
    pub(crate) fn acknowledged(&mut self, packet_id: u16) {
        self.entries
            .iter()
            .position(|entry| entry.stage == Stage::Sent(packet_id))
            .and_then(|index| self.entries.remove(index));
    }

    /// The connection is gone: everything waits again, in its order.
    pub(crate) fn disconnected(&mut self) {
        for entry in &mut self.entries {
            entry.stage = Stage::Waiting;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether another value would displace one.
    pub(crate) fn room(&self) -> Room {
        if self.entries.len() < CAPACITY {
            Room::Left
        } else {
            Room::Full
        }
    }

    fn under_way(&self) -> usize {
        self.entries
            .iter()
            .take_while(|entry| entry.stage != Stage::Waiting)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::parse_line;

    fn value(number: usize) -> Value {
        parse_line(&format!("n={number}"), None)
            .expect("a value")
            .expect("not blank")
    }

    fn with(count: usize) -> Outbox {
        let mut outbox = Outbox::default();
        for number in 0..count {
            assert_eq!(outbox.push(value(number)), None);
        }
        outbox
    }

    fn hand_over_all(outbox: &mut Outbox, window: usize) -> Vec<String> {
        let mut handed = Vec::new();
        while let Some(value) = outbox.hand_over(window) {
            handed.push(value.to_string());
        }
        handed
    }

    #[test]
    fn only_a_window_is_under_way() {
        let mut outbox = with(4);
        assert_eq!(hand_over_all(&mut outbox, 2), ["n=0", "n=1"]);
        outbox.sent(7);
        outbox.sent(8);
        outbox.acknowledged(8);
        outbox.acknowledged(99);
        assert_eq!(hand_over_all(&mut outbox, 2), ["n=2"]);
        assert_eq!(outbox.len(), 3);
    }

    #[test]
    fn what_was_not_acknowledged_goes_out_again_in_order() {
        let mut outbox = with(3);
        hand_over_all(&mut outbox, 3);
        outbox.sent(1);
        outbox.sent(2);
        outbox.acknowledged(2);
        outbox.disconnected();
        outbox.acknowledged(1);
        assert_eq!(hand_over_all(&mut outbox, 3), ["n=0", "n=2"]);
    }

    #[test]
    fn the_oldest_waiting_value_makes_room() {
        let mut outbox = with(CAPACITY);
        assert_eq!(outbox.push(value(CAPACITY)), Some(value(0)));
        hand_over_all(&mut outbox, 2);
        assert_eq!(outbox.push(value(CAPACITY + 1)), Some(value(3)));
        assert_eq!(outbox.len(), CAPACITY);
    }
}
