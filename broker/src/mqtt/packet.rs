//! What packets say, whatever the protocol version.
//!
//! Sessions speak these types; only [`machine`](super::machine) and
//! [`opening`](super::opening) know how each version writes them.

use std::num::NonZeroU16;

pub(crate) use firstwake::Qos;
use firstwake::Refusal;
use firstwake::topic::{InvalidTopic, Limits, TopicFilter, TopicName};
use mqtt_protocol_core::mqtt::common::ArcPayload;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The protocol a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

/// What a peer says when it connects.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// Clean session or clean start.
    pub(crate) start: Start,
    /// Seconds; `None` turns it off.
    pub(crate) keep_alive: Option<NonZeroU16>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    pub(crate) will: Option<Will>,
    /// Seconds that the session is to outlive its connection; `u32::MAX` is
    /// for ever.
    pub(crate) session_expiry: u32,
    /// QoS 1 and 2 messages that the peer takes without having acknowledged
    /// one.
    pub(crate) receive_maximum: NonZeroU16,
    /// Bytes of the largest packet that the peer takes.
    pub(crate) packet_size: u32,
    /// MQTT 5: asked for another way of logging in.
    pub(crate) enhanced_authentication: bool,
    /// MQTT 5: wants to be given reasons in words, beside those of a DISCONNECT.
    pub(crate) takes_reasons: bool,
    /// MQTT 5: what the peer says of its hardware, as it wrote it.
    pub(crate) hardware: Option<String>,
}

/// Whether a peer wants what is left of an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Clean,
    Resume,
}

/// What is to be published when a peer vanishes.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    /// As the peer wrote it: not checked yet.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
    /// Seconds between the end of the connection and this.
    pub(crate) delay: u32,
}

/// What a peer sends once it is in.
#[derive(Debug)]
pub(crate) enum Input {
    Publish(Publish),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// The peer has received a message of ours with this packet id, for good
    /// or (MQTT 5) because it does not want it.
    Acknowledged(u16),
    /// The peer has received the first half of a QoS 2 message with this
    /// packet id. The second half was answered.
    Received(u16),
    /// The peer says goodbye.
    Disconnect(Goodbye),
}

/// How a peer says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Goodbye {
    pub(crate) will: WillFate,
    /// MQTT 5: another time for the session to outlive its connection.
    pub(crate) session_expiry: Option<u32>,
}

/// What becomes of the will of a peer that says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WillFate {
    Discard,
    Publish,
}

/// A message from a peer. It is not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Publish {
    /// An error is a topic beyond the peer's limits; what is malformed ends
    /// the connection before it gets here.
    pub(crate) topic: Result<TopicName, InvalidTopic>,
    pub(crate) payload: ArcPayload,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
    pub(crate) receipt: Receipt,
}

/// What has to be acknowledged, and how. Made by the machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// QoS 0: nothing.
    None,
    /// QoS 1: a PUBACK for this packet id.
    Puback(u16),
    /// QoS 2: a PUBREC for this packet id.
    Pubrec(u16),
}

/// What is thought of a message from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried on.
    Accepted,
    /// It was taken, and nobody was there to read it.
    NobodyThere,
    /// The topic is not the peer's to publish to.
    NotAuthorized,
    /// The topic is beyond the peer's limits.
    TopicInvalid,
    /// More than the peer may send.
    QuotaExceeded,
    /// What it says cannot be read: it is carried on, and no value is kept.
    PayloadInvalid,
}

/// Topics a peer wants to read.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<Subscription>,
    /// MQTT 5: told with each message that the subscription matches.
    pub(crate) identifier: Option<u32>,
    /// MQTT 5: pairs of the peer's own.
    pub(crate) user: Vec<(String, String)>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// An error is a filter beyond the peer's limits, or a kind not offered.
    pub(crate) filter: Result<TopicFilter, NotOffered>,
    /// Shared with the others of this group.
    pub(crate) group: Option<Box<str>>,
    pub(crate) qos: Qos,
    /// Not one's own messages.
    pub(crate) no_local: bool,
    /// Keep the retain flag of messages carried on.
    pub(crate) retain_as_published: bool,
    pub(crate) retained: RetainHandling,
}

/// Why a filter cannot be had, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOffered {
    /// Beyond the peer's limits.
    Limit,
    /// `$share/…`.
    Shared,
}

/// Whether retained messages are wanted on subscribing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Send,
    SendIfNew,
    Never,
}

/// What is answered to one filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Up to this quality.
    At(Qos),
    /// Not this peer's to read.
    NotAuthorized,
    /// Beyond the peer's limits.
    FilterInvalid,
    /// Too many.
    QuotaExceeded,
    /// The registry is in trouble.
    Unavailable,
    /// A wish that came with it makes no sense.
    NotUnderstood,
    /// Shared subscriptions are not offered.
    SharedNotOffered,
}

/// Topics a peer no longer wants to read.
#[derive(Debug)]
pub(crate) struct Unsubscribe {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<String>,
}

/// Whether there was something to unsubscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsubscribed {
    Done,
    NotThere,
}

/// A message to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) topic: &'a TopicName,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) attempt: Attempt,
    pub(crate) properties: &'a Properties,
    /// MQTT 5: seconds until the message is of no use any more.
    pub(crate) expiry: Option<u32>,
    /// MQTT 5: of the subscriptions that it matches.
    pub(crate) subscriptions: &'a [u32],
}

/// Whether a message is sent for the first time, and under which packet id.
/// QoS 0 has neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// For the first time, under any id that is free.
    First,
    /// For the first time, under this id.
    FirstAs(u16),
    /// Once more, under the id that it had before.
    Again(u16),
}

/// MQTT 5's properties of a message; empty for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    /// 1: the payload is UTF-8.
    pub(crate) payload_format: Option<u8>,
    /// Seconds, counted from when the message was published.
    pub(crate) message_expiry: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation: Option<Vec<u8>>,
    pub(crate) user: Vec<(String, String)>,
}

impl Properties {
    /// Whether the response topic, if there is one, is a topic.
    pub(crate) fn have_an_answerable_topic(&self) -> bool {
        let topic = self.response_topic.as_deref();
        topic.is_none_or(|topic| TopicName::parse(topic, Limits::SERVICE).is_ok())
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The peer broke the protocol.
    ProtocolError,
    /// Bytes that are no packet, or text that is no text.
    Malformed,
    /// A topic that is none.
    TopicNameInvalid,
    /// A filter that is none.
    TopicFilterInvalid,
    /// Ten forbidden things within a minute.
    NotAuthorized,
    /// Nothing was heard for one and a half times the keep-alive.
    KeepAliveTimeout,
    /// The same device or client connected again, to go on.
    TakenOver,
    /// The same device or client connected again, to begin anew.
    Replaced,
    /// An operator's act, and which.
    Administrative(Refusal),
    /// An activation that took too long.
    MaximumConnectTime,
    /// More than the peer may have at once.
    QuotaExceeded,
    /// The peer takes no packet as large as the one it asked for.
    PacketTooLarge,
    /// The registry is in trouble.
    ServerBusy,
    /// The server stops.
    ShuttingDown,
}
