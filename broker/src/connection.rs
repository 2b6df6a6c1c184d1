//! One connection from its first byte to its last.
//!
//! `CONNECT → credential → admission → session`. Stages are boxed, so that a
//! session that lasts for years does not carry the stages before it. Nothing
//! is decided here: the core admits, and a session of its kind goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use firstwake::{Admission, Attempt, NotAdmitted, ProductId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::edge::Tick;
use crate::mqtt::connack::Rejection;
use crate::mqtt::machine::{Machine, Session as SessionState, Terms, Welcome};
use crate::mqtt::opening::{Opening, Progress, Reader};
use crate::mqtt::packet::{Connect, Version};
use crate::session::{
    ActivationSession, DeviceSession, OperatorSession, Resumption, Will, give_up, take_up,
};
use crate::sessions::{Owner, Place};
use crate::wire::{Patience, Stream, Wire};

/// How long a peer may take to read that it is refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// Seconds that a device may take to fetch its credentials.
const ACTIVATION_SECONDS: u32 = 60;

/// Serves one peer until it is gone.
pub(crate) async fn serve<S: Stream>(
    stream: S,
    source: IpAddr,
    permit: OwnedSemaphorePermit,
    broker: Arc<Broker>,
) {
    let Some(session) = Box::pin(open(stream, source, permit, &broker)).await else {
        return;
    };
    match session {
        Session::Activation(session) => Box::pin(session.run(&broker)).await,
        // Not boxed once more: there are thousands of these.
        Session::Device(session) => session.run(&broker).await,
        Session::Operator(session) => Box::pin(session.run(&broker)).await,
    }
}

/// A session of one of the three kinds.
enum Session<S> {
    Activation(Box<ActivationSession<S>>),
    Device(Box<DeviceSession<S>>),
    Operator(Box<OperatorSession<S>>),
}

/// Reads the CONNECT and admits the peer, or tells it why not.
async fn open<S: Stream>(
    mut stream: S,
    source: IpAddr,
    permit: OwnedSemaphorePermit,
    broker: &Arc<Broker>,
) -> Option<Session<S>> {
    let deadline = Duration::from_secs(broker.limits.connect_seconds.into());
    let read = timeout(deadline, read_connect(&mut stream));
    let read = broker.stopping.run_until_cancelled(read).await?;
    let (opening, rest) = read.ok().flatten()?;
    let version = opening.connect.version;
    // The permit is for silent peers: whoever has spoken waits for nobody else.
    drop(permit);
    let outcome = admit(opening, source, broker).await;
    match outcome {
        Ok(admitted) => admitted.start(stream, &rest, source, broker),
        Err(rejection) => {
            reject(stream, rejection, version).await;
            None
        }
    }
}

/// Reads until the first packet is whole. What follows it is returned too:
/// peers may send more before they have an answer.
async fn read_connect<S: Stream>(stream: &mut S) -> Option<(Box<Opening>, Vec<u8>)> {
    let mut reader = Reader::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        let mut bytes = &buffer[..count];
        match reader.feed(&mut bytes) {
            Progress::More => {}
            Progress::Opened(opening) => return Some((opening, bytes.to_vec())),
            Progress::Rejected(rejection, version) => {
                answer(stream, rejection, version).await;
                return None;
            }
            Progress::Close => return None,
        }
    }
}

async fn reject<S: Stream>(mut stream: S, rejection: Rejection, version: Version) {
    let said = timeout(REFUSAL_DEADLINE, answer(&mut stream, rejection, version));
    drop(said.await);
}

/// Tells the peer no, where there is a word for it. It may be gone already.
async fn answer<S: Stream>(stream: &mut S, rejection: Rejection, version: Version) {
    if let Some(connack) = rejection.connack(version) {
        drop(stream.write_all(&connack).await);
    }
    drop(stream.shutdown().await);
}

/// A peer that was let in, with its place among the sessions.
struct Admitted {
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

async fn admit(
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
    };
    let admission = broker
        .provisioner
        .admit(attempt, broker.clock.now())
        .await
        .map_err(|not| rejection(&not, source))?;
    let will = Will::check(&admission, connect, broker)?;
    let client_id = match connect.client_id.is_empty() {
        true => ClientId::Assigned(assign_client_id()),
        false => ClientId::Given,
    };
    let (patience, keep_alive) = patience(&admission, connect, broker);
    let place = enter(&admission, connect, &client_id, patience, broker);
    // Once more, now that whoever would end the session can find it.
    let client = client_id.name(connect);
    if let Err(not) = broker.provisioner.recheck(&admission).await {
        give_up(&admission, client, broker).await;
        return Err(rejection(&not, source));
    }
    let (state, resumption) = take_up(&admission, connect, client, place.owner(), broker)
        .await
        .map_err(|error| rejection(&error.into(), source))?;
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
    let of_keep_alive = |seconds: u16| u32::from(seconds) * 3 / 2 + 1;
    let (silence, told) = match (connect.version, connect.keep_alive) {
        (Version::V5, Some(asked)) if asked.get() <= most => (of_keep_alive(asked.get()), None),
        (Version::V5, _) => (of_keep_alive(most), Some(most)),
        (_, Some(asked)) => (of_keep_alive(asked.get()), None),
        (_, None) => (limits.idle_seconds, None),
    };
    (Patience::Silence(broker.clock, silence), told)
}

fn rejection(not: &NotAdmitted, source: IpAddr) -> Rejection {
    match not {
        NotAdmitted::Refused(refusal) => tracing::debug!(%source, %refusal, "refused"),
        NotAdmitted::Unavailable(error) => tracing::debug!(%source, %error, "not decided"),
    }
    Rejection::from(not)
}

fn enter(
    admission: &Admission,
    connect: &Connect,
    client_id: &ClientId,
    patience: Patience,
    broker: &Arc<Broker>,
) -> Place {
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
    broker.sessions.enter(owner, connect.start, deadline)
}

/// A name that nobody else has: MQTT 5 tells it to the peer.
fn assign_client_id() -> String {
    // The alphabet of product ids serves as well as any.
    format!("auto-{}", ProductId::generate(&crate::edge::OsEntropy))
}

impl Admitted {
    /// Accepts the CONNECT and hands over to the session of its kind.
    fn start<S: Stream>(
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
#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use tokio::net::TcpStream;

    use super::*;

    /// There are thousands of them, so what a connection carries while it
    /// idles is kept in sight.
    #[test]
    fn an_idle_device_is_small() {
        fn of<F, A, B, C, D>(_: fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        let (task, session) = (
            of(serve::<TcpStream>),
            size_of::<DeviceSession<TcpStream>>(),
        );
        assert!(task <= 448 && session <= 384, "{task} and {session} bytes");
    }
}
