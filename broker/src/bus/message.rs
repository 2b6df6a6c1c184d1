//! A message on the bus, and its bytes inside the router.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firstwake::mailbox::Mail;
use firstwake::topic::{Limits, TopicName};
use firstwake::{Qos, Timestamp};
use serde::{Deserialize, Serialize};

use crate::mqtt::packet::Properties;

/// A session that publishes, so that it can leave out its own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Sender(u64);

impl Sender {
    /// The server itself.
    pub(crate) const SERVER: Self = Self(0);

    /// A sender that no other session is.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What somebody published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: TopicName,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
    pub(crate) sender: Sender,
    /// When it was published.
    pub(crate) at: Timestamp,
}

/// A message whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

#[derive(Serialize, Deserialize)]
struct Encoded<'a> {
    number: u64,
    topic: &'a str,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    properties: Cow<'a, Properties>,
    sender: Sender,
    at: Timestamp,
}

/// A message inside an envelope of the core's.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    properties: Cow<'a, Properties>,
    at: Timestamp,
}

impl Message {
    /// A message of the server's own.
    pub(crate) fn of_server(topic: TopicName, payload: Vec<u8>, at: Timestamp) -> Self {
        Self {
            topic,
            payload,
            qos: Qos::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            sender: Sender::SERVER,
            at,
        }
    }

    /// From then on it is of no use.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        let seconds = self.properties.message_expiry?;
        Some(self.at.plus(Duration::from_secs(seconds.into())))
    }

    /// Seconds that are left of its time, where that is limited.
    pub(crate) fn time_left(&self, now: Timestamp) -> Result<Option<u32>, Expired> {
        let Some(seconds) = self.properties.message_expiry else {
            return Ok(None);
        };
        let waited = u32::try_from(now.since(self.at).as_secs()).unwrap_or(u32::MAX);
        match seconds.saturating_sub(waited) {
            0 => Err(Expired),
            left => Ok(Some(left)),
        }
    }

    /// What goes into an envelope.
    pub(crate) fn to_content(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "texts, bytes and numbers always encode")]
        postcard::to_allocvec(&Content {
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: Cow::Borrowed(&self.properties),
            at: self.at,
        })
        .expect("a message encodes")
    }

    /// Opens an envelope; `None` if nothing that [`to_content`](Self::to_content)
    /// wrote is in it.
    pub(crate) fn of_mail(mail: &Mail) -> Option<Self> {
        let content: Content<'_> = postcard::from_bytes(&mail.content).ok()?;
        Some(Self {
            topic: mail.topic.clone(),
            payload: content.payload.to_vec(),
            qos: content.qos,
            retain: content.retain || mail.retained,
            properties: content.properties.into_owned(),
            sender: Sender::SERVER,
            at: content.at,
        })
    }

    /// Bytes that it takes, about.
    pub(crate) fn size(&self) -> usize {
        let properties = &self.properties;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let user = properties.user.iter();
        size_of::<Self>()
            + self.topic.as_str().len()
            + self.payload.len()
            + text(&properties.content_type)
            + text(&properties.response_topic)
            + properties.correlation.as_ref().map_or(0, Vec::len)
            + user
                .map(|(key, value)| 48 + key.len() + value.len())
                .sum::<usize>()
    }

    /// The bytes that travel, with the message's number on the bus.
    pub(super) fn encode(&self, number: u64) -> Vec<u8> {
        let encoded = Encoded {
            number,
            topic: self.topic.as_str(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: Cow::Borrowed(&self.properties),
            sender: self.sender,
            at: self.at,
        };
        #[expect(clippy::expect_used, reason = "texts, bytes and numbers always encode")]
        postcard::to_extend(&encoded, Vec::with_capacity(64 + self.payload.len()))
            .expect("a message encodes")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let encoded: Encoded<'_> = postcard::from_bytes(bytes).ok()?;
        let message = Self {
            topic: TopicName::parse(encoded.topic, Limits::SERVICE).ok()?,
            payload: encoded.payload.to_vec(),
            qos: encoded.qos,
            retain: encoded.retain,
            properties: encoded.properties.into_owned(),
            sender: encoded.sender,
            at: encoded.at,
        };
        Some((encoded.number, message))
    }
}

#[cfg(test)]
mod stored_tests;
