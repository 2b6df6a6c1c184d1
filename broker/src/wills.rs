//! Wills that wait: a session is gone, and its will is not due yet.
//!
//! A session that comes back in time takes its will along. One table, looked
//! through once a second, in place of a timer for each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bus::Message;
use crate::edge::Tick;
use crate::sessions::Owner;

/// Wills that wait at most; one more is published at once.
const LIMIT: usize = 10_000;

/// All wills that wait, by whose they are.
#[derive(Debug, Default)]
pub(crate) struct Wills(Mutex<HashMap<Owner, Waiting>>);

#[derive(Debug)]
struct Waiting {
    message: Message,
    due: Tick,
}

impl Wills {
    /// Keeps a will until it is due. Returns one that cannot wait.
    pub(crate) fn keep(&self, owner: Owner, message: Message, due: Tick) -> Option<Message> {
        let mut wills = self.lock();
        if wills.len() >= LIMIT {
            return Some(message);
        }
        let earlier = wills.insert(owner, Waiting { message, due });
        earlier.map(|earlier| earlier.message)
    }

    /// Takes a will out: its session is there again, or over.
    pub(crate) fn take(&self, owner: &Owner) -> Option<Message> {
        self.lock().remove(owner).map(|waiting| waiting.message)
    }

    /// Takes out what is due.
    pub(crate) fn take_due(&self, now: Tick) -> Vec<Message> {
        let mut wills = self.lock();
        let due = wills.extract_if(|_, waiting| waiting.due <= now);
        due.map(|(_, waiting)| waiting.message).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Waiting>> {
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
