//! From what a session says to the packets of either version.

use firstwake::Refusal;
use mqtt_protocol_core::mqtt::packet::{
    self as wire, AssignedClientIdentifier, Packet, Property, ReasonString, RetainAvailable,
    SessionExpiryInterval, SharedSubscriptionAvailable, TopicAliasMaximum, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

use super::{Machine, RetainOffered, Terms, properties};
use crate::mqtt::packet::{
    Delivery, Farewell, Granted, Qos, Receipt, Unsubscribed, Verdict, Version,
};

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
    pub(crate) fn accept(&mut self, terms: &Terms, assigned_client_id: Option<&str>) {
        match self.version {
            Version::V31 | Version::V311 => {
                let connack = v3_1_1::Connack::builder()
                    .session_present(false)
                    .return_code(ConnectReturnCode::Accepted);
                send!(self, connack.build());
            }
            Version::V5 => match offer(terms, assigned_client_id) {
                Ok(offer) => {
                    let connack = v5_0::Connack::builder()
                        .session_present(false)
                        .reason_code(ConnectReasonCode::Success)
                        .props(offer);
                    send!(self, connack.build());
                }
                Err(error) => self.give_up(error),
            },
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
                    Verdict::NotAuthorized => PubackReasonCode::NotAuthorized,
                    Verdict::TopicInvalid => PubackReasonCode::TopicNameInvalid,
                    Verdict::QuotaExceeded => PubackReasonCode::QuotaExceeded,
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
                    Verdict::NotAuthorized => PubrecReasonCode::NotAuthorized,
                    Verdict::TopicInvalid => PubrecReasonCode::TopicNameInvalid,
                    Verdict::QuotaExceeded => PubrecReasonCode::QuotaExceeded,
                };
                if verdict == Verdict::Accepted {
                    self.awaiting_release.push(id);
                }
                let pubrec = v5_0::Pubrec::builder().packet_id(id).reason_code(code);
                send!(self, pubrec.build());
            }
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
                    Granted::NotUnderstood => SubackReasonCode::UnspecifiedError,
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

    /// Whether a message of QoS 1 or 2 could be sent now.
    pub(crate) fn has_room(&self) -> bool {
        let peers = self.connection.get_receive_maximum_vacancy_for_send();
        self.in_flight < self.send_maximum && peers.is_none_or(|left| left > 0)
    }

    /// Sends a message.
    pub(crate) fn publish(&mut self, delivery: &Delivery<'_>) -> Result<(), NotSent> {
        if self.ended.is_some() {
            return Err(NotSent::Ended);
        }
        if delivery.qos != Qos::AtMostOnce && !self.has_room() {
            return Err(NotSent::WindowFull);
        }
        let packet_id = match delivery.qos {
            Qos::AtMostOnce => None,
            _ => match self.connection.acquire_packet_id() {
                Ok(id) => Some(id),
                Err(_) => return Err(NotSent::WindowFull),
            },
        };
        let before = self.output.len();
        match self.build_publish(delivery, packet_id) {
            Ok(packet) => self.send(packet),
            Err(error) => self.give_up(error),
        }
        if self.output.len() == before {
            if let Some(id) = packet_id {
                drop(self.connection.release_packet_id(id));
            }
            return Err(NotSent::TooLarge);
        }
        self.in_flight += u16::from(packet_id.is_some());
        Ok(())
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

    pub(super) fn answer_pubrec(&mut self, id: u16) {
        match self.version {
            Version::V31 | Version::V311 => {
                send!(self, v3_1_1::Pubrel::builder().packet_id(id).build());
            }
            Version::V5 => send!(self, v5_0::Pubrel::builder().packet_id(id).build()),
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
        let qos = wire::Qos::from(delivery.qos);
        Ok(match self.version {
            Version::V31 | Version::V311 => v3_1_1::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .retain(delivery.retain)
                .packet_id(packet_id)
                .payload(delivery.payload)
                .build()?
                .into(),
            Version::V5 => v5_0::Publish::builder()
                .topic_name(topic)?
                .qos(qos)
                .retain(delivery.retain)
                .packet_id(packet_id)
                .payload(delivery.payload)
                .props(properties::write(
                    delivery.properties,
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
fn offer(terms: &Terms, assigned_client_id: Option<&str>) -> Result<Vec<Property>, MqttError> {
    let mut offer: Vec<Property> = vec![
        // Sessions end with their connection, whatever was asked for.
        SessionExpiryInterval::new(0)?.into(),
        SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if terms.topic_aliases > 0 {
        offer.push(TopicAliasMaximum::new(terms.topic_aliases)?.into());
    }
    if terms.retain == RetainOffered::No {
        offer.push(RetainAvailable::new(0)?.into());
    }
    if let Some(id) = assigned_client_id {
        offer.push(AssignedClientIdentifier::new(id)?.into());
    }
    Ok(offer)
}

/// Which operator's act ended a session, for a peer that has proved a secret.
fn administrative(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::WrongKey => "an operator reset this device: it may activate again",
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
        Farewell::TakenOver => Code::SessionTakenOver,
        Farewell::Administrative(_) => Code::AdministrativeAction,
        Farewell::MaximumConnectTime => Code::MaximumConnectTime,
        Farewell::QuotaExceeded => Code::QuotaExceeded,
        Farewell::PacketTooLarge => Code::PacketTooLarge,
        Farewell::ServerBusy => Code::ServerBusy,
        Farewell::ShuttingDown => Code::ServerShuttingDown,
    }
}

impl From<Qos> for wire::Qos {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
            Qos::ExactlyOnce => Self::ExactlyOnce,
        }
    }
}
