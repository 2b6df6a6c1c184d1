//! A message on the bus, and its bytes inside the router.

use std::sync::atomic::{AtomicU64, Ordering};

use firstwake::topic::{Limits, TopicName};
use serde::{Deserialize, Serialize};

use crate::mqtt::packet::{Properties, Qos};

/// A session that publishes, so that it can leave out its own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

#[derive(Serialize, Deserialize)]
struct Encoded<'a> {
    number: u64,
    topic: &'a str,
    payload: &'a [u8],
    qos: Qos,
    retain: bool,
    properties: std::borrow::Cow<'a, Properties>,
    sender: Sender,
}

impl Message {
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
            properties: std::borrow::Cow::Borrowed(&self.properties),
            sender: self.sender,
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
        };
        Some((encoded.number, message))
    }
}
