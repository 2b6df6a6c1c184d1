//! From what a session says to the packets of either version.

use firstwake::Refusal;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, GenericPacketTrait, Packet, Property, ReasonString, RetainAvailable,
    ServerKeepAlive, SessionExpiryInterval, SharedSubscriptionAvailable, TopicAliasMaximum, v3_1_1,
    v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, PubrelReasonCode, SubackReasonCode, SubackReturnCode,
    UnsubackReasonCode,
};

use super::{Machine, Offered, Session, Terms, Welcome, properties};
use crate::mqtt::packet::{
    Attempt, Delivery, Farewell, Granted, Qos, Receipt, Unsubscribed, Verdict, Version,
};
use crate::mqtt::qos;

/// Bytes that a topic alias adds to a packet at most: three of its own, and
/// one to each of two lengths.
const ALIAS: usize = 5;

/// Bytes of a reason that a peer is given for a payload.
const REASON: usize = 256;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// Too many wait for their acknowledgement: try again later.
    WindowFull,
    /// The peer said that it takes no packet of this size.
    TooLarge,
    /// The connection has ended.
    Ended,
}

/// Builds a packet of our own making, or ends the connection.
macro_rules! send {
    ($machine:expr, $packet:expr) => {
        match $packet {
            Ok(packet) => $machine.send(packet.into()),
            Err(error) => $machine.give_up(error),
        }
    };
}

impl Machine {
    /// Accepts the CONNECT.
    pub(crate) fn accept(&mut self, terms: &Terms, welcome: &Welcome<'_>) {
        let present = welcome.session == Session::Present;
        self.transient = welcome.session_expiry == 0;
        match self.version {
            Version::V31 | Version::V311 => {
                // 3.1 has no such flag: its bit is reserved.
                let present = present && self.version == Version::V311;
                let connack = v3_1_1::Connack::builder()
                    .session_present(present)
                    .return_code(ConnectReturnCode::Accepted);
                send!(self, connack.build());
            }
            Version::V5 => match offer(terms, welcome) {
                Ok(offer) => {
                    let connack = v5_0::Connack::builder()
                        .session_present(present)
                        .reason_code(ConnectReasonCode::Success)
                        .props(offer);
                    send!(self, connack.build());
                }
                Err(error) => self.give_up(error),
            },
        }
        if self.output.is_empty() {
            // The peer takes no packet as large as a CONNACK is.
            self.ended.get_or_insert(Farewell::PacketTooLarge);
        }
    }

    /// Whether the peer can be told no about a message.
    pub(crate) fn can_refuse(&self, receipt: Receipt) -> bool {
        self.version == Version::V5 && receipt != Receipt::None
    }

    /// Acknowledges a message. 3.1.1 has no way to say no.
    pub(crate) fn acknowledge(&mut self, receipt: Receipt, verdict: Verdict) {
        match (receipt, self.version) {
            (Receipt::None, _) => {}
            (Receipt::Puback(id), Version::V31 | Version::V311) => {
                send!(self, v3_1_1::Puback::builder().packet_id(id).build());
            }
            (Receipt::Puback(id), Version::V5) => {
                let code = match verdict {
                    Verdict::Accepted => PubackReasonCode::Success,
                    Verdict::NobodyThere => PubackReasonCode::NoMatchingSubscribers,
                    Verdict::NotAuthorized => PubackReasonCode::NotAuthorized,
                    Verdict::TopicInvalid => PubackReasonCode::TopicNameInvalid,
                    Verdict::QuotaExceeded => PubackReasonCode::QuotaExceeded,
                    Verdict::PayloadInvalid => PubackReasonCode::PayloadFormatInvalid,
                };
                let puback = v5_0::Puback::builder().packet_id(id).reason_code(code);
                send!(self, puback.build());
            }
            (Receipt::Pubrec(id), Version::V31 | Version::V311) => {
                self.awaiting_release.push(id);
                send!(self, v3_1_1::Pubrec::builder().packet_id(id).build());
            }
            (Receipt::Pubrec(id), Version::V5) => {
                let code = match verdict {
                    Verdict::Accepted => PubrecReasonCode::Success,
                    Verdict::NobodyThere => PubrecReasonCode::NoMatchingSubscribers,
                    Verdict::NotAuthorized => PubrecReasonCode::NotAuthorized,
                    Verdict::TopicInvalid => PubrecReasonCode::TopicNameInvalid,
                    Verdict::QuotaExceeded => PubrecReasonCode::QuotaExceeded,
                    Verdict::PayloadInvalid => PubrecReasonCode::PayloadFormatInvalid,
                };
                if matches!(verdict, Verdict::Accepted | Verdict::NobodyThere) {
                    self.awaiting_release.push(id);
                }
                let pubrec = v5_0::Pubrec::builder().packet_id(id).reason_code(code);
                send!(self, pubrec.build());
            }
        }
    }

