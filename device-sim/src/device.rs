//! What a device says next, given what the broker said.
//!
//! Pure: packets in, bytes and a decision out. It opens no socket and reads no
//! clock. A session is a value that each packet consumes, so a device that has
//! failed or finished cannot go on.

mod enrolment;
mod login;

use firstwake::topic::device as topics;
use firstwake::{ActivationCode, Serial};
use mqtt_protocol_core::mqtt::connection::{PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{
    Connack, Connect, Disconnect, Puback, Publish, Suback, Subscribe,
};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, PacketType, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use zeroize::Zeroizing;

use crate::answer::{Credentials, IssuedKey, parse_answer};
use crate::outcome::{ConnackCode, Mishap, Refusal};
use crate::plan::Ask;

pub(crate) use enrolment::{Enrolment, EnrolmentTurn};
pub(crate) use login::{Login, LoginTurn};

/// A device that knows its serial and its code, in the middle of its first
/// session.
pub(crate) struct Activation {
    topic: String,
    /// Where to ask, for those who ask by a message.
    request: Option<String>,
    awaiting: Awaiting,
}

enum Awaiting {
    Connack,
    Answer,
}

/// Where a packet has taken an activation.
pub(crate) enum Turn {
    /// The code was accepted; SUBSCRIBE is written.
    Connected(Activation),
    /// Nothing to do but to listen on.
    Waiting(Activation),
    /// The end: the farewell is written.
    Answered(Credentials),
}

/// Seconds. An activation session is over long before.
const ACTIVATION_KEEP_ALIVE: u16 = 60;

/// The longest there is, 18 hours: a held session must not have to ping. Not
/// 0, which some brokers refuse.
const LONGEST_KEEP_ALIVE: u16 = u16::MAX;

/// The only packet id that a device needs.
pub(crate) const SUBSCRIBE_ID: u16 = 1;

impl Activation {
    /// Writes the CONNECT that opens the session.
    pub(crate) fn begin(
        serial: &Serial,
        code: &ActivationCode,
        ask: Ask,
        out: &mut Vec<u8>,
    ) -> Result<Self, Mishap> {
        let code = Zeroizing::new(code.expose_hex());
        write(out, connect(serial, &code, ACTIVATION_KEEP_ALIVE))?;
        Ok(Self {
            topic: topics::response(serial).as_str().to_owned(),
            request: match ask {
                Ask::Subscribe | Ask::Http => None,
                Ask::SubscribeAndRequest => Some(topics::request(serial).as_str().to_owned()),
            },
            awaiting: Awaiting::Connack,
        })
    }

    /// Takes one packet, and writes what it calls for.
    pub(crate) fn hear(self, packet: RawPacket, out: &mut Vec<u8>) -> Result<Turn, Mishap> {
        match self.awaiting {
            Awaiting::Connack => {
                accepted(&packet, Refusal::Connack)?;
                write(out, subscribe(&self.topic))?;
                if let Some(topic) = &self.request {
                    write(out, request(topic))?;
                }
                Ok(Turn::Connected(Self {
                    awaiting: Awaiting::Answer,
                    ..self
                }))
            }
            // MQTT 3.1.1, 3.8.4: the answer may come before the SUBACK.
            Awaiting::Answer if packet.packet_type() == PacketType::Suback as u8 => {
                granted(&packet)?;
                Ok(Turn::Waiting(self))
            }
            Awaiting::Answer => self.answered(packet, out).map(Turn::Answered),
        }
    }

    fn answered(self, packet: RawPacket, out: &mut Vec<u8>) -> Result<Credentials, Mishap> {
        let flags = packet.flags();
        let PacketData::Publish(body) = packet.data else {
            return Err(Mishap::Malformed);
        };
        let (publish, _) = Publish::parse(flags, body).map_err(malformed)?;
        if publish.topic_name() != self.topic {
            return Err(Mishap::ForeignAnswer);
        }
        let credentials = parse_answer(publish.payload().as_slice())?;
        match (publish.qos(), publish.packet_id()) {
            (Qos::AtMostOnce, _) => {}
            (Qos::AtLeastOnce, Some(id)) => write(out, Puback::builder().packet_id(id).build())?,
            // More than was subscribed.
            _ => return Err(Mishap::Malformed),
        }
        write_farewell(out);
        Ok(credentials)
    }
}

/// A device that knows its key, in the middle of its second session.
pub(crate) struct Confirmation(());

impl Confirmation {
    /// Writes the CONNECT that opens the session.
    pub(crate) fn begin(
        serial: &Serial,
        key: &IssuedKey,
        out: &mut Vec<u8>,
    ) -> Result<Self, Mishap> {
        write(out, connect(serial, key.expose(), LONGEST_KEEP_ALIVE))?;
        Ok(Self(()))
    }

    /// Takes the first packet: a CONNACK that accepts, or the end.
    pub(crate) fn hear(self, packet: &RawPacket) -> Result<(), Mishap> {
        accepted(packet, Refusal::ConfirmConnack)
    }
}

/// Writes DISCONNECT.
pub(crate) fn write_farewell(out: &mut Vec<u8>) {
    append(out, &Disconnect::new());
}

fn connect(serial: &Serial, password: &str, keep_alive: u16) -> Result<Connect, MqttError> {
    Connect::builder()
        .client_id(serial.as_str())?
        .clean_session(true)
        .keep_alive(keep_alive)
        .user_name(serial.as_str())?
        .password(password)?
        .build()
}

fn subscribe(topic: &str) -> Result<Subscribe, MqttError> {
    let at_least_once = SubOpts::new().set_qos(Qos::AtLeastOnce);
    Subscribe::builder()
        .packet_id(SUBSCRIBE_ID)
        .entries(vec![SubEntry::new(topic, at_least_once)?])
        .build()
}

/// An empty message asks for what there is to have.
fn request(topic: &str) -> Result<Publish, MqttError> {
    Publish::builder()
        .topic_name(topic)?
        .qos(Qos::AtMostOnce)
        .payload(&[] as &[u8])
        .build()
}

pub(crate) fn accepted(
    packet: &RawPacket,
    refusal: fn(ConnackCode) -> Refusal,
) -> Result<(), Mishap> {
    if packet.packet_type() != PacketType::Connack as u8 {
        return Err(Mishap::Malformed);
    }
    let connack = packet.parse_exact(Connack::parse).map_err(malformed)?;
    match ConnackCode::new(connack.return_code() as u8) {
        None => Ok(()),
        Some(code) => Err(Mishap::Refused(refusal(code))),
    }
}

pub(crate) fn granted(packet: &RawPacket) -> Result<(), Mishap> {
    all_granted(packet, 1)
}

fn all_granted(packet: &RawPacket, filters: usize) -> Result<(), Mishap> {
    if packet.packet_type() != PacketType::Suback as u8 {
        return Err(Mishap::Malformed);
    }
    let suback = packet.parse_exact(Suback::parse).map_err(malformed)?;
    let codes = suback.return_codes();
    if suback.packet_id() != SUBSCRIBE_ID || codes.len() != filters {
        Err(Mishap::Malformed)
    } else if codes.iter().all(|code| code.is_success()) {
        Ok(())
    } else {
        Err(Mishap::Refused(Refusal::Subscribe))
    }
}

/// Packets are made of serials and short topics, which always fit. A key that
/// does not fit a CONNECT is not a key: the answer that held it was malformed.
pub(crate) fn write<P: GenericPacketTrait>(
    out: &mut Vec<u8>,
    packet: Result<P, MqttError>,
) -> Result<(), Mishap> {
    append(out, &packet.map_err(malformed)?);
    Ok(())
}

pub(crate) fn append(out: &mut Vec<u8>, packet: &impl GenericPacketTrait) {
    for part in packet.to_buffers() {
        out.extend_from_slice(&part);
    }
}

fn malformed(_: MqttError) -> Mishap {
    Mishap::Malformed
}

#[cfg(test)]
mod tests;
