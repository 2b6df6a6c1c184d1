//! From the packets of either version to what a session understands.

use firstwake::topic::{InvalidTopic, TopicFilter, TopicName};
use mqtt_protocol_core::mqtt::common::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{self as wire, Packet, Property, SubEntry, v5_0};
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;

use super::{Machine, Offered, properties};
use crate::mqtt::packet::{
    Farewell, Goodbye, Input, NotOffered, Properties, Publish, Qos, Receipt, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Version, WillFate,
};
use crate::mqtt::qos;

/// A filter and its group.
type Filter<'a> = (Option<&'a str>, Result<TopicFilter, NotOffered>);

impl Machine {
    /// Turns one packet into what the session is told; acknowledgements stay
    /// here.
    pub(super) fn receive(&mut self, packet: Packet, inputs: &mut Vec<Input>) {
        let properties = match &packet {
            Packet::V5_0Publish(p) => p.props().as_slice(),
            Packet::V5_0Subscribe(p) => p.props().as_slice(),
            Packet::V5_0Unsubscribe(p) => p.props().as_slice(),
            _ => &[],
        };
        if !properties::hold_no_nul(properties) {
            return self.bid_farewell(Farewell::Malformed);
        }
        match packet {
            Packet::V3_1_1Publish(p) => {
                let head = (p.topic_name(), p.qos(), p.retain(), p.packet_id());
                let properties = Properties::default();
                self.take_publish(head, p.payload().clone(), properties, inputs);
            }
            Packet::V5_0Publish(p) => {
                let head = (p.topic_name(), p.qos(), p.retain(), p.packet_id());
                let properties = properties::read(p.props());
                if !may_be_published(p.props(), &properties) {
                    return self.bid_farewell(Farewell::ProtocolError);
                }
                self.take_publish(head, p.payload().clone(), properties, inputs);
            }
            Packet::V3_1_1Subscribe(p) => {
                self.take_subscribe(p.packet_id(), p.entries(), &[], inputs);
            }
            Packet::V5_0Subscribe(p) => {
                self.take_subscribe(p.packet_id(), p.entries(), p.props(), inputs);
            }
            Packet::V3_1_1Unsubscribe(p) => {
                let filters = p.entries().iter().map(|entry| entry.as_str().to_owned());
                self.take_unsubscribe(p.packet_id(), filters.collect(), inputs);
            }
            Packet::V5_0Unsubscribe(p) => {
                let filters = p.entries().iter().map(|entry| entry.as_str().to_owned());
                self.take_unsubscribe(p.packet_id(), filters.collect(), inputs);
            }
            Packet::V3_1_1Pubrec(p) => self.take_pubrec(p.packet_id(), inputs),
            Packet::V5_0Pubrec(p) if p.reason_code().is_some_and(|code| code.is_failure()) => {
                inputs.push(Input::Acknowledged(p.packet_id()));
            }
            Packet::V5_0Pubrec(p) => self.take_pubrec(p.packet_id(), inputs),
            Packet::V3_1_1Pubrel(p) => self.answer_pubrel(p.packet_id()),
            Packet::V5_0Pubrel(p) => self.answer_pubrel(p.packet_id()),
            Packet::V3_1_1Disconnect(_) => inputs.push(Input::Disconnect(Goodbye {
                will: WillFate::Discard,
                session_expiry: None,
            })),
            Packet::V5_0Disconnect(p) => self.take_disconnect(&p, inputs),
            // No enhanced authentication was agreed on.
            Packet::V5_0Auth(_) => self.bid_farewell(Farewell::ProtocolError),
            Packet::V3_1_1Puback(p) => inputs.push(Input::Acknowledged(p.packet_id())),
            Packet::V5_0Puback(p) => inputs.push(Input::Acknowledged(p.packet_id())),
            Packet::V3_1_1Pubcomp(p) => inputs.push(Input::Acknowledged(p.packet_id())),
            Packet::V5_0Pubcomp(p) => inputs.push(Input::Acknowledged(p.packet_id())),
            // Answered by the state.
            Packet::V3_1_1Pingreq(_)
            | Packet::V5_0Pingreq(_)
            | Packet::V3_1_1Connect(_)
            | Packet::V5_0Connect(_) => {}
            // What only a server sends; the state has refused it before.
            _ => self.bid_farewell(Farewell::ProtocolError),
        }
    }

    fn take_pubrec(&mut self, id: u16, inputs: &mut Vec<Input>) {
        self.release(id);
        inputs.push(Input::Received(id));
    }

    /// MQTT 5, 3.14.2.2.2: a session that was to end with its connection
    /// cannot be made to last by the goodbye.
    fn take_disconnect(&mut self, packet: &v5_0::Disconnect, inputs: &mut Vec<Input>) {
        let props = packet.props().iter().flatten();
        let session_expiry = props.clone().find_map(|property| match property {
            Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
            _ => None,
        });
        if self.transient && session_expiry.is_some_and(|seconds| seconds > 0) {
            return self.bid_farewell(Farewell::ProtocolError);
        }
        let will = match packet.reason_code() {
            None | Some(DisconnectReasonCode::NormalDisconnection) => WillFate::Discard,
            Some(_) => WillFate::Publish,
        };
        inputs.push(Input::Disconnect(Goodbye {
            will,
            session_expiry,
        }));
    }