    /// Acknowledges a message whose payload cannot be read. MQTT 5 is given the
    /// reason, unless it asked for none (3.1.2.11.7).
    pub(crate) fn acknowledge_unreadable(&mut self, receipt: Receipt, reason: &str) {
        let verdict = Verdict::PayloadInvalid;
        let end = reason.floor_char_boundary(REASON);
        let reason = ReasonString::new(&reason[..end]);
        let (true, Ok(reason)) = (self.takes_reasons, reason) else {
            return self.acknowledge(receipt, verdict);
        };
        let before = self.output.len();
        match receipt {
            Receipt::Puback(id) => {
                let code = PubackReasonCode::PayloadFormatInvalid;
                let puback = v5_0::Puback::builder().packet_id(id).reason_code(code);
                send!(self, puback.props(vec![reason.into()]).build());
            }
            Receipt::Pubrec(id) => {
                let code = PubrecReasonCode::PayloadFormatInvalid;
                let pubrec = v5_0::Pubrec::builder().packet_id(id).reason_code(code);
                send!(self, pubrec.props(vec![reason.into()]).build());
            }
            Receipt::None => return,
        }
        // A peer that takes small packets only may have no room for words.
        if self.output.len() == before {
            self.acknowledge(receipt, verdict);
        }
    }

    /// Answers a SUBSCRIBE, one answer a filter.
    pub(crate) fn suback(&mut self, packet_id: u16, granted: &[Granted]) {
        match self.version {
            Version::V31 | Version::V311 => {
                let codes = granted.iter().map(|one| match one {
                    Granted::At(Qos::AtMostOnce) => SubackReturnCode::SuccessMaximumQos0,
                    Granted::At(Qos::AtLeastOnce) => SubackReturnCode::SuccessMaximumQos1,
                    Granted::At(Qos::ExactlyOnce) => SubackReturnCode::SuccessMaximumQos2,
                    _ => SubackReturnCode::Failure,
                });
                let suback = v3_1_1::Suback::builder()
                    .packet_id(packet_id)
                    .return_codes(codes.collect());
                send!(self, suback.build());
            }
            Version::V5 => {
                let codes = granted.iter().map(|one| match one {
                    Granted::At(Qos::AtMostOnce) => SubackReasonCode::GrantedQos0,
                    Granted::At(Qos::AtLeastOnce) => SubackReasonCode::GrantedQos1,
                    Granted::At(Qos::ExactlyOnce) => SubackReasonCode::GrantedQos2,
                    Granted::NotAuthorized => SubackReasonCode::NotAuthorized,
                    Granted::FilterInvalid => SubackReasonCode::TopicFilterInvalid,
                    Granted::QuotaExceeded => SubackReasonCode::QuotaExceeded,
                    Granted::NotUnderstood | Granted::Unavailable => {
                        SubackReasonCode::UnspecifiedError
                    }
                    Granted::SharedNotOffered => SubackReasonCode::SharedSubscriptionsNotSupported,
                });
                let suback = v5_0::Suback::builder()
                    .packet_id(packet_id)
                    .reason_codes(codes.collect());
                send!(self, suback.build());
            }
        }
    }

    /// Answers an UNSUBSCRIBE, one answer a filter.
    pub(crate) fn unsuback(&mut self, packet_id: u16, outcome: &[Unsubscribed]) {
        match self.version {
            Version::V31 | Version::V311 => {
                let unsuback = v3_1_1::Unsuback::builder().packet_id(packet_id);
                send!(self, unsuback.build());
            }
            Version::V5 => {
                let codes = outcome.iter().map(|one| match one {
                    Unsubscribed::Done => UnsubackReasonCode::Success,
                    Unsubscribed::NotThere => UnsubackReasonCode::NoSubscriptionExisted,
                });
                let unsuback = v5_0::Unsuback::builder()
                    .packet_id(packet_id)
                    .reason_codes(codes.collect());
                send!(self, unsuback.build());
            }
        }
    }

    /// How many messages of QoS 1 or 2 could be sent now.
    pub(crate) fn room(&self) -> u16 {
        self.send_maximum.saturating_sub(self.in_flight)
    }

    /// Whether a message of QoS 1 or 2 could be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// The QoS 2 messages from the peer that wait for their second half. A
    /// session that goes on with another connection [takes them
    /// along](Self::expect_release).
    pub(crate) fn awaiting_release(&self) -> &[u16] {
        &self.awaiting_release
    }

