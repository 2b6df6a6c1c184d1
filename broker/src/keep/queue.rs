//! Messages that wait to be sent to one operator.

use std::collections::VecDeque;
use std::sync::Arc;

use firstwake::Qos;
use firstwake::mailbox::Capacity;

use super::Match;
use crate::bus::{Message, Share};

/// One message, and how it is to be delivered.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Arc<Message>,
    pub(crate) how: Match,
    /// The shared subscription that it came by.
    pub(crate) share: Option<Arc<Share>>,
}

impl Waiting {
    pub(crate) fn qos(&self) -> Qos {
        self.how.qos
    }
}

/// What waits, oldest first, and how many were lost before it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    lost: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.message.size();
        self.waiting.push_back(waiting);
    }

    pub(super) fn extend(&mut self, waiting: Option<Waiting>) {
        if let Some(waiting) = waiting {
            self.push(waiting);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.message.size();
        Some(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets what does not wait for a peer that is away.
    pub(super) fn drop_fleeting(&mut self) {
        self.retain(|waiting| waiting.qos() > Qos::AtMostOnce);
    }

    /// Forgets the oldest, until the rest fits.
    pub(super) fn bound(&mut self, room: Capacity) {
        while (self.waiting.len() > room.messages || self.bytes > room.bytes)
            && self.pop().is_some()
        {
            self.lost += 1;
        }
    }

    /// Takes out what came by shared subscriptions.
    pub(super) fn take_shared(&mut self) -> Vec<(Arc<Share>, Arc<Message>)> {
        let mut shared = Vec::new();
        self.retain(|waiting| match &waiting.share {
            Some(share) => {
                shared.push((Arc::clone(share), Arc::clone(&waiting.message)));
                false
            }
            None => true,
        });
        shared
    }

    /// Counts messages that the peer will never see.
    pub(super) fn count_lost(&mut self, lost: u64) {
        self.lost += lost;
    }

    /// How many were lost. Asking clears it.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn retain(&mut self, keep: impl FnMut(&Waiting) -> bool) {
        self.waiting.retain(keep);
        let sizes = self.waiting.iter().map(|waiting| waiting.message.size());
        self.bytes = sizes.sum();
    }
}

#[cfg(test)]
mod tests {
    use firstwake::Timestamp;
    use firstwake::topic::{Limits, TopicName};

    use super::*;

    fn waiting(payload: &str, qos: Qos) -> Waiting {
        let topic = TopicName::parse("t", Limits::SERVICE).expect("valid");
        let at = Timestamp::from_millis(0);
        Waiting {
            message: Arc::new(Message::of_server(topic, payload.into(), at)),
            how: Match {
                qos,
                retain: false,
                identifiers: Vec::new(),
            },
            share: None,
        }
    }

    fn payloads(queue: &mut Queue) -> Vec<String> {
        let text = |waiting: Waiting| String::from_utf8_lossy(&waiting.message.payload).into();
        std::iter::from_fn(|| queue.pop()).map(text).collect()
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let mut queue = Queue::default();
        for payload in ["1", "2", "3", "4"] {
            queue.push(waiting(payload, Qos::AtLeastOnce));
        }
        queue.bound(Capacity {
            messages: 3,
            bytes: usize::MAX,
        });
        let two = 2 * waiting("3", Qos::AtLeastOnce).message.size();
        queue.bound(Capacity {
            messages: 3,
            bytes: two,
        });
        assert_eq!(queue.take_lost(), 2);
        assert_eq!(queue.take_lost(), 0);
        assert_eq!(payloads(&mut queue), ["3", "4"]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn nothing_fleeting_waits() {
        let mut queue = Queue::default();
        queue.push(waiting("0", Qos::AtMostOnce));
        queue.push(waiting("2", Qos::ExactlyOnce));
        queue.drop_fleeting();
        assert_eq!(queue.bytes, waiting("2", Qos::ExactlyOnce).message.size());
        assert_eq!(payloads(&mut queue), ["2"]);
        assert_eq!(queue.take_lost(), 0, "as its quality allows");
    }
}
