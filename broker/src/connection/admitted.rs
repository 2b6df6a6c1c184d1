//! From a CONNECT to a peer that is let in, with its place and its session.
//!
//! The core says who it is. What follows has an order: the place first, where
//! whoever would end the session finds it; then the last check; then, once
//! whoever had the session before has let go of it, what is left of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use firstwake::{Admission, Attempt, NotAdmitted, ProductId, Refusal, Takeover, Timestamp};
use tokio::time::timeout;

use super::Session;
use crate::broker::Broker;
use crate::edge::{OsEntropy, Tick};
use crate::mqtt::connack::Rejection;
use crate::mqtt::machine::{Machine, Session as SessionState, Terms, Welcome};
use crate::mqtt::opening::Opening;
use crate::mqtt::packet::{Connect, Version};
use crate::neighbours;
use crate::session::{
    ActivationSession, DeviceSession, OperatorSession, Resumption, Will, give_up, take_up,
};
use crate::sessions::{Began, Handle, Origin, Owner, Place};
use crate::wire::{Patience, Stream, Wire};

/// How long an earlier session may take to let go of what it shares with the
/// one that takes its place.
const LETTING_GO: Duration = Duration::from_secs(5);
/// Seconds that a device may take to fetch its credentials.
const ACTIVATION_SECONDS: u32 = 60;

/// A peer that was let in, with its place among the sessions.
pub(super) struct Admitted {
    opening: Box<Opening>,
    admission: Admission,
    place: Place,
    patience: Patience,
    /// Seconds of keep-alive, where they are not the ones asked for.
    keep_alive: Option<u16>,
    will: Option<Will>,
    client_id: ClientId,
    state: SessionState,
    resumption: Resumption,
}

/// The name a client goes by.
enum ClientId {
    Given,
    /// MQTT 5 is told the name it was given.
    Assigned(String),
}

impl ClientId {
    fn name<'a>(&'a self, connect: &'a Connect) -> &'a str {
        match self {
            Self::Given => &connect.client_id,
            Self::Assigned(id) => id,
        }
    }
}

/// Asks the core, and gives who is let in its place and its session.
pub(super) async fn admit(
    opening: Box<Opening>,
    source: IpAddr,
    broker: &Arc<Broker>,
) -> Result<Admitted, Rejection> {
    let connect = &opening.connect;
    if connect.enhanced_authentication {
        return Err(Rejection::AuthenticationMethod);
    }
    let attempt = Attempt {
        username: connect.username.as_deref(),
        password: connect.password.as_ref().map(|bytes| bytes.as_slice()),
        source,
        hardware: connect.hardware.as_deref(),
    };
    let now = broker.clock.now();
    let admission = broker
        .provisioner
        .admit(attempt, now)
        .await
        .map_err(|not| rejection(&not, source, now))?;
    let will = Will::check(&admission, connect, broker)?;
    if let Admission::Operator(login) = &admission
        && broker.sessions.of_operator(login.name()) >= broker.limits.operator_connections
    {
        return Err(Rejection::Crowded);
    }
    let client_id = match connect.client_id.is_empty() {
        true => ClientId::Assigned(assign_client_id()),
        false => ClientId::Given,
    };
    let (patience, keep_alive) = patience(&admission, connect, broker);
    let (place, earlier) = enter(&admission, connect, &client_id, source, patience, broker);
    // Once more, now that whoever would end the session can find it.
    let client = client_id.name(connect);
    if let Err(not) = broker.provisioner.recheck(&admission).await {
        give_up(&admission, client, broker).await;
        return Err(rejection(&not, source, now));
    }
    if broker.provisioner.bans().covers(source, broker.clock.now()) {
        give_up(&admission, client, broker).await;
        return Err(Rejection::Refused(Refusal::Banned));
    }
    if let Admission::Device(login) = &admission {
        neighbours::tell_of_session(broker, login.feed(), place.handle().origin(), connect.start);
    }
    if let (Some(earlier), Admission::Device(login)) = (earlier, &admission) {
        if earlier.is_displaced() {
            let takeover = Takeover {
                from: earlier.origin().into(),
                to: place.handle().origin().into(),
            };
            let noted = broker
                .provisioner
                .note_takeover(login.feed(), &takeover, now);
            noted.await.map_err(|not| rejection(&not, source, now))?;
        }
        // It may not be able to: its registry or router may be in trouble.
        drop(timeout(LETTING_GO, earlier.gone()).await);
    }
    let (state, resumption) = take_up(&admission, connect, client, place.owner(), broker)
        .await
        .map_err(|error| rejection(&error.into(), source, now))?;
    Ok(Admitted {
        opening,
        admission,
        place,
        patience,
        keep_alive,
        will,
        client_id,
        state,
        resumption,
    })
}

