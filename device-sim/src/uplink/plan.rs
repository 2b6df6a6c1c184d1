//! What an uplink run is to do: input only, no result and no state.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::Qos;
use serde::Serialize;

use super::payload;
use crate::credentials::Keyholder;
use crate::plan::PlanError;
use crate::service::ServiceLogin;
use crate::tls::Transport;

/// A fleet that publishes, and the operator that counts.
pub struct UplinkPlan {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// What carries MQTT there, for devices and for the operator.
    pub transport: Transport,
    /// The fleet.
    pub devices: Vec<Keyholder>,
    /// How many devices log in at any time, before the first message.
    pub in_flight: NonZeroUsize,
    /// Who counts what arrives.
    pub operator: ServiceLogin,
    /// Where messages go.
    pub topics: Topics,
    /// How many each device sends.
    pub messages: MessagesPerDevice,
    /// How large their payloads are.
    pub size: PayloadSize,
    /// The quality of service, from device to operator.
    pub qos: UplinkQos,
    /// When a device sends.
    pub pace: Pace,
    /// How long nothing must arrive before what is missing counts as lost.
    pub patience: Duration,
    /// How long a single step of a device may take.
    pub step_deadline: Duration,
}

/// `<prefix>/<feed id>/data/<datastream>`.
#[derive(Clone, Debug, Serialize)]
pub struct Topics {
    /// `feeds`, unless a broker wants another.
    pub prefix: String,
    /// What the devices measure.
    pub datastream: String,
}

/// When a device sends its next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: at QoS 1 as soon as fewer than this many are
    /// unacknowledged, at QoS 0 as soon as the connection takes it.
    Window(NonZeroU16),
    /// Open loop: this many a second of all devices together, in turn, each at
    /// its own time, whether or not earlier ones are acknowledged.
    PerSecond(NonZeroU32),
}

/// 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "u8")]
pub enum UplinkQos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// 1 to 60,000: a device uses each packet id once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MessagesPerDevice(NonZeroU16);

/// Bytes, from what a payload has to say up to 8,192.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PayloadSize(u16);

/// Why an uplink run cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// As with any fleet.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nobody would count.
    #[error("the operator cannot log in and subscribe {filter}: {why}")]
    Operator {
        /// What it was to subscribe.
        filter: String,
        /// What stopped it.
        why: crate::outcome::Outcome,
    },
}

const MOST_MESSAGES: u16 = 60_000;
const LARGEST_PAYLOAD: u16 = 8_192;

impl Topics {
    pub(super) fn of(&self, feed_id: u64) -> String {
        format!("{}/{feed_id}/data/{}", self.prefix, self.datastream)
    }

    /// Matches every device's topic.
    pub(super) fn filter(&self) -> String {
        format!("{}/+/data/#", self.prefix)
    }
}

impl UplinkQos {
    pub(super) fn on_the_wire(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce => Qos::AtLeastOnce,
        }
    }
}

impl From<UplinkQos> for u8 {
    fn from(qos: UplinkQos) -> Self {
        qos.on_the_wire() as Self
    }
}

impl MessagesPerDevice {
    /// `None` if there are none, or more than there are packet ids to use.
    pub fn new(count: u16) -> Option<Self> {
        let count = NonZeroU16::new(count)?;
        (count.get() <= MOST_MESSAGES).then_some(Self(count))
    }

    pub(super) fn get(self) -> u16 {
        self.0.get()
    }
}

impl PayloadSize {
    /// `None` if a payload could not say what it has to, or is too large.
    pub fn new(bytes: u16) -> Option<Self> {
        (payload::LEAST..=LARGEST_PAYLOAD)
            .contains(&bytes)
            .then_some(Self(bytes))
    }

    pub(super) fn get(self) -> usize {
        self.0.into()
    }
}

impl FromStr for MessagesPerDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().and_then(Self::new);
        count.ok_or_else(|| format!("this is a number from 1 to {MOST_MESSAGES}"))
    }
}

impl FromStr for PayloadSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse().ok().and_then(Self::new);
        size.ok_or_else(|| {
            let least = payload::LEAST;
            format!("this is a number of bytes from {least} to {LARGEST_PAYLOAD}")
        })
    }
}
