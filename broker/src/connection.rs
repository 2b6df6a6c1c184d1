//! One connection from its first byte to its last.
//!
//! `CONNECT → credential → admission → session`. Stages are boxed, so that a
//! session that lasts for years does not carry the stages before it. Nothing
//! is decided here: the core admits, and a session of its kind goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use firstwake::{Admission, Attempt, NotAdmitted, Pace, ProductId, Proof, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::edge::Tick;
use crate::gate::{Courtesy, Pass, Turned};
use crate::limits::Limits;
use crate::mqtt::connack::Rejection;
use crate::mqtt::machine::{Machine, Terms};
use crate::mqtt::opening::{Opening, Progress, Reader};
use crate::mqtt::packet::{Connect, Version};
use crate::session::{self, ActivationSession, DeviceSession, OperatorSession, Will};
use crate::sessions::{Owner, Place};
use crate::wire::{Patience, Stream, Wire};

/// Bytes read at once until the CONNECT is whole.
const FIRST_READ: usize = 1024;
/// How long a peer may take to read that it is refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a source that fails too often waits for each answer.
const SLOWLY: Duration = Duration::from_secs(3);
/// How long a peer that is turned away may take for its CONNECT.
const COURTESY: Duration = Duration::from_secs(1);
/// Seconds that a device may take to fetch its credentials.
const ACTIVATION_SECONDS: u32 = 60;

/// Serves one peer until it is gone.
pub(crate) async fn serve<S: Stream>(stream: S, mut pass: Pass, broker: Arc<Broker>) {
    let Some(session) = Box::pin(open(stream, &mut pass, &broker)).await else {
        return;
    };
    match session {
        Session::Activation(session) => Box::pin(session.run(&broker)).await,
        // Not boxed once more: there are thousands of these.
        Session::Device(session) => session.run(&broker).await,
        Session::Operator(session) => Box::pin(session.run(&broker)).await,
    }
}

/// Tells a peer that may not connect at all why, if it sends its CONNECT at
/// once. Nothing is checked or looked up for it. Not for a stream that takes a
/// handshake before its first byte: that is closed.
pub(crate) async fn turn_away<S: Stream>(
    mut stream: S,
    turned: Turned,
    _courtesy: Courtesy,
    broker: Arc<Broker>,
) {
    let told = timeout(COURTESY, async {
        if let Some((opening, _)) = read_connect(&mut stream, &[]).await {
            answer(&mut stream, turned.into(), opening.connect.version).await;
        }
    });
    broker.stopping.run_until_cancelled(told).await;
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
    pass: &mut Pass,
    broker: &Arc<Broker>,
) -> Option<Session<S>> {
    let source = pass.address();
    let read = hear(&mut stream, pass, &broker.limits);
    let (opening, rest) = broker.stopping.run_until_cancelled(read).await??;
    let version = opening.connect.version;
    // The place is for silent peers: whoever has spoken takes up nobody's.
    pass.opened();
    let outcome = admit(opening, source, broker).await;
    match outcome {
        Ok(admitted) => Some(admitted.start(stream, &rest, source)),
        Err(rejection) => {
            take_time(rejection, source, broker).await?;
            reject(stream, rejection, version).await;
            None
        }
    }
}

/// Waits for the first byte and then for the whole CONNECT, as long as each may
/// take.
async fn hear<S: Stream>(
    stream: &mut S,
    pass: &Pass,
    limits: &Limits,
) -> Option<(Box<Opening>, Vec<u8>)> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let first_byte = seconds(limits.first_byte_seconds.min(limits.connect_seconds));
    let mut buffer = [0; FIRST_READ];
    let first = pass.within(first_byte, stream.read(&mut buffer)).await?;
    let count = first.ok().filter(|count| *count > 0)?;
    let rest = read_connect(stream, &buffer[..count]);
    pass.within(seconds(limits.connect_seconds), rest).await?
}

/// Whoever fails too often waits for each answer, if there is room to wait.
/// Who proved a secret never does.
async fn take_time(rejection: Rejection, source: IpAddr, broker: &Broker) -> Option<()> {
    let Rejection::Refused(refusal) = rejection else {
        return Some(());
    };
    let pace = broker.provisioner.pace(source, broker.clock.now());
    if refusal.proof() == Proof::Proved || pace == Pace::AtOnce {
        return Some(());
    }
    let _place = broker.gate.delay()?;
    let slowly = tokio::time::sleep(SLOWLY);
    broker.stopping.run_until_cancelled(slowly).await
}