    /// Takes up the QoS 2 messages that an earlier connection has received the
    /// first half of.
    pub(crate) fn expect_release(&mut self, ids: Vec<u16>) {
        let handled = ids.iter().copied().collect();
        self.connection.restore_qos2_publish_handled(handled);
        self.awaiting_release = ids;
    }

    /// Sends a message. Returns its packet id, if its quality has one.
    pub(crate) fn publish(&mut self, delivery: &Delivery<'_>) -> Result<Option<u16>, NotSent> {
        if self.ended.is_some() {
            return Err(NotSent::Ended);
        }
        if delivery.qos != Qos::AtMostOnce && !self.has_room() {
            return Err(NotSent::WindowFull);
        }
        let packet_id = match (delivery.qos, delivery.attempt) {
            (Qos::AtMostOnce, _) => None,
            (_, Attempt::First) => match self.connection.acquire_packet_id() {
                Ok(id) => Some(id),
                Err(_) => return Err(NotSent::WindowFull),
            },
            (_, Attempt::FirstAs(id) | Attempt::Again(id)) => {
                match self.connection.register_packet_id(id) {
                    Ok(()) => Some(id),
                    Err(_) => return Err(NotSent::WindowFull),
                }
            }
        };
        let before = self.output.len();
        match self.build_publish(delivery, packet_id) {
            Ok(packet) => {
                // Spares the topic's bytes where a peer asked for aliases. The
                // state looks at the size before it adds one.
                let fits = packet.size() + ALIAS <= self.peer_packet_size as usize;
                self.connection.set_auto_map_topic_alias_send(fits);
                self.send(packet);
            }
            Err(error) => self.give_up(error),
        }
        if self.output.len() == before {
            if let Some(id) = packet_id {
                drop(self.connection.release_packet_id(id));
            }
            return Err(NotSent::TooLarge);
        }
        self.in_flight += u16::from(packet_id.is_some());
        Ok(packet_id)
    }

    /// Sends the second half of a QoS 2 message whose first half an earlier
    /// connection has seen received.
    pub(crate) fn release_again(&mut self, id: u16) {
        if self.connection.register_packet_id(id).is_ok() {
            self.in_flight += 1;
            self.release(id);
        }
    }

    /// Ends the connection; MQTT 5 is told why.
    pub(crate) fn bid_farewell(&mut self, farewell: Farewell) {
        if self.ended.replace(farewell).is_some() || self.version != Version::V5 {
            return;
        }
        let code = disconnect_code(farewell);
        if let Farewell::Administrative(refusal) = farewell
            && let Ok(reason) = ReasonString::new(administrative(refusal))
        {
            let before = self.output.len();
            let disconnect = v5_0::Disconnect::builder().reason_code(code);
            send!(self, disconnect.props(vec![reason.into()]).build());
            // A peer that takes small packets only may have no room for words.
            if self.output.len() != before {
                return;
            }
        }
        send!(self, v5_0::Disconnect::builder().reason_code(code).build());
    }

    /// Sends the second half of a QoS 2 message.
    pub(super) fn release(&mut self, id: u16) {
        match self.version {
            Version::V31 | Version::V311 => {
                send!(self, v3_1_1::Pubrel::builder().packet_id(id).build());
            }
            Version::V5 => send!(self, v5_0::Pubrel::builder().packet_id(id).build()),
        }
    }

    /// Answers a PUBREC of a message that was never sent. The state would not
    /// send this: it knows of no such flow.
    pub(super) fn release_unknown(&mut self, id: u16) {
        let pubrel = match self.version {
            Version::V31 | Version::V311 => {
                let pubrel = v3_1_1::Pubrel::builder().packet_id(id).build();
                pubrel.map(Packet::from)
            }
            Version::V5 => {
                let code = PubrelReasonCode::PacketIdentifierNotFound;
                let pubrel = v5_0::Pubrel::builder().packet_id(id).reason_code(code);
                pubrel.build().map(Packet::from)
            }
        };
        match pubrel {
            Ok(pubrel) => self.put(&pubrel),
            Err(error) => self.give_up(error),
        }
    }

    pub(super) fn answer_pubrel(&mut self, id: u16) {
        let waiting = self.awaiting_release.iter().position(|found| *found == id);
        if let Some(index) = waiting {
            self.awaiting_release.swap_remove(index);
        }
        match self.version {
            Version::V31 | Version::V311 => {
                send!(self, v3_1_1::Pubcomp::builder().packet_id(id).build());
            }
            Version::V5 => {
                let code = match waiting {
                    Some(_) => PubcompReasonCode::Success,
                    None => PubcompReasonCode::PacketIdentifierNotFound,
                };
                let pubcomp = v5_0::Pubcomp::builder().packet_id(id).reason_code(code);
                send!(self, pubcomp.build());
            }
        }
    }

