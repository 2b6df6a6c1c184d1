//! The last retained message of each topic, in bounded memory.
//!
//! They live as long as the server does: what must survive a restart belongs
//! into the registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firstwake::Timestamp;
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
    /// When the first of them expires.
    first_expiry: Option<Timestamp>,
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
            tracing::debug!("no room for another retained message");
            return;
        }
        kept.bytes = bytes;
        let expiries = [kept.first_expiry, message.expires_at()];
        kept.first_expiry = expiries.into_iter().flatten().min();
        let kept_message = Arc::new(message.clone());
        kept.messages.insert(message.topic.clone(), kept_message);
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut kept = self.lock();
        if kept.first_expiry.is_none_or(|first| now < first) {
            return;
        }
        let Kept {
            messages,
            bytes,
            first_expiry,
        } = &mut *kept;
        messages.retain(|_, message| {
            let lives = message.time_left(now).is_ok();
            if !lives {
                *bytes -= message.size();
            }
            lives
        });
        let expiries = messages.values().filter_map(|message| message.expires_at());
        *first_expiry = expiries.min();
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
