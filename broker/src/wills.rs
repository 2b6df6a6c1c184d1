//! Wills that wait: a session is gone, and its will is not due yet.
//!
//! A session that comes back in time takes its will along. One table, looked
//! through by each sweep, in place of a timer for each. Whether a will may be
//! published is not remembered: the core is asked when it is due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use firstwake::{DeviceLogin, OperatorLogin};

use crate::bus::Message;
use crate::edge::Tick;
use crate::sessions::Owner;

/// Wills that wait at most; one more is published at once.
const LIMIT: usize = 10_000;

/// A will, and the login of its author.
#[derive(Debug)]
pub(crate) struct WillMessage {
    pub(crate) message: Message,
    pub(crate) author: Author,
}

/// The peer that has left a will.
#[derive(Debug)]
pub(crate) enum Author {
    Device(DeviceLogin),
    Operator(OperatorLogin),
}

/// All wills that wait, by whose they are.
#[derive(Debug)]
pub(crate) struct Wills<W = WillMessage>(Mutex<HashMap<Owner, Waiting<W>>>);

#[derive(Debug)]
struct Waiting<W> {
    will: W,
    due: Tick,
}

impl<W> Default for Wills<W> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W> Wills<W> {
    /// Keeps a will until it is due. Returns one that cannot wait.
    pub(crate) fn keep(&self, owner: Owner, will: W, due: Tick) -> Option<W> {
        let mut wills = self.lock();
        if wills.len() >= LIMIT {
            return Some(will);
        }
        let earlier = wills.insert(owner, Waiting { will, due });
        earlier.map(|earlier| earlier.will)
    }

    /// Takes a will out: its session is there again, or over.
    pub(crate) fn take(&self, owner: &Owner) -> Option<W> {
        self.lock().remove(owner).map(|waiting| waiting.will)
    }

    /// Takes out what is due.
    pub(crate) fn take_due(&self, now: Tick) -> Vec<W> {
        let mut wills = self.lock();
        let due = wills.extract_if(|_, waiting| waiting.due <= now);
        due.map(|(_, waiting)| waiting.will).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Waiting<W>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use firstwake::FeedId;
    use firstwake::Timestamp;
    use firstwake::topic::{Limits, TopicName};

    use super::*;

    fn owner(n: u32) -> Owner {
        Owner::Device(FeedId::new(n).expect("valid"))
    }

    fn message(text: &str) -> Message {
        let topic = TopicName::parse("feeds/1/status", Limits::DEVICE).expect("valid");
        Message::of_server(topic, text.as_bytes().to_vec(), Timestamp::from_millis(0))
    }

    #[test]
    fn a_will_waits_until_it_is_due() {
        let wills = Wills::default();
        assert!(wills.keep(owner(1), message("one"), Tick::at(10)).is_none());
        assert!(wills.keep(owner(2), message("two"), Tick::at(11)).is_none());
        assert!(wills.take_due(Tick::at(9)).is_empty());
        assert_eq!(wills.take_due(Tick::at(10)), [message("one")]);
        assert_eq!(wills.take(&owner(2)), Some(message("two")));
        assert!(wills.take_due(Tick::at(99)).is_empty());
    }

    #[test]
    fn what_finds_no_room_is_given_back() {
        let wills = Wills::default();
        for n in 1..=LIMIT as u32 {
            assert!(wills.keep(owner(n), message(""), Tick::at(1)).is_none());
        }
        let last = wills.keep(owner(LIMIT as u32 + 1), message("last"), Tick::at(1));
        assert_eq!(last, Some(message("last")));
    }
}