/// Reads until the first packet is whole. What follows it is returned too:
/// peers may send more before they have an answer.
async fn read_connect<S: Stream>(stream: &mut S, begun: &[u8]) -> Option<(Box<Opening>, Vec<u8>)> {
    let mut reader = Reader::new();
    let mut buffer = [0; FIRST_READ];
    buffer[..begun.len()].copy_from_slice(begun);
    let mut count = begun.len();
    loop {
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
        count = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
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
    will: Option<Will>,
    client_id: ClientId,
}

/// The name a client goes by.
enum ClientId {
    Given,
    /// MQTT 5 is told the name it was given.
    Assigned(String),
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
    let will = session::check_will(&admission, connect)?;
    let client_id = match connect.client_id.is_empty() {
        true => ClientId::Assigned(assign_client_id()),
        false => ClientId::Given,
    };
    let (place, patience) = enter(&admission, connect, &client_id, source, broker);
    // Once more, now that whoever would end the session can find it.
    broker
        .provisioner
        .recheck(&admission)
        .await
        .map_err(|not| rejection(&not, source))?;
    if broker.provisioner.bans().covers(source, broker.clock.now()) {
        return Err(Rejection::Refused(Refusal::Banned));
    }
    Ok(Admitted {
        opening,
        admission,
        place,
        patience,
        will,
        client_id,
    })
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
    source: IpAddr,
    broker: &Arc<Broker>,
) -> (Place, Patience) {
    let patience = match (admission, connect.keep_alive) {
        (Admission::Activation(_), _) | (_, None) => Patience::Fixed,
        (_, Some(seconds)) => Patience::KeepAlive(broker.clock, seconds),
    };
    let (owner, end) = match admission {
        Admission::Activation(activation) => {
            let end = broker.clock.tick().plus(ACTIVATION_SECONDS);
            (Owner::Activation(activation.feed()), end)
        }
        Admission::Device(login) => (Owner::Device(login.feed()), Tick::NEVER),
        Admission::Operator(login) => {
            let client = match client_id {
                ClientId::Given => connect.client_id.clone(),
                ClientId::Assigned(id) => id.clone(),
            };
            (Owner::Operator(login.name().clone(), client), Tick::NEVER)
        }
    };
    let deadline = patience.deadline().unwrap_or(end);
    (broker.sessions.enter(owner, source, deadline), patience)
}

/// A name that nobody else has: MQTT 5 tells it to the peer.
fn assign_client_id() -> String {
    // The alphabet of product ids serves as well as any.
    format!("auto-{}", ProductId::generate(&crate::edge::OsEntropy))
}

impl Admitted {
    /// Accepts the CONNECT and hands over to the session of its kind.
    fn start<S: Stream>(self, stream: S, rest: &[u8], source: IpAddr) -> Session<S> {
        let terms = match &self.admission {
            Admission::Activation(_) => &Terms::ACTIVATION,
            Admission::Device(_) => &Terms::DEVICE,
            Admission::Operator(_) => &Terms::OPERATOR,
        };
        let assigned = match &self.client_id {
            ClientId::Given => None,
            ClientId::Assigned(id) => Some(id.as_str()),
        };
        let mut machine = Machine::new(&self.opening, terms);
        machine.accept(terms, assigned);
        let mut early = Vec::new();
        machine.feed(rest, &mut early);
        let wire = Wire::new(stream, machine, self.place, self.patience);
        match self.admission {
            Admission::Activation(activation) => {
                let session = ActivationSession::new(wire, activation, source, early);
                Session::Activation(Box::new(session))
            }
            Admission::Device(login) => {
                let session = DeviceSession::new(wire, login, self.will, early);
                Session::Device(Box::new(session))
            }
            Admission::Operator(login) => {
                let session = OperatorSession::new(wire, login, self.will, early);
                Session::Operator(Box::new(session))
            }
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
        fn of<F, A, B, C>(_: fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let (task, session) = (
            of(serve::<TcpStream>),
            size_of::<DeviceSession<TcpStream>>(),
        );
        assert!(task <= 448 && session <= 384, "{task} and {session} bytes");
    }
}
