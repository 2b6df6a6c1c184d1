//! One connection's protocol state after its CONNECT: bytes in, packets out.
//!
//! Packet ids, the flows of QoS 1 and 2, windows, aliases and size limits are
//! kept by `mqtt-protocol-core`; this wraps it so that sessions see neither
//! versions nor packets. It acknowledges nothing by itself: the session says
//! what it thinks of a message first.

mod fault;
mod headers;
mod incoming;
mod outgoing;
pub(crate) mod properties;
mod unsolicited;

use firstwake::topic::Limits;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::role::Server;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::v5_0;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use self::headers::Headers;
use self::unsolicited::{Misconduct, Next};
use super::opening::Opening;
use super::packet::{Farewell, Input, Version};

pub(crate) use outgoing::NotSent;

/// What a kind of session allows its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Bytes of the largest packet.
    pub(crate) packet_size: u32,
    /// QoS 1 and 2 messages from the peer that may wait for the session.
    pub(crate) receive_maximum: u16,
    /// QoS 1 and 2 messages to the peer that may wait for it.
    pub(crate) send_maximum: u16,
    /// Topic aliases the peer may use; 0 for none.
    pub(crate) topic_aliases: u16,
    /// Whether a retain flag of the peer means anything.
    pub(crate) retain: Offered,
    /// Whether subscriptions may be shared.
    pub(crate) shared: Offered,
    /// How long and deep its topics may be.
    pub(crate) topics: Limits,
}

/// Whether a kind of session has a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Yes,
    No,
}

/// What a peer is told with the CONNACK, beside the terms.
#[derive(Clone, Debug)]
pub(crate) struct Welcome<'a> {
    pub(crate) session: Session,
    /// Seconds that the session outlives its connection.
    pub(crate) session_expiry: u32,
    /// What the peer asked for in its place.
    pub(crate) session_expiry_asked: u32,
    /// Seconds of keep-alive, where they are not the ones asked for.
    pub(crate) keep_alive: Option<u16>,
    /// The client id, where the server chose it.
    pub(crate) client_id: Option<&'a str>,
}

/// Whether the session was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    New,
    Present,
}

/// The machine of one connection.
pub(crate) struct Machine {
    connection: Box<Connection<Server>>,
    version: Version,
    topics: Limits,
    shared: Offered,
    headers: Headers,
    /// Packets to be sent.
    output: Vec<u8>,
    in_flight: u16,
    send_maximum: u16,
    /// Bytes of the largest packet that the peer takes.
    peer_packet_size: u32,
    /// QoS 2 messages that were accepted and wait for their PUBREL.
    awaiting_release: Vec<u16>,
    /// The session ends with its connection, and a goodbye cannot change that.
    transient: bool,
    /// Whether an acknowledgement may give its reason in words.
    takes_reasons: bool,
    /// Whether the codec has the start of a packet and waits for the rest.
    inside: bool,
    /// What the peer did wrong; in a box, as few sessions have it and thousands
    /// carry the room for it.
    misconduct: Option<Box<Misconduct>>,
    ended: Option<Farewell>,
}

impl Machine {
    /// Takes over from the opening; the next thing to be sent is the CONNACK.
    pub(crate) fn new(opening: &Opening, terms: &Terms) -> Self {
        use mqtt_protocol_core::mqtt::connection::Version as Wire;
        let version = opening.connect.version;
        let wire = match version {
            Version::V31 | Version::V311 => Wire::V3_1_1,
            Version::V5 => Wire::V5_0,
        };
        let mut options = ConnectionOptions::new().maximum_packet_size_recv(terms.packet_size);
        if version == Version::V5 {
            // Earlier versions know no such limit, so a peer cannot break it.
            options = options.receive_maximum(terms.receive_maximum);
        }
        let mut connection = Box::new(Connection::<Server>::with_options(wire, options));
        connection.set_auto_ping_response(true);
        let mut machine = Self {
            connection,
            version,
            topics: terms.topics,
            shared: terms.shared,
            headers: Headers::default(),
            output: Vec::new(),
            in_flight: 0,
            send_maximum: terms
                .send_maximum
                .min(opening.connect.receive_maximum.get()),
            peer_packet_size: opening.connect.packet_size,
            awaiting_release: Vec::new(),
            transient: opening.connect.session_expiry == 0,
            takes_reasons: opening.connect.takes_reasons,
            inside: false,
            misconduct: None,
            ended: None,
        };
        let mut inputs = Vec::new();
        machine.feed(&opening.frame, &mut inputs);
        debug_assert!(inputs.is_empty() && machine.ended.is_none());
        machine
    }

