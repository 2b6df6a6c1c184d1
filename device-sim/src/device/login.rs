//! A device that came with its password: CONNECT, and SUBSCRIBE if it listens.

use mqtt_protocol_core::mqtt::connection::RawPacket;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Subscribe;
use mqtt_protocol_core::mqtt::packet::{PacketType, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::{LONGEST_KEEP_ALIVE, SUBSCRIBE_ID, accepted, all_granted, connect, write};
use crate::callers::Caller;
use crate::outcome::{Mishap, Refusal};

/// A device that knows its password, on its way in.
pub(crate) struct Login {
    /// The feed whose downlink it subscribes.
    listens: Option<u64>,
    awaiting: Awaiting,
}

enum Awaiting {
    Connack,
    Suback,
}

/// Where a packet has taken a login.
pub(crate) enum LoginTurn {
    /// The password was accepted; SUBSCRIBE is written.
    Connected(Login),
    /// Nothing to do but to listen on.
    Waiting(Login),
    /// The device is where the plan wanted it.
    LoggedIn,
}

impl Login {
    /// Writes the CONNECT that opens the session.
    pub(crate) fn begin(device: &Caller, out: &mut Vec<u8>) -> Result<Self, Mishap> {
        let password = device.password.expose();
        write(out, connect(&device.serial, password, LONGEST_KEEP_ALIVE))?;
        Ok(Self {
            listens: device.listens,
            awaiting: Awaiting::Connack,
        })
    }

    /// Takes one packet, and writes what it calls for.
    pub(crate) fn hear(self, packet: &RawPacket, out: &mut Vec<u8>) -> Result<LoginTurn, Mishap> {
        match (&self.awaiting, self.listens) {
            (Awaiting::Connack, None) => {
                accepted(packet, Refusal::Connack)?;
                Ok(LoginTurn::LoggedIn)
            }
            (Awaiting::Connack, Some(feed_id)) => {
                accepted(packet, Refusal::Connack)?;
                write(out, subscribe(feed_id))?;
                Ok(LoginTurn::Connected(Self {
                    awaiting: Awaiting::Suback,
                    ..self
                }))
            }
            // A configuration that was kept for it: it is not what is measured.
            (Awaiting::Suback, _) if packet.packet_type() == PacketType::Publish as u8 => {
                Ok(LoginTurn::Waiting(self))
            }
            (Awaiting::Suback, _) => {
                all_granted(packet, FILTERS)?;
                Ok(LoginTurn::LoggedIn)
            }
        }
    }
}

/// How many filters [`subscribe`] has.
const FILTERS: usize = 2;

fn subscribe(feed_id: u64) -> Result<Subscribe, MqttError> {
    let at_least_once = || SubOpts::new().set_qos(Qos::AtLeastOnce);
    let commands = format!("feeds/{feed_id}/commands/+");
    let config = format!("feeds/{feed_id}/config");
    Subscribe::builder()
        .packet_id(SUBSCRIBE_ID)
        .entries(vec![
            SubEntry::new(commands, at_least_once())?,
            SubEntry::new(config, at_least_once())?,
        ])
        .build()
}
