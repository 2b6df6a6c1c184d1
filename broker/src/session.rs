//! The three kinds of session, and what they have in common.
//!
//! A session holds an admission, so it need not ask who its peer is; which
//! topic is whose it asks the core, at each message.

mod activation;
mod device;
mod events;
mod offences;
mod operator;
mod pace;
mod streams;
mod subscriptions;

use firstwake::topic::device::Uplink;
use firstwake::topic::{Limits, TopicName};
use firstwake::{Admission, NotAdmitted};

pub(crate) use self::activation::ActivationSession;
pub(crate) use self::device::DeviceSession;
pub(crate) use self::operator::OperatorSession;

use crate::broker::Broker;
use crate::bus::{Message, Sender};
use crate::mqtt::connack::Rejection;
use crate::mqtt::machine::{RetainOffered, Terms};
use crate::mqtt::packet::{Connect, Farewell, Input, Qos, Version, WillFate};
use crate::wire::{Step, Stream, Wire};

impl Terms {
    /// A device that fetches its credentials.
    pub(crate) const ACTIVATION: Self = Self {
        packet_size: 8 * 1024,
        receive_maximum: 16,
        send_maximum: 16,
        topic_aliases: 0,
        retain: RetainOffered::No,
        topics: Limits::DEVICE,
    };

    /// A device.
    pub(crate) const DEVICE: Self = Self {
        packet_size: 64 * 1024,
        receive_maximum: 20,
        send_maximum: 20,
        topic_aliases: 8,
        retain: RetainOffered::No,
        topics: Limits::DEVICE,
    };

    /// An operator or a service.
    pub(crate) const OPERATOR: Self = Self {
        packet_size: 1024 * 1024,
        receive_maximum: 256,
        send_maximum: 256,
        topic_aliases: 64,
        retain: RetainOffered::Yes,
        topics: Limits::SERVICE,
    };
}

/// A will that its peer may publish: checked at the CONNECT, sent if the peer
/// vanishes.
#[derive(Debug)]
pub(crate) struct Will(Box<Message>);

/// Checks a peer's will; an activation has none.
pub(crate) fn check_will(
    admission: &Admission,
    connect: &Connect,
) -> Result<Option<Will>, Rejection> {
    let Some(will) = &connect.will else {
        return Ok(None);
    };
    let parse = |limits| TopicName::parse(&will.topic, limits).map_err(|_| Rejection::WillTopic);
    let (topic, retain) = match admission {
        Admission::Activation(_) => return Ok(None),
        Admission::Device(login) => {
            // 3.1.1 has no way to say that nothing is retained for a device.
            if will.retain && connect.version == Version::V5 {
                return Err(Rejection::WillRetain);
            }
            let topic = parse(Limits::DEVICE)?;
            let uplink = Uplink::permit(login.feed(), &topic).ok_or(Rejection::WillTopic)?;
            (uplink.into_topic(), false)
        }
        Admission::Operator(login) => {
            let topic = parse(Limits::SERVICE)?;
            if !login.rights().may_publish(&topic) {
                return Err(Rejection::WillTopic);
            }
            (topic, will.retain)
        }
    };
    Ok(Some(Will(Box::new(Message {
        topic,
        payload: will.payload.clone(),
        qos: will.qos,
        retain,
        properties: will.properties.clone(),
        sender: Sender::next(),
    }))))
}

/// A session that nothing feeds but its own connection.
trait Conversation<S> {
    fn wire(&mut self) -> &mut Wire<S>;

    /// Answers one thing that the peer sent.
    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure>;

    /// Asks whether the admission still holds.
    async fn recheck(&self, broker: &Broker) -> Result<(), NotAdmitted>;
}

/// Carries a conversation on to its end. `early` is what came together with
/// the CONNECT. What is done seldom is boxed: most of the time, a device idles.
async fn converse<S: Stream>(
    session: &mut impl Conversation<S>,
    early: Vec<Input>,
    broker: &Broker,
) -> Departure {
    let mut inputs = early;
    loop {
        for input in inputs {
            if let Err(departure) = Box::pin(session.take(input, broker)).await {
                return departure;
            }
        }
        inputs = match session.wire().step().await {
            Step::Progress(inputs) => inputs,
            Step::Poked => match Box::pin(session.recheck(broker)).await {
                Ok(()) => Vec::new(),
                Err(not) => return Departure::not_admitted(&not),
            },
            Step::End(farewell) => return Departure::ended(farewell),
            Step::Lost => return Departure::lost(),
        };
    }
}

/// How a session ended.
#[derive(Debug)]
struct Departure {
    /// What the peer may be told.
    farewell: Option<Farewell>,
    will: WillFate,
}

impl Departure {
    /// The peer said goodbye.
    fn goodbye(will: WillFate) -> Self {
        Self {
            farewell: None,
            will,
        }
    }

    /// The connection broke.
    fn lost() -> Self {
        Self {
            farewell: None,
            will: WillFate::Publish,
        }
    }

    /// The server ends it.
    fn ended(farewell: Farewell) -> Self {
        Self {
            farewell: Some(farewell),
            will: WillFate::Publish,
        }
    }

    /// The admission no longer holds.
    fn not_admitted(not: &NotAdmitted) -> Self {
        use firstwake::Refusal;
        match not {
            // A newer key was confirmed: by a newer session of the same device.
            NotAdmitted::Refused(Refusal::KeyEnded) => Self::ended(Farewell::TakenOver),
            // Whoever may not be here may not publish a will either.
            NotAdmitted::Refused(refusal) => Self {
                farewell: Some(Farewell::Administrative(*refusal)),
                will: WillFate::Discard,
            },
            NotAdmitted::Unavailable(_) => Self::ended(Farewell::ServerBusy),
        }
    }
}

/// The quality that both sides agree on.
fn lower(one: Qos, other: Qos) -> Qos {
    one.min(other)
}
