//! One connection from its first byte to its last.
//!
//! `CONNECT → credential → admission → session`. Stages are boxed, so that a
//! session that lasts for years does not carry the stages before it. Nothing
//! is decided here: the core admits, and a session of its kind goes on.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use firstwake::{Admission, Attempt, NotAdmitted, Pace, ProductId, Proof, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::edge::Tick;
use crate::gate::{Courtesy, Pass, Turned};
use crate::mqtt::connack::Rejection;
use crate::mqtt::machine::{Machine, Session as SessionState, Terms, Welcome};
use crate::mqtt::opening::{Opening, Progress, Reader};
use crate::mqtt::packet::{Connect, Version};
use crate::session::{
    ActivationSession, DeviceSession, OperatorSession, Resumption, Will, give_up, take_up,
};
use crate::sessions::{Handle, Owner, Place};
use crate::wire::{Patience, Stream, Wire};

/// How long a peer may take to read that it is refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a source that fails too often waits for each answer.
const SLOWLY: Duration = Duration::from_secs(3);
/// How long a peer that is turned away may take for its CONNECT.
const COURTESY: Duration = Duration::from_secs(1);
/// How long an earlier session may take to let go of what it shares with the
/// one that takes its place.
const LETTING_GO: Duration = Duration::from_secs(5);
/// Seconds that a device may take to fetch its credentials.
const ACTIVATION_SECONDS: u32 = 60;

/// Serves one peer until it is gone. It arrives through the handshakes of its
/// transport, which count as part of its CONNECT.
pub(crate) async fn serve<A, S>(arriving: A, mut pass: Pass, broker: Arc<Broker>)
where
    A: Future<Output = Option<S>>,
    S: Stream,
{
    let Some(session) = Box::pin(open(arriving, &mut pass, &broker)).await else {
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
        if let Some((opening, _)) = read_connect(&mut stream).await {
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
    arriving: impl Future<Output = Option<S>>,
    pass: &mut Pass,
    broker: &Arc<Broker>,
) -> Option<Session<S>> {
    let source = pass.address();
    let span = Duration::from_secs(broker.limits.connect_seconds.into());
    let read = pass.within(span, hear(arriving));
    let read = broker.stopping.run_until_cancelled(read).await?;
    let (stream, opening, rest) = read.flatten()?;
    let version = opening.connect.version;
    // The place is for silent peers: whoever has spoken takes up nobody's.
    pass.opened();
    let outcome = admit(opening, source, broker).await;
    match outcome {
        Ok(admitted) => admitted.start(stream, &rest, source, broker),
        Err(rejection) => {
            take_time(rejection, source, broker).await?;
            reject(stream, rejection, version).await;
            None
        }
    }
}

/// Waits for the peer to arrive, and for its whole CONNECT. What follows it is
/// returned too: peers may send more before they have an answer.
async fn hear<S: Stream>(
    arriving: impl Future<Output = Option<S>>,
) -> Option<(S, Box<Opening>, Vec<u8>)> {
    let mut stream = arriving.await?;
    let (opening, rest) = read_connect(&mut stream).await?;
    Some((stream, opening, rest))
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

/// Reads until the first packet is whole.
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
    let (place, earlier) = enter(&admission, connect, &client_id, source, patience, broker);
    // Once more, now that whoever would end the session can find it.
    let client = client_id.name(connect);
    if let Err(not) = broker.provisioner.recheck(&admission).await {
        give_up(&admission, client, broker).await;
        return Err(rejection(&not, source));
    }
    if broker.provisioner.bans().covers(source, broker.clock.now()) {
        give_up(&admission, client, broker).await;
        return Err(Rejection::Refused(Refusal::Banned));
    }
    if let (Some(earlier), Admission::Device(_)) = (earlier, &admission) {
        // It may not be able to: its registry or router may be in trouble.
        drop(timeout(LETTING_GO, earlier.gone()).await);
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
    broker
        .sessions
        .enter(owner, source, connect.start, deadline)
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
    use std::future::Ready;
    use std::mem::size_of;

    use std::pin::Pin;

    use tokio::net::TcpStream;
    use tokio_rustls::server::TlsStream;

    use super::*;
    use crate::websocket::WebSocket;

    /// There are thousands of them, so what a connection carries while it
    /// idles is kept in sight.
    #[test]
    fn an_idle_device_is_small() {
        fn of<F, A, B, C>(_: fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let (task, session) = (
            of(serve::<Ready<Option<TcpStream>>, TcpStream>),
            size_of::<DeviceSession<TcpStream>>(),
        );
        assert!(task <= 448 && session <= 384, "{task} and {session} bytes");
        // What TLS and WebSocket need is in the session, once.
        type Arriving<S> = Pin<Box<dyn Future<Output = Option<S>> + Send>>;
        type Secure = TlsStream<TcpStream>;
        let tls = of(serve::<Arriving<Secure>, Secure>);
        let both = of(serve::<Arriving<WebSocket<Secure>>, WebSocket<Secure>>);
        assert!(tls <= 448 && both <= 448, "{tls} and {both} bytes");
        let more = size_of::<WebSocket<TcpStream>>() - size_of::<TcpStream>();
        assert!(more <= 512, "{more} bytes");
    }
}
