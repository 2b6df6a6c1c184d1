//! What a device asks on its request topic, and how it is answered.
//!
//! Every request gets exactly one answer, on the topic of the device's own and
//! over the one connection that asked: never retained, never over the bus, and
//! labelled as the request wanted. What it says is for the core to decide.

use firstwake::topic::TopicName;
use firstwake::topic::device::{request, response};
use firstwake::{Answer, InvalidRequest, ProvisionRequest, Serial};

use super::Departure;
use crate::mqtt::machine::{Machine, NotSent};
use crate::mqtt::packet::{
    Attempt, Delivery, Farewell, Properties, Publish, Qos, Receipt, Verdict,
};

/// Where a device asks, and where it is answered.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) request: TopicName,
    pub(super) response: TopicName,
}

/// One request, and how its answer is to be labelled.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Result<ProvisionRequest, InvalidRequest>,
    correlation: Option<Vec<u8>>,
}

impl Topics {
    /// Of this device and no other.
    pub(super) fn of(serial: &Serial) -> Self {
        Self {
            request: request(serial),
            response: response(serial),
        }
    }

    /// Whether a message is a request, and wants its answer where it goes.
    pub(super) fn judge(&self, publish: &Publish) -> Verdict {
        let elsewhere = publish
            .properties
            .response_topic
            .as_deref()
            .is_some_and(|topic| topic != self.response.as_str());
        match &publish.topic {
            Ok(topic) if *topic == self.request && !elsewhere => Verdict::Accepted,
            Ok(_) => Verdict::NotAuthorized,
            Err(_) => Verdict::TopicInvalid,
        }
    }
}

impl Asked {
    /// What a message on the request topic asks, and what it is acknowledged
    /// with.
    pub(super) fn read(publish: Publish) -> (Self, Receipt) {
        let asked = Self {
            request: ProvisionRequest::parse(publish.payload.as_slice()),
            correlation: publish.properties.correlation,
        };
        (asked, publish.receipt)
    }

    /// Nothing in particular: what subscribing asks.
    pub(super) fn nothing() -> Self {
        Self {
            request: Ok(ProvisionRequest::default()),
            correlation: None,
        }
    }

    /// Sends the answer. What cannot be sent ends the session, so that nobody
    /// waits for it.
    pub(super) fn answer(
        self,
        answer: &Answer,
        topics: &Topics,
        qos: Qos,
        machine: &mut Machine,
    ) -> Result<(), Departure> {
        let delivery = Delivery {
            topic: &topics.response,
            payload: answer.expose_bytes(),
            qos,
            retain: false,
            attempt: Attempt::First,
            expiry: None,
            properties: &Properties {
                correlation: self.correlation,
                ..Properties::default()
            },
            subscriptions: &[],
        };
        machine.publish(&delivery).map(drop).map_err(|error| {
            Departure::ended(match error {
                NotSent::WindowFull => Farewell::QuotaExceeded,
                NotSent::TooLarge => Farewell::PacketTooLarge,
                NotSent::Ended => Farewell::ProtocolError,
            })
        })
    }
}
