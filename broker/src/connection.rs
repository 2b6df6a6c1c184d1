//! One connection from its first byte to its last.
//!
//! `CONNECT → credential → admission → session`. Stages are boxed, so that a
//! session that lasts for years does not carry the stages before it. Nothing
//! is decided here: the core admits, and a session of its kind goes on.

mod admitted;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use self::admitted::admit;
use crate::broker::Broker;
use crate::gate::{Pass, Share, Turned};
use crate::listen::Conversation;
use crate::mqtt::connack::Rejection;
use crate::mqtt::opening::{Opening, Progress, Reader};
use crate::mqtt::packet::Version;
use crate::session::{ActivationSession, DeviceSession, OperatorSession};
use crate::wire::{Stream, linger};

/// How long a peer may take to read that it is refused.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a peer that is turned away may take for its CONNECT.
const COURTESY: Duration = Duration::from_secs(1);

/// MQTT, in any version.
#[derive(Clone, Copy)]
pub(crate) struct Mqtt;

impl Conversation for Mqtt {
    fn hold<A, S>(
        self,
        arriving: A,
        pass: Pass,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        A: Future<Output = Option<S>> + Send + 'static,
        S: Stream,
    {
        let opening = open(arriving, pass, Arc::clone(&broker));
        serve(Box::pin(opening), broker)
    }

    fn turn_away<S: Stream>(
        self,
        stream: S,
        turned: Turned,
        courtesy: Share,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static {
        turn_away(stream, turned, courtesy, broker)
    }
}

/// Serves one peer until it is gone, and holds its place for as long. What a
/// task is given it carries to its end, so it comes in a box.
async fn serve<S: Stream>(
    opening: Pin<Box<impl Future<Output = Option<(Session<S>, Pass)>>>>,
    broker: Arc<Broker>,
) {
    let Some((session, pass)) = opening.await else {
        return;
    };
    let lingering = match session {
        Session::Activation(session) => Box::pin(session.run(&broker)).await,
        // Not boxed once more: there are thousands of these.
        Session::Device(session) => session.run(&broker).await,
        Session::Operator(session) => Box::pin(session.run(&broker)).await,
    };
    if let Some(lingering) = lingering {
        Box::pin(broker.linger(lingering, pass)).await;
    }
}

/// Tells a peer that may not connect at all why, if it sends its CONNECT at
/// once. Nothing is checked or looked up for it. Not for a stream that takes a
/// handshake before its first byte: that is closed.
async fn turn_away<S: Stream>(
    mut stream: S,
    turned: Turned,
    _courtesy: Share,
    broker: Arc<Broker>,
) {
    let told = timeout(COURTESY, async {
        let (rejection, version) = match read_connect(&mut stream).await {
            Some(Heard::Connect(opening, _)) => (turned.into(), opening.connect.version),
            Some(Heard::Rejected(rejection, version)) => (rejection, version),
            None => return,
        };
        answer(&mut stream, rejection, version).await;
        linger(stream).await;
    });
    broker.stopping.run_until_cancelled(told).await;
}

/// A session of one of the three kinds.
enum Session<S> {
    Activation(Box<ActivationSession<S>>),
    Device(Box<DeviceSession<S>>),
    Operator(Box<OperatorSession<S>>),
}

/// Reads the CONNECT and admits the peer, or tells it why not. It arrives
/// through the handshakes of its transport, which count as part of its CONNECT.
async fn open<S: Stream>(
    arriving: impl Future<Output = Option<S>>,
    mut pass: Pass,
    broker: Arc<Broker>,
) -> Option<(Session<S>, Pass)> {
    let source = pass.address();
    let span = Duration::from_secs(broker.limits.connect_seconds.into());
    let read = pass.within(span, hear(arriving));
    let read = broker.stopping.run_until_cancelled(read).await?;
    let (stream, heard) = read.flatten()?;
    // The place is for silent peers: whoever has spoken takes up nobody's.
    pass.opened();
    let (opening, rest) = match heard {
        Heard::Connect(opening, rest) => (opening, rest),
        Heard::Rejected(rejection, version) => {
            reject(stream, rejection, version, pass, &broker).await;
            return None;
        }
    };
    let version = opening.connect.version;
    let outcome = admit(opening, source, &broker).await;
    match outcome {
        Ok(admitted) => {
            let session = admitted.start(stream, &rest, source, &broker)?;
            Some((session, pass))
        }
        Err(rejection) => {
            if let Rejection::Refused(refusal) = rejection {
                broker.take_time(refusal, source).await?;
            }
            reject(stream, rejection, version, pass, &broker).await;
            None
        }
    }
}

/// The first packet of a peer.
enum Heard {
    /// A CONNECT, and the bytes that follow it: peers may send more before they
    /// have an answer.
    Connect(Box<Opening>, Vec<u8>),
    /// None that is accepted, though there is an answer to it.
    Rejected(Rejection, Version),
}

/// Waits for the peer to arrive, and for its whole CONNECT.
async fn hear<S: Stream>(arriving: impl Future<Output = Option<S>>) -> Option<(S, Heard)> {
    let mut stream = arriving.await?;
    let heard = read_connect(&mut stream).await?;
    Some((stream, heard))
}

/// Reads until the first packet is whole.
async fn read_connect<S: Stream>(stream: &mut S) -> Option<Heard> {
    let mut reader = Reader::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        let mut bytes = &buffer[..count];
        match reader.feed(&mut bytes) {
            Progress::More => {}
            Progress::Opened(opening) => return Some(Heard::Connect(opening, bytes.to_vec())),
            Progress::Rejected(rejection, version) => {
                return Some(Heard::Rejected(rejection, version));
            }
            Progress::Close => return None,
        }
    }
}

/// Answers with a refusal and closes, once the peer had time to read it.
async fn reject<S: Stream>(
    mut stream: S,
    rejection: Rejection,
    version: Version,
    pass: Pass,
    broker: &Broker,
) {
    let said = timeout(REFUSAL_DEADLINE, answer(&mut stream, rejection, version));
    drop(said.await);
    broker.linger(linger(stream), pass).await;
}

/// Tells the peer no, where there is a word for it. It may be gone already.
async fn answer<S: Stream>(stream: &mut S, rejection: Rejection, version: Version) {
    if let Some(connack) = rejection.connack(version) {
        drop(stream.write_all(&connack).await);
    }
    drop(stream.shutdown().await);
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;
    use std::mem::size_of;
    use std::task::{Context, Poll};

    use tokio::net::TcpStream;
    use tokio_rustls::server::TlsStream;

    use super::*;
    use crate::websocket::WebSocket;

    /// A way to arrive that takes much room.
    struct Arriving<S> {
        _room: [u8; 1024],
        _stream: PhantomData<fn() -> S>,
    }

    impl<S> Future for Arriving<S> {
        type Output = Option<S>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(None)
        }
    }

    /// There are thousands of them, so what a connection carries while it
    /// idles is kept in sight: nothing of how it came, for a start. What TLS and
    /// WebSocket need is in the session, once. The last 16 bytes are for the end,
    /// which waits for the peer in a box of its own.
    #[test]
    fn an_idle_device_is_small() {
        fn of<F, A>(_: fn(Mqtt, A, Pass, Arc<Broker>) -> F) -> usize {
            size_of::<F>()
        }
        fn task<S: Stream>() -> usize {
            of(<Mqtt as Conversation>::hold::<Arriving<S>, S>)
        }
        type Secure = TlsStream<TcpStream>;
        let tasks = [
            task::<TcpStream>(),
            task::<Secure>(),
            task::<WebSocket<Secure>>(),
        ];
        assert!(tasks.iter().all(|task| *task <= 408), "{tasks:?} bytes");
        let session = size_of::<DeviceSession<TcpStream>>();
        assert!(session <= 384, "{session} bytes");
        let more = size_of::<WebSocket<TcpStream>>() - size_of::<TcpStream>();
        assert!(more <= 512, "{more} bytes");
    }
}