    fn take_publish(
        &mut self,
        (topic, qos, retain, packet_id): (&str, wire::Qos, bool, Option<u16>),
        payload: ArcPayload,
        properties: Properties,
        inputs: &mut Vec<Input>,
    ) {
        let topic = TopicName::parse(topic, self.topics);
        if let Err(error) = topic
            && is_malformed(error)
        {
            return self.bid_farewell(Farewell::TopicNameInvalid);
        }
        let qos = qos::read(qos);
        let receipt = match (qos, packet_id) {
            (Qos::AtMostOnce, _) => Receipt::None,
            (Qos::AtLeastOnce, Some(id)) if id != 0 => Receipt::Puback(id),
            (Qos::ExactlyOnce, Some(id)) if id != 0 => Receipt::Pubrec(id),
            _ => return self.bid_farewell(Farewell::ProtocolError),
        };
        inputs.push(Input::Publish(Publish {
            topic,
            payload,
            qos,
            retain,
            properties,
            receipt,
        }));
    }

    fn take_subscribe(
        &mut self,
        packet_id: u16,
        entries: &[SubEntry],
        props: &[Property],
        inputs: &mut Vec<Input>,
    ) {
        let mut filters = Vec::with_capacity(entries.len());
        for entry in entries {
            let Ok((group, filter)) = self.read_filter(entry.topic_filter()) else {
                return self.bid_farewell(Farewell::TopicFilterInvalid);
            };
            let options = entry.sub_opts();
            // Before MQTT 5 there is nothing but the quality.
            if self.version != Version::V5 && options.to_buffer()[0] > 2 {
                return self.bid_farewell(Farewell::Malformed);
            }
            // MQTT 5, 3.8.3.1: nobody's own messages are left out of a group.
            if group.is_some() && options.nl() {
                return self.bid_farewell(Farewell::ProtocolError);
            }
            filters.push(Subscription {
                filter,
                group: group.map(Box::from),
                qos: qos::read(options.qos()),
                no_local: options.nl(),
                retain_as_published: options.rap(),
                retained: match options.rh() {
                    wire::RetainHandling::SendRetained => RetainHandling::Send,
                    wire::RetainHandling::SendRetainedIfNotExists => RetainHandling::SendIfNew,
                    wire::RetainHandling::DoNotSendRetained => RetainHandling::Never,
                },
            });
        }
        if packet_id == 0 || filters.is_empty() {
            return self.bid_farewell(Farewell::ProtocolError);
        }
        let mut identifiers = props.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id.val()),
            _ => None,
        });
        let identifier = identifiers.next();
        // MQTT 5, 3.8.2.1.2: one at most.
        if identifiers.next().is_some() {
            return self.bid_farewell(Farewell::ProtocolError);
        }
        inputs.push(Input::Subscribe(Subscribe {
            packet_id,
            filters,
            identifier,
            user: properties::read(props).user,
        }));
    }

    /// Reads a filter, and the group it is shared with. The outer error is a
    /// filter that is none; the inner one a filter that cannot be had.
    fn read_filter<'a>(&self, text: &'a str) -> Result<Filter<'a>, InvalidTopic> {
        let (group, text) = match read_group(text)? {
            Some((group, text)) => (Some(group), text),
            None => (None, text),
        };
        let filter = match TopicFilter::parse(text, self.topics) {
            Err(error) if is_malformed(error) => return Err(error),
            _ if group.is_some() && self.shared == Offered::No => Err(NotOffered::Shared),
            Err(_) => Err(NotOffered::Limit),
            Ok(filter) => Ok(filter),
        };
        Ok((group, filter))
    }

    fn take_unsubscribe(&mut self, packet_id: u16, filters: Vec<String>, inputs: &mut Vec<Input>) {
        if packet_id == 0 || filters.is_empty() {
            return self.bid_farewell(Farewell::ProtocolError);
        }
        let is_none = |text: &String| self.read_filter(text).is_err();
        if filters.iter().any(is_none) {
            return self.bid_farewell(Farewell::TopicFilterInvalid);
        }
        inputs.push(Input::Unsubscribe(Unsubscribe { packet_id, filters }));
    }
}

/// MQTT 5, 4.8.2: the group's name has at least one character, and a filter
/// follows it. `None` for a filter of one's own.
fn read_group(text: &str) -> Result<Option<(&str, &str)>, InvalidTopic> {
    let Some(rest) = text.strip_prefix("$share") else {
        return Ok(None);
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Ok(None);
    }
    let shared = rest.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    match shared {
        Some((group, _)) if group.contains(['+', '#']) => Err(InvalidTopic::MisplacedWildcard),
        Some((group, filter)) if !group.is_empty() => Ok(Some((group, filter))),
        _ => Err(InvalidTopic::Empty),
    }
}

/// MQTT 5, 3.3.2.3: a client names no subscriptions, and it wants answers on a
/// topic, not on many.
fn may_be_published(wire: &[Property], properties: &Properties) -> bool {
    let is_identifier = |property| matches!(property, &Property::SubscriptionIdentifier(_));
    !wire.iter().any(is_identifier) && properties.have_an_answerable_topic()
}

/// Whether MQTT itself forbids such a topic, rather than our limits.
fn is_malformed(error: InvalidTopic) -> bool {
    match error {
        InvalidTopic::Empty
        | InvalidTopic::Nul
        | InvalidTopic::WildcardInName
        | InvalidTopic::MisplacedWildcard => true,
        InvalidTopic::TooLong | InvalidTopic::TooDeep => false,
    }
}
