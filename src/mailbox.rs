//! A device's MQTT session, and the messages that wait in it.
//!
//! A session outlives its connections: what it has subscribed to, and what an
//! operator sent while the device was away, is kept in the registry until it
//! has been received or the session is over. Every change is a function of
//! what is there (`apply`); stores carry it out and decide nothing. What a
//! message says is none of this module's business: it sees an envelope.

mod apply;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::qos::Qos;
use crate::topic::{TopicFilter, TopicName};

pub(crate) use self::apply::apply;

/// A message to a device, as an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Where it is published.
    pub topic: TopicName,
    /// From then on it is of no use.
    pub expires_at: Option<Timestamp>,
    /// Whether it is what was retained when the device subscribed.
    pub retained: bool,
    /// The message itself, in the words of whoever reads it.
    pub content: Vec<u8>,
}

/// One filter that a device has subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// What it wants to read.
    pub filter: TopicFilter,
    /// The quality that was granted; nothing waits for [`Qos::AtMostOnce`].
    pub qos: Qos,
    /// Whether messages keep the flag they were published with.
    pub retain_as_published: bool,
    /// Told with each message that the filter matches.
    pub identifier: Option<u32>,
}

/// A device's session and what waits in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Whoever connects under another name begins a new session.
    pub client_id: String,
    /// The connection that has the session, or had it last.
    pub connection: u64,
    /// Seconds that it outlives a connection; `u32::MAX` is for ever.
    pub expiry: u32,
    /// What the device wants to read.
    pub subscriptions: Vec<Subscription>,
    /// QoS 2 messages of the device whose second half is still to come.
    pub received: Vec<u16>,
    /// Mail up to this number may have been sent before: it is sent again as
    /// a duplicate.
    pub sent: u64,
    opened_at: Timestamp,
    /// When the last connection ended; `None` while there is one.
    left_at: Option<Timestamp>,
    /// The number of the newest mail.
    newest: u64,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
}

/// One message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    number: u64,
    bytes: usize,
    expires_at: Option<Timestamp>,
    retained: bool,
}

/// How much may wait for one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Messages.
    pub messages: usize,
    /// Their bytes, topics included.
    pub bytes: usize,
}

/// When something happens, and since when the server has been running: a
/// connection from before that time was cut off without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub at: Timestamp,
    /// When the server was started.
    pub running_since: Timestamp,
}

/// What is to happen to one device's mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A connection takes up the session, or begins a new one.
    Open {
        /// Its number, which no other connection ever has.
        connection: u64,
        /// The name that the device goes by.
        client_id: String,
        /// Whether it wants what is left of an earlier session.
        resume: Resume,
        /// Seconds that the session is to outlive its connection.
        expiry: u32,
        /// Now.
        moment: Moment,
    },
    /// The device wants to read something more.
    Subscribe {
        /// The connection that asks.
        connection: u64,
        /// What it wants.
        subscription: Subscription,
        /// Whether the retained configuration is to be sent, where it matches.
        retained: Retained,
        /// How much may wait.
        capacity: Capacity,
    },
    /// The device does not want to read that any more.
    Unsubscribe {
        /// The connection that asks.
        connection: u64,
        /// The very filters that it subscribed with.
        filters: Vec<TopicFilter>,
    },
    /// Something for the device.
    Post {
        /// The message.
        mail: Mail,
        /// How much may wait.
        capacity: Capacity,
        /// Now.
        moment: Moment,
    },
    /// The device's configuration, kept until there is another; an empty one
    /// is none. It is posted, too.
    Configure {
        /// The message.
        mail: Option<Mail>,
        /// How much may wait.
        capacity: Capacity,
        /// Now.
        moment: Moment,
    },
    /// The device has received these.
    Take {
        /// The connection over which it has.
        connection: u64,
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// The connection has ended.
    Close {
        /// Which one.
        connection: u64,
        /// Another time for the session to go on, if the device said so.
        expiry: Option<u32>,
        /// Mail up to this number was sent.
        sent: u64,
        /// QoS 2 messages of the device whose second half is still to come.
        received: Vec<u16>,
        /// Now.
        at: Timestamp,
    },
    /// Nothing, unless the session's time is over.
    Expire {
        /// Now.
        moment: Moment,
    },
}

/// Whether a device wants what is left of an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    /// It starts clean.
    No,
    /// Under the same client id, if there is one.
    Yes,
}

/// Whether a retained message is wanted on subscribing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// It is.
    Wanted,
    /// It is not.
    Unwanted,
}

/// What became of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new session.
    New(Mailbox),
    /// The session that was there before.
    Resumed(Mailbox),
    /// It waits for the device, in place of so many older ones.
    Posted {
        /// Messages that had to make room.
        dropped: usize,
    },
    /// The device's session reads it, and lets nothing of the kind wait.
    Fleeting,
    /// The device has no session that subscribed to this.
    NobodyThere,
    /// It is done.
    Done,
    /// The session has another connection by now, or is over.
    Stale,
}

impl Mailbox {
    /// The numbers of the messages that wait, behind this one, oldest first.
    pub fn waiting(&self, after: u64) -> impl Iterator<Item = u64> + '_ {
        let numbers = self.waiting.iter().map(|waiting| waiting.number);
        numbers.skip_while(move |number| *number <= after)
    }

    /// Whether the session's time is over.
    pub fn is_over(&self, moment: Moment) -> bool {
        let left = match self.left_at {
            Some(left) => left,
            None if self.opened_at < moment.running_since => moment.running_since,
            None => return false,
        };
        let away = moment.at.since(left);
        self.expiry != u32::MAX && away >= Duration::from_secs(self.expiry.into())
    }

    /// Whether the session goes on and has subscribed to this topic.
    pub fn reads(&self, topic: &TopicName, moment: Moment) -> bool {
        !self.is_over(moment) && self.matching(topic).next().is_some()
    }

    /// The subscriptions that a message on this topic is for.
    pub fn matching(&self, topic: &TopicName) -> impl Iterator<Item = &Subscription> {
        let all = self.subscriptions.iter();
        all.filter(move |subscription| subscription.filter.matches(topic))
    }
}

impl Mail {
    /// Whether it is of no use any more.
    pub fn is_expired(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }

    fn bytes(&self) -> usize {
        self.topic.as_str().len() + self.content.len()
    }
}

#[cfg(test)]
mod tests;
