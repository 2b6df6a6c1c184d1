//! How much any peer may ask of the server, all in one place.
//!
//! These are the `[limits]` of the configuration file; `docs/configuration.md`
//! tells users what each is for. Nothing here decides: each limit is asked for
//! where what it bounds is made.

use firstwake::mailbox::Capacity;
use serde::Deserialize;

use crate::keep::Bound;

/// Every limit that can be set. 0 turns off the ones that say so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections in all; 0: as many as open files allow.
    pub(crate) connections: usize,
    /// Connections from one source (an IPv4 address, an IPv6 /64); 0: seven
    /// eighths of all.
    pub(crate) connections_per_source: usize,
    /// Connections that have not shown their credentials yet.
    pub(crate) handshakes: usize,
    /// The same from one source.
    pub(crate) handshakes_per_source: usize,
    /// HTTP connections on which one device was admitted last.
    pub(crate) http_device_connections: usize,
    /// HTTP connections on which one operator was admitted last.
    pub(crate) http_operator_connections: usize,
    /// Streams of events that one operator may read at a time.
    pub(crate) event_streams: usize,
    /// Bytes of bodies that are being read over HTTP, in all.
    pub(crate) http_body_bytes: usize,
    /// Bytes of answers over HTTP that their peers have not taken, in all.
    pub(crate) http_answer_bytes: usize,
    /// Failed logins a minute that a source may have in the long run before it
    /// is answered slowly; 0: any.
    pub(crate) failures_per_minute: u32,
    /// Failed logins that it may have at once on top of that.
    pub(crate) failures_burst: u32,
    /// Seconds until a peer's first byte.
    pub(crate) first_byte_seconds: u32,
    /// Seconds until a peer's CONNECT is whole, TLS and WebSocket included.
    pub(crate) connect_seconds: u32,
    /// Bytes of a device's largest packet.
    pub(crate) device_packet_bytes: u32,
    /// Bytes of an operator's or a service's largest packet.
    pub(crate) operator_packet_bytes: u32,
    /// Messages a second that a device may publish in the long run; 0: any.
    pub(crate) device_publish_rate: u32,
    /// Messages that it may publish at once on top of that.
    pub(crate) device_publish_burst: u32,
    /// Subscriptions of one device.
    pub(crate) device_subscriptions: usize,
    /// Subscriptions of one operator's session.
    pub(crate) operator_subscriptions: usize,
    /// Sessions of one operator, connected or not.
    pub(crate) operator_connections: usize,
    /// Levels of a device's topics.
    pub(crate) device_topic_levels: usize,
    /// Levels of an operator's or a service's topics.
    pub(crate) operator_topic_levels: usize,
    /// Messages that wait for one device.
    pub(crate) mailbox_messages: usize,
    /// Bytes of the messages that wait for one device.
    pub(crate) mailbox_bytes: usize,
    /// Messages that wait for one operator's session while it is away.
    pub(crate) operator_queue_messages: usize,
    /// Bytes of those.
    pub(crate) operator_queue_bytes: usize,
    /// Sessions of operators that wait for their peers, in all.
    pub(crate) operator_sessions: usize,
    /// Those of one operator.
    pub(crate) operator_sessions_each: usize,
    /// Seconds that any session may outlive its connection.
    pub(crate) session_expiry_seconds: u32,
    /// Seconds of a device's longest keep-alive; MQTT 5 is told.
    pub(crate) device_keep_alive_seconds: u16,
    /// Seconds of an operator's longest keep-alive; MQTT 5 is told.
    pub(crate) operator_keep_alive_seconds: u16,
    /// Seconds of silence that end a 3.1 or 3.1.1 session without keep-alive.
    pub(crate) idle_seconds: u32,
}

impl Limits {
    /// Seconds that a session may outlive its connection, of those asked for.
    pub(crate) fn session_expiry(&self, asked: u32) -> u32 {
        asked.min(self.session_expiry_seconds)
    }

    /// How much may wait for one device.
    pub(crate) fn mailbox(&self) -> Capacity {
        Capacity {
            messages: self.mailbox_messages,
            bytes: self.mailbox_bytes,
        }
    }

    /// How much may wait for one session of an operator.
    pub(crate) fn operator_queue(&self) -> Capacity {
        Capacity {
            messages: self.operator_queue_messages,
            bytes: self.operator_queue_bytes,
        }
    }

    /// How many sessions of operators may wait for their peers.
    pub(crate) fn sessions_away(&self) -> Bound {
        Bound {
            in_all: self.operator_sessions,
            of_one_operator: self.operator_sessions_each,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            connections_per_source: 0,
            handshakes: 2048,
            handshakes_per_source: 512,
            http_device_connections: 8,
            http_operator_connections: 256,
            event_streams: 64,
            http_body_bytes: 128 * 1024 * 1024,
            http_answer_bytes: 128 * 1024 * 1024,
            failures_per_minute: 20,
            failures_burst: 100,
            first_byte_seconds: 5,
            connect_seconds: 10,
            device_packet_bytes: 64 * 1024,
            operator_packet_bytes: 1024 * 1024,
            device_publish_rate: 100,
            device_publish_burst: 1000,
            device_subscriptions: 16,
            operator_subscriptions: 1024,
            operator_connections: 500,
            device_topic_levels: 16,
            operator_topic_levels: 200,
            mailbox_messages: 100,
            mailbox_bytes: 256 * 1024,
            operator_queue_messages: 10_000,
            operator_queue_bytes: 16 * 1024 * 1024,
            operator_sessions: 1000,
            operator_sessions_each: 100,
            session_expiry_seconds: 7 * 24 * 60 * 60,
            device_keep_alive_seconds: 60 * 60,
            operator_keep_alive_seconds: 60,
            idle_seconds: 24 * 60 * 60,
        }
    }
}
