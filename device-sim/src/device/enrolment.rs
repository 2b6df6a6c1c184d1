//! A device that makes its first session to enrol a public key: it asks for a
//! challenge, signs it, and hears its feed.

use firstwake::Serial;
use firstwake::topic::device as topics;
use mqtt_protocol_core::mqtt::connection::{PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Puback, Publish};
use mqtt_protocol_core::mqtt::packet::{PacketType, Qos};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use serde::Deserialize;

use super::{
    ACTIVATION_KEEP_ALIVE, accepted, connect, granted, malformed, subscribe, write, write_farewell,
};
use crate::callers::Caller;
use crate::outcome::{Mishap, Refusal};

/// A device that has a code and a key pair, in the middle of its first session.
pub(crate) struct Enrolment {
    response: String,
    request: String,
    awaiting: Awaiting,
}

enum Awaiting {
    Connack,
    Challenge,
    Answer,
}

/// Where a packet has taken an enrolment.
pub(crate) enum EnrolmentTurn {
    /// Something else has to come.
    Waiting(Enrolment),
    /// The challenge is there: what the device asks for with it comes next.
    Challenged(Enrolment, String),
    /// The end: the farewell is written.
    Enrolled,
}

impl Enrolment {
    /// Writes the CONNECT that opens the session.
    pub(crate) fn begin(device: &Caller, out: &mut Vec<u8>) -> Result<Self, Mishap> {
        let code = device.password.expose();
        write(out, connect(&device.serial, code, ACTIVATION_KEEP_ALIVE))?;
        Ok(Self {
            response: topic(topics::response, &device.serial),
            request: topic(topics::request, &device.serial),
            awaiting: Awaiting::Connack,
        })
    }

    /// Takes one packet, and writes what it calls for.
    pub(crate) fn hear(
        self,
        packet: RawPacket,
        out: &mut Vec<u8>,
    ) -> Result<EnrolmentTurn, Mishap> {
        match self.awaiting {
            Awaiting::Connack => {
                accepted(&packet, Refusal::Connack)?;
                // In this order: a subscription alone asks for a key.
                write(out, request(&self.request, br#"{"ask":"challenge"}"#))?;
                write(out, subscribe(&self.response))?;
                Ok(self.waiting(Awaiting::Challenge))
            }
            Awaiting::Challenge | Awaiting::Answer
                if packet.packet_type() == PacketType::Suback as u8 =>
            {
                granted(&packet)?;
                Ok(EnrolmentTurn::Waiting(self))
            }
            Awaiting::Challenge => {
                let said: Said = self.answer(packet, out)?;
                let challenge = said.challenge.ok_or(Mishap::Malformed)?;
                Ok(EnrolmentTurn::Challenged(self, challenge))
            }
            Awaiting::Answer => {
                let said = self.answer(packet, out)?;
                said.feed_id.ok_or(Mishap::Malformed)?;
                write_farewell(out);
                Ok(EnrolmentTurn::Enrolled)
            }
        }
    }

    /// Writes what enrols the key.
    pub(crate) fn ask(self, enrolment: &[u8], out: &mut Vec<u8>) -> Result<Self, Mishap> {
        write(out, request(&self.request, enrolment))?;
        Ok(Self {
            awaiting: Awaiting::Answer,
            ..self
        })
    }

    fn waiting(self, awaiting: Awaiting) -> EnrolmentTurn {
        EnrolmentTurn::Waiting(Self { awaiting, ..self })
    }

    /// Reads an answer on the device's own topic, and acknowledges it.
    fn answer(&self, packet: RawPacket, out: &mut Vec<u8>) -> Result<Said, Mishap> {
        let flags = packet.flags();
        let PacketData::Publish(body) = packet.data else {
            return Err(Mishap::Malformed);
        };
        let (publish, _) = Publish::parse(flags, body).map_err(malformed)?;
        if publish.topic_name() != self.response {
            return Err(Mishap::ForeignAnswer);
        }
        if let (Qos::AtLeastOnce, Some(id)) = (publish.qos(), publish.packet_id()) {
            write(out, Puback::builder().packet_id(id).build())?;
        }
        let said: Said =
            serde_json::from_slice(publish.payload().as_slice()).map_err(|_| Mishap::Malformed)?;
        match said.error {
            None => Ok(said),
            Some(_) => Err(Mishap::Refused(Refusal::Answer)),
        }
    }
}

/// What may be in an answer that this device looks at.
#[derive(Deserialize)]
struct Said {
    challenge: Option<String>,
    feed_id: Option<u64>,
    error: Option<serde::de::IgnoredAny>,
}

fn topic(of: fn(&Serial) -> firstwake::topic::TopicName, serial: &Serial) -> String {
    of(serial).as_str().to_owned()
}

fn request(topic: &str, payload: &[u8]) -> Result<Publish, MqttError> {
    Publish::builder()
        .topic_name(topic)?
        .qos(Qos::AtMostOnce)
        .payload(payload)
        .build()
}