    /// Takes what the peer sent. After the connection has ended, bytes are
    /// ignored.
    pub(crate) fn feed(&mut self, bytes: &[u8], inputs: &mut Vec<Input>) {
        if self.ended.is_some() {
            return;
        }
        let checked = self.headers.follow(bytes, self.version);
        let bytes = &bytes[..checked.err().unwrap_or(bytes.len())];
        match self.take_held() {
            None => self.read(bytes, inputs),
            Some(held) => self.read(&[&held, bytes].concat(), inputs),
        }
        self.inside = !self.headers.is_between() && !self.holds();
        if checked.is_err() && self.ended.is_none() {
            self.bid_farewell(Farewell::Malformed);
            self.blame("the header of a packet has flags or a length that MQTT does not have");
        }
    }

    /// Has the codec read packet after packet, but for those that it must not
    /// see.
    fn read(&mut self, bytes: &[u8], inputs: &mut Vec<Input>) {
        let mut cursor = Cursor::new(bytes);
        while self.ended.is_none() && cursor.position() < bytes.len() as u64 {
            let start = cursor.position() as usize;
            // The codec reads one packet at a time, so only the first may be one
            // that it has begun already.
            if start > 0 || !self.inside {
                match self.screen(&bytes[start..]) {
                    Next::Feed => {}
                    Next::Skip(length) => {
                        cursor.set_position((start + length) as u64);
                        continue;
                    }
                    Next::Wait => {
                        self.hold(&bytes[start..]);
                        return;
                    }
                }
            }
            let events = self.connection.recv(&mut cursor);
            self.handle(events, inputs);
            if self.ended.is_some() {
                self.blame(fault::describe(&bytes[start..]));
            }
        }
    }

    /// What the peer did that ended the connection, in words for operators.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.misconduct.as_ref().and_then(|it| it.fault)
    }

    /// Why the connection has to be closed, once what is to be sent was sent.
    pub(crate) fn ended(&self) -> Option<Farewell> {
        self.ended
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Notes that the first `count` bytes of the output were sent. An idle
    /// connection keeps no buffer.
    pub(crate) fn sent(&mut self, count: usize) {
        if count == self.output.len() {
            self.output = Vec::new();
        } else {
            self.output.drain(..count);
        }
    }

    /// Carries out what the protocol state asks for, collecting what is for
    /// the session.
    fn handle(&mut self, events: Vec<Event>, inputs: &mut Vec<Input>) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.receive(packet, inputs),
                Event::RequestSendPacket { packet, .. } => self.put(&with_its_reason(packet)),
                Event::NotifyPacketIdReleased(_) => {
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
                Event::NotifyError(error) => self.fail(error),
                Event::RequestClose => {
                    self.ended.get_or_insert(Farewell::ProtocolError);
                }
                // Deadlines are kept by one sweep over all sessions.
                Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            }
        }
    }

    /// The peer broke the protocol. MQTT 5 is told, unless it was already.
    fn fail(&mut self, error: MqttError) {
        let farewell = match error {
            MqttError::MalformedPacket => Farewell::Malformed,
            _ => Farewell::ProtocolError,
        };
        if self.ended.is_none() {
            self.bid_farewell(farewell);
        }
    }

    fn put(&mut self, packet: &Packet) {
        self.output
            .extend_from_slice(&packet.to_continuous_buffer());
    }
}

/// The codec's DISCONNECT for a packet that it cannot read says 0x80 where it
/// has no name for the error. MQTT 5 has: a packet that cannot be read is
/// malformed.
fn with_its_reason(packet: Packet) -> Packet {
    let is_nameless = |packet: &Packet| match packet {
        Packet::V5_0Disconnect(it) => {
            it.reason_code() == Some(DisconnectReasonCode::UnspecifiedError)
        }
        _ => false,
    };
    if !is_nameless(&packet) {
        return packet;
    }
    let named = v5_0::Disconnect::builder().reason_code(DisconnectReasonCode::MalformedPacket);
    named.build().map_or(packet, Into::into)
}

#[cfg(test)]
mod tests;
