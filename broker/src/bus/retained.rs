//! The last retained message of each topic, in bounded memory.
//!
//! They live as long as the server does: what must survive a restart belongs
//! into the registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firstwake::topic::{TopicFilter, TopicName};

use super::Message;

/// Messages kept at most.
const MESSAGES: usize = 10_000;
/// Bytes kept at most, topics and properties included.
const BYTES: usize = 16 * 1024 * 1024;

/// All retained messages.
#[derive(Debug, Default)]
pub(crate) struct Retained(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    messages: BTreeMap<TopicName, Arc<Message>>,
    bytes: usize,
}

impl Retained {
    /// Keeps a message in place of the last on its topic; an empty payload
    /// clears the topic. Without room the message is carried on all the same,
    /// but not kept.
    pub(super) fn keep(&self, message: &Message) {
        let mut kept = self.lock();
        if let Some(earlier) = kept.messages.remove(&message.topic) {
            kept.bytes -= earlier.size();
        }
        if message.payload.is_empty() {
            return;
        }
        let bytes = kept.bytes + message.size();
        if kept.messages.len() == MESSAGES || bytes > BYTES {
            tracing::warn!("no room for another retained message");
            return;
        }
        kept.bytes = bytes;
        let kept_message = Arc::new(message.clone());
        kept.messages.insert(message.topic.clone(), kept_message);
    }

    /// The retained messages that a filter matches, in the order of their topics.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<Arc<Message>> {
        let kept = self.lock();
        let matching = kept
            .messages
            .iter()
            .filter(|(topic, _)| filter.matches(topic));
        matching.map(|(_, message)| Arc::clone(message)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