    fn build_publish(
        &self,
        delivery: &Delivery<'_>,
        packet_id: Option<u16>,
    ) -> Result<Packet, MqttError> {
        let topic = delivery.topic.as_str();
        let qos = qos::write(delivery.qos);
        let again = packet_id.is_some() && matches!(delivery.attempt, Attempt::Again(_));
        Ok(match self.version {
            Version::V31 | Version::V311 => v3_1_1::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .dup(again)
                .retain(delivery.retain)
                .packet_id(packet_id)
                .payload(delivery.payload)
                .build()?
                .into(),
            Version::V5 => v5_0::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .dup(again)
                .retain(delivery.retain)
                .packet_id(packet_id)
                .payload(delivery.payload)
                .props(properties::write(
                    delivery.properties,
                    delivery.expiry,
                    delivery.subscriptions,
                )?)
                .build()?
                .into(),
        })
    }

    fn send(&mut self, packet: Packet) {
        let events = self.connection.send(packet);
        for event in events {
            use mqtt_protocol_core::mqtt::connection::Event;
            match event {
                Event::RequestSendPacket { packet, .. } => self.put(&packet),
                // Larger than the peer takes: the packet is left out.
                Event::NotifyError(MqttError::PacketTooLarge) => {}
                Event::NotifyError(error) => self.give_up(error),
                Event::RequestClose => {
                    self.ended.get_or_insert(Farewell::ProtocolError);
                }
                Event::NotifyPacketReceived(_)
                | Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_) => {}
            }
        }
    }

    /// A packet of ours could not be made or was not allowed: the state does
    /// not fit what the session believes, so nothing more is sent.
    fn give_up(&mut self, error: MqttError) {
        if self.ended.is_none() {
            tracing::warn!(?error, "a packet could not be sent; the connection ends");
            self.ended = Some(Farewell::ProtocolError);
        }
    }
}

/// What MQTT 5 is told about the server with the CONNACK. The state adds the
/// packet size and the receive maximum.
fn offer(terms: &Terms, welcome: &Welcome<'_>) -> Result<Vec<Property>, MqttError> {
    let mut offer: Vec<Property> = Vec::new();
    if welcome.session_expiry != welcome.session_expiry_asked {
        offer.push(SessionExpiryInterval::new(welcome.session_expiry)?.into());
    }
    if terms.shared == Offered::No {
        offer.push(SharedSubscriptionAvailable::new(0)?.into());
    }
    if let Some(seconds) = welcome.keep_alive {
        offer.push(ServerKeepAlive::new(seconds)?.into());
    }
    if terms.topic_aliases > 0 {
        offer.push(TopicAliasMaximum::new(terms.topic_aliases)?.into());
    }
    if terms.retain == Offered::No {
        offer.push(RetainAvailable::new(0)?.into());
    }
    if let Some(id) = welcome.client_id {
        offer.push(AssignedClientIdentifier::new(id)?.into());
    }
    Ok(offer)
}

/// Which operator's act ended a session, for a peer that has proved a secret.
fn administrative(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::WrongKey => "an operator reset this device: it may activate again",
        Refusal::UnknownDevice => {
            "no device has this serial any more: an operator renamed or removed it"
        }
        Refusal::WrongOperator => "this operator was changed or removed",
        other => other.meaning(),
    }
}

fn disconnect_code(farewell: Farewell) -> DisconnectReasonCode {
    use DisconnectReasonCode as Code;
    match farewell {
        Farewell::ProtocolError => Code::ProtocolError,
        Farewell::Malformed => Code::MalformedPacket,
        Farewell::TopicNameInvalid => Code::TopicNameInvalid,
        Farewell::TopicFilterInvalid => Code::TopicFilterInvalid,
        Farewell::NotAuthorized => Code::NotAuthorized,
        Farewell::KeepAliveTimeout => Code::KeepAliveTimeout,
        Farewell::TakenOver | Farewell::Replaced => Code::SessionTakenOver,
        Farewell::Administrative(_) => Code::AdministrativeAction,
        Farewell::MaximumConnectTime => Code::MaximumConnectTime,
        Farewell::QuotaExceeded => Code::QuotaExceeded,
        Farewell::PacketTooLarge => Code::PacketTooLarge,
        Farewell::ServerBusy => Code::ServerBusy,
        Farewell::ShuttingDown => Code::ServerShuttingDown,
    }
}