/// How long a peer may be silent, and the keep-alive it is told if that is not
/// the one it asked for. Before MQTT 5 there is no telling.
fn patience(admission: &Admission, connect: &Connect, broker: &Broker) -> (Patience, Option<u16>) {
    let limits = &broker.limits;
    let most = match admission {
        Admission::Activation(_) => return (Patience::Fixed, None),
        Admission::Device(_) => limits.device_keep_alive_seconds,
        Admission::Operator(_) => limits.operator_keep_alive_seconds,
    };
    // MQTT 3.1.2.10: one and a half times.
    let of_keep_alive = |seconds: u16| u32::from(seconds) * Tick::RATE * 3 / 2;
    let (silence, told) = match (connect.version, connect.keep_alive) {
        (Version::V5, Some(asked)) if asked.get() <= most => (of_keep_alive(asked.get()), None),
        (Version::V5, _) => (of_keep_alive(most), Some(most)),
        (_, Some(asked)) => (of_keep_alive(asked.get()), None),
        (_, None) => (limits.idle_seconds.saturating_mul(Tick::RATE), None),
    };
    (Patience::Silence(broker.clock, silence), told)
}

fn rejection(not: &NotAdmitted, source: IpAddr, now: Timestamp) -> Rejection {
    match not {
        NotAdmitted::Refused(refusal) => tracing::debug!(%source, %refusal, "refused"),
        NotAdmitted::Unavailable(error) => tracing::debug!(%source, %error, "not decided"),
    }
    Rejection::of(not, now)
}

fn enter(
    admission: &Admission,
    connect: &Connect,
    client_id: &ClientId,
    source: IpAddr,
    patience: Patience,
    broker: &Arc<Broker>,
) -> (Place, Option<Arc<Handle>>) {
    let (owner, end) = match admission {
        Admission::Activation(activation) => {
            let end = broker.clock.tick().plus(ACTIVATION_SECONDS);
            (Owner::Activation(activation.feed()), end)
        }
        Admission::Device(login) => (Owner::Device(login.feed()), Tick::NEVER),
        Admission::Operator(login) => {
            let client = client_id.name(connect).to_owned();
            (Owner::Operator(login.name().clone(), client), Tick::NEVER)
        }
    };
    let deadline = patience.deadline().unwrap_or(end);
    let began = Began::draw(broker.clock.now(), &OsEntropy);
    let origin = Origin::new(source, client_id.name(connect), began);
    broker
        .sessions
        .enter(owner, origin, connect.start, deadline)
}

/// A name that nobody else has: MQTT 5 tells it to the peer.
fn assign_client_id() -> String {
    // The alphabet of product ids serves as well as any.
    format!("auto-{}", ProductId::generate(&OsEntropy))
}

impl Admitted {
    /// Accepts the CONNECT and hands over to the session of its kind.
    pub(super) fn start<S: Stream>(
        mut self,
        stream: S,
        rest: &[u8],
        source: IpAddr,
        broker: &Broker,
    ) -> Option<Session<S>> {
        let asked = self.opening.connect.session_expiry;
        let (terms, expiry) = match &self.admission {
            Admission::Activation(_) => (Terms::ACTIVATION, 0),
            Admission::Device(_) => {
                let expiry = broker.limits.session_expiry(asked);
                (Terms::device(&broker.limits), expiry)
            }
            Admission::Operator(_) => {
                let expiry = broker.limits.session_expiry(asked);
                (Terms::operator(&broker.limits), expiry)
            }
        };
        let client_id = match &self.client_id {
            ClientId::Given => None,
            ClientId::Assigned(id) => Some(id.as_str()),
        };
        let welcome = Welcome {
            session: self.state,
            session_expiry: expiry,
            session_expiry_asked: asked,
            keep_alive: self.keep_alive,
            client_id,
        };
        let mut machine = Machine::new(&self.opening, &terms);
        machine.accept(&terms, &welcome);
        machine.expect_release(self.resumption.take_received());
        let mut early = Vec::new();
        machine.feed(rest, &mut early);
        let wire = Wire::new(stream, machine, self.place, self.patience);
        match (self.admission, self.resumption) {
            (Admission::Activation(activation), _) => {
                let session = ActivationSession::new(wire, activation, source, early);
                Some(Session::Activation(Box::new(session)))
            }
            (Admission::Device(login), resumption) => {
                let hold = match resumption {
                    Resumption::Device(hold) => Some(hold),
                    _ => None,
                };
                let session = DeviceSession::new(wire, login, self.will, hold, expiry, early);
                Some(Session::Device(Box::new(session)))
            }
            (Admission::Operator(_), Resumption::Operator(hold)) => {
                let session = OperatorSession::new(wire, self.will, hold, expiry, early);
                Some(Session::Operator(Box::new(session)))
            }
            // An operator always has something to hold.
            (Admission::Operator(_), _) => None,
        }
    }
}
