//! A peer's will: checked when it connects, published if it vanishes.

use firstwake::Admission;
use firstwake::topic::device::Downlink;
use firstwake::topic::{Limits, TopicName};

use super::Departure;
use crate::broker::Broker;
use crate::bus::{Message, Sender};
use crate::mqtt::connack::Rejection;
use crate::mqtt::packet::{Connect, Farewell, Version, WillFate};
use crate::sessions::Owner;
use crate::wills::{Author, WillMessage};

/// A will that its peer may publish.
#[derive(Debug)]
pub(crate) struct Will {
    will: Box<WillMessage>,
    /// Seconds between the end of the connection and this.
    delay: u32,
}

impl Will {
    /// Checks a peer's will; an activation has none.
    pub(crate) fn check(
        admission: &Admission,
        connect: &Connect,
        broker: &Broker,
    ) -> Result<Option<Self>, Rejection> {
        let Some(will) = &connect.will else {
            return Ok(None);
        };
        let parse =
            |limits| TopicName::parse(&will.topic, limits).map_err(|_| Rejection::WillTopic);
        let (topic, retain, author) = match admission {
            Admission::Activation(_) => return Ok(None),
            Admission::Device(login) => {
                // 3.1.1 has no way to say that nothing is retained for a device.
                if will.retain && connect.version == Version::V5 {
                    return Err(Rejection::WillRetain);
                }
                let topic = parse(Limits::DEVICE)?;
                let uplink = login.uplink(&topic).ok_or(Rejection::WillTopic)?;
                (uplink.into_topic(), false, Author::Device(login.clone()))
            }
            Admission::Operator(login) => {
                let topic = parse(Limits::SERVICE)?;
                // A device takes commands of the living.
                if !login.rights().may_publish(&topic) || Downlink::of(&topic).is_some() {
                    return Err(Rejection::WillTopic);
                }
                (topic, will.retain, Author::Operator(login.clone()))
            }
        };
        let message = Message {
            topic,
            payload: will.payload.clone(),
            qos: will.qos,
            retain,
            properties: will.properties.clone(),
            sender: Sender::next(),
            at: broker.clock.now(),
        };
        Ok(Some(Self {
            will: Box::new(WillMessage { message, author }),
            delay: will.delay,
        }))
    }

    /// Publishes the will of a session that has ended so, now or once its
    /// delay is over; at the latest when the session is, in `expiry` seconds.
    pub(super) async fn carry_out(
        self,
        departure: &Departure,
        owner: &Owner,
        expiry: u32,
        broker: &Broker,
    ) {
        if departure.will == WillFate::Discard {
            return;
        }
        let mut will = *self.will;
        will.message.at = broker.clock.now();
        let delay = self.delay.min(expiry);
        let now = match departure.farewell {
            Some(Farewell::TakenOver) if delay > 0 => return,
            Some(Farewell::Replaced) => Some(will),
            _ if delay > 0 => {
                let due = broker.clock.tick().plus(delay).plus_ticks(1);
                broker.wills.keep(owner.clone(), will, due)
            }
            _ => Some(will),
        };
        if let Some(will) = now {
            broker.publish_will(will).await;
        }
    }
}
