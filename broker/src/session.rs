//! The three kinds of session, and what they have in common.
//!
//! A session holds an admission, so it need not ask who its peer is; which
//! topic is whose it asks the core, at each message.

mod activation;
mod asked;
mod device;
mod operator;
mod streams;
mod will;

use firstwake::{Admission, Cause, FeedId, NotAdmitted, RegistryError};

pub(crate) use self::activation::ActivationSession;
pub(crate) use self::device::{DeviceSession, Hold};
pub(crate) use self::operator::{OperatorHold, OperatorSession};
pub(crate) use self::will::Will;

use firstwake::topic::Limits as TopicLimits;

use crate::broker::Broker;
use crate::limits::Limits;
use crate::mqtt::machine::{Offered, Session, Terms};
use crate::mqtt::packet::{Connect, Farewell, Goodbye, Input, WillFate};
use crate::sessions::Owner;
use crate::wire::{Lingering, Step, Stream, Wire, linger};

impl Terms {
    /// A device that fetches its credentials.
    pub(crate) const ACTIVATION: Self = Self {
        packet_size: 8 * 1024,
        receive_maximum: 16,
        send_maximum: 16,
        topic_aliases: 0,
        retain: Offered::No,
        shared: Offered::No,
        topics: TopicLimits::DEVICE,
    };

    /// A device.
    pub(crate) fn device(limits: &Limits) -> Self {
        Self {
            packet_size: limits.device_packet_bytes,
            receive_maximum: 20,
            send_maximum: 20,
            topic_aliases: 8,
            retain: Offered::No,
            shared: Offered::No,
            topics: TopicLimits {
                levels: limits.device_topic_levels,
                ..TopicLimits::DEVICE
            },
        }
    }

    /// An operator or a service.
    pub(crate) fn operator(limits: &Limits) -> Self {
        Self {
            packet_size: limits.operator_packet_bytes,
            receive_maximum: 256,
            send_maximum: 256,
            topic_aliases: 64,
            retain: Offered::Yes,
            shared: Offered::Yes,
            topics: TopicLimits {
                levels: limits.operator_topic_levels,
                ..TopicLimits::SERVICE
            },
        }
    }
}

/// What is left of an earlier connection of the same session.
pub(crate) enum Resumption {
    /// Nothing: the session begins and ends with its connection.
    Nothing,
    /// A device's mailbox.
    Device(Box<Hold>),
    /// What an operator's session is made of.
    Operator(OperatorHold),
}

impl Resumption {
    /// QoS 2 messages that an earlier connection has received the first half
    /// of. Asking takes them.
    pub(crate) fn take_received(&mut self) -> Vec<u16> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Device(hold) => hold.take_received(),
            Self::Operator(hold) => hold.take_received(),
        }
    }
}

/// Takes up the session that a peer asks for, or begins one. Whoever comes
/// back in time takes its will along.
pub(crate) async fn take_up(
    admission: &Admission,
    connect: &Connect,
    client_id: &str,
    owner: &Owner,
    broker: &Broker,
) -> Result<(Session, Resumption), RegistryError> {
    let (session, resumption) = match admission {
        Admission::Activation(_) => (Session::New, Resumption::Nothing),
        Admission::Operator(login) => {
            let key = (login.name().clone(), client_id.to_owned());
            let (session, hold) = OperatorHold::take_up(key, login, connect.start, broker).await;
            (session, Resumption::Operator(hold))
        }
        Admission::Device(login) => {
            match Hold::take_up(login.feed(), connect, client_id, broker).await? {
                Some((session, hold)) => (session, Resumption::Device(Box::new(hold))),
                None => (Session::New, Resumption::Nothing),
            }
        }
    };
    if let Some(will) = broker.wills.take(owner)
        && session == Session::New
    {
        broker.publish_will(will).await;
    }
    Ok((session, resumption))
}

/// Ends what is left of an operator's earlier connection: the one that came
/// for it, and had that end, is not let in after all.
pub(crate) async fn give_up(admission: &Admission, client_id: &str, broker: &Broker) {
    if let Admission::Operator(login) = admission {
        let key = (login.name().clone(), client_id.to_owned());
        OperatorHold::give_up(key, broker).await;
    }
}

/// A session that nothing feeds but its own connection.
trait Conversation<S> {
    fn wire(&mut self) -> &mut Wire<S>;

    /// Answers one thing that the peer sent.
    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure>;

    /// Asks whether the admission still holds.
    async fn recheck(&self, broker: &Broker) -> Result<(), NotAdmitted>;

    /// Whether there is something to be done beside answering the peer.
    fn is_due(&self) -> bool {
        false
    }

    /// Does it.
    async fn deliver(&mut self, _: &Broker) -> Result<(), Departure> {
        Ok(())
    }

    /// There is mail.
    fn expect_mail(&mut self) {}
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
        if session.is_due()
            && let Err(departure) = Box::pin(session.deliver(broker)).await
        {
            return departure;
        }
        inputs = match session.wire().step().await {
            Step::Progress(inputs) => inputs,
            Step::Mail => {
                session.expect_mail();
                Vec::new()
            }
            Step::Poked => match Box::pin(session.recheck(broker)).await {
                Ok(()) => Vec::new(),
                Err(not) => return Departure::not_admitted(&not),
            },
            Step::End(farewell) => return Departure::ended(farewell),
            Step::Lost => return Departure::lost(),
        };
    }
}

/// Keeps what a device did wrong in its session, for `device explain`.
fn note<S: Stream>(
    wire: &Wire<S>,
    feed: FeedId,
    cause: Cause,
    detail: Option<&str>,
    broker: &Broker,
) {
    let source = wire.place().handle().origin().source();
    let now = broker.clock.now();
    broker
        .provisioner
        .note_problem(feed, source, cause, detail, now);
}

/// How a session ended.
#[derive(Debug)]
struct Departure {
    /// What the peer may be told.
    farewell: Option<Farewell>,
    will: WillFate,
    /// Another time for the session to outlive its connection.
    session_expiry: Option<u32>,
}

impl Departure {
    /// What the device did that ended its session; `None` if it did nothing wrong.
    fn cause(&self) -> Option<Cause> {
        match self.farewell? {
            Farewell::ProtocolError
            | Farewell::Malformed
            | Farewell::TopicNameInvalid
            | Farewell::TopicFilterInvalid => Some(Cause::ProtocolError),
            Farewell::NotAuthorized => Some(Cause::Forbidden),
            Farewell::QuotaExceeded => Some(Cause::TooFast),
            Farewell::PacketTooLarge => Some(Cause::PacketTooLarge),
            _ => None,
        }
    }

    /// The peer said goodbye.
    fn goodbye(goodbye: Goodbye) -> Self {
        Self {
            farewell: None,
            will: goodbye.will,
            session_expiry: goodbye.session_expiry,
        }
    }

    /// The connection broke.
    fn lost() -> Self {
        Self {
            farewell: None,
            will: WillFate::Publish,
            session_expiry: None,
        }
    }

    /// The server ends it.
    fn ended(farewell: Farewell) -> Self {
        Self {
            farewell: Some(farewell),
            will: WillFate::Publish,
            session_expiry: None,
        }
    }

    /// The last of the connection, if it is the server that ends it.
    fn lingering<S: Stream>(&self, stream: S) -> Option<Lingering> {
        self.farewell.as_ref()?;
        Some(Box::pin(linger(stream)))
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
                session_expiry: None,
            },
            NotAdmitted::Unavailable(_) => Self::ended(Farewell::ServerBusy),
        }
    }
}
