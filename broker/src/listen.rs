//! Peers, accepted.
//!
//! One loop for every listener; how a peer's bytes travel is a [`Transport`],
//! and what is spoken over them a [`Conversation`]. The loop does nothing but accept and ask the gate: each connection has a
//! task of its own, in which handshakes are made, and the loop never waits for
//! a stranger.

pub(crate) mod door;
mod tcp;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::config::Socket;
use crate::gate::{Pass, Share, Turned};
use crate::wire;

/// Connections that the kernel may hold before they are accepted; it cuts this
/// to `net.core.somaxconn`. The usual 128 would lose SYNs in a storm.
const BACKLOG: u32 = 4096;
/// A pause after an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// How a peer's bytes travel over TCP.
pub(crate) trait Transport: Send + Sync + 'static {
    /// What carries the conversation in the end.
    type Stream: wire::Stream;
    /// The handshakes until then; `None` is a peer that failed one.
    type Arriving: Future<Output = Option<Self::Stream>> + Send + 'static;

    /// Begins with a connection that was accepted. Handshakes are made by
    /// whoever awaits the future.
    fn arrive(&self, tcp: TcpStream) -> Self::Arriving;

    /// The connection itself, if it carries the conversation without any
    /// handshake: a peer that may not connect can then be told so.
    fn at_once(&self, _: TcpStream) -> Option<TcpStream> {
        None
    }
}

/// What is spoken with a peer, whatever carries it.
pub(crate) trait Conversation: Clone + Send + 'static {
    /// Serves one peer until it is gone. It arrives through the handshakes of
    /// its transport.
    fn hold<A, S>(
        self,
        arriving: A,
        pass: Pass,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        A: Future<Output = Option<S>> + Send + 'static,
        S: wire::Stream;

    /// Tells a peer that may not connect at all why. Nothing is checked or
    /// looked up for it.
    fn turn_away<S: wire::Stream>(
        self,
        stream: S,
        turned: Turned,
        courtesy: Share,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// A bound listener that does not accept yet.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds, or takes over what was bound before this process began.
    pub(crate) fn open(socket: Socket) -> io::Result<Self> {
        let listener = match socket {
            Socket::Bind(address) => bind(address)?,
            Socket::Inherited(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)?
            }
        };
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The real address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the future is dropped.
    pub(crate) async fn serve(
        self,
        transport: impl Transport,
        conversation: impl Conversation,
        broker: Arc<Broker>,
        connections: TaskTracker,
    ) {
        let transport = Arc::new(transport);
        let first_byte = Duration::from_secs(broker.limits.first_byte_seconds.into());
        loop {
            let (tcp, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let source = peer.ip().to_canonical();
            match broker.gate.admit(source) {
                Ok(pass) => {
                    let arriving = arrive(tcp, Arc::clone(&transport), first_byte);
                    let broker = Arc::clone(&broker);
                    connections.spawn(conversation.clone().hold(arriving, pass, broker));
                }
                Err(turned) => {
                    let refusal = turned.refusal();
                    broker.provisioner.count_turned_away(source, refusal);
                    if let Some(stream) = transport.at_once(tcp)
                        && let Some(courtesy) = broker.gate.courtesy(source)
                    {
                        let broker = Arc::clone(&broker);
                        let conversation = conversation.clone();
                        let told = conversation.turn_away(stream, turned, courtesy, broker);
                        connections.spawn(told);
                    }
                }
            }
        }
    }
}

/// Waits for a peer's first byte, which no handshake begins without.
async fn arrive<T: Transport>(
    tcp: TcpStream,
    transport: Arc<T>,
    first_byte: Duration,
) -> Option<T::Stream> {
    // Only bytes say that there are bytes: a socket may be called readable
    // before anything has come.
    let mut byte = [0];
    let first = timeout(first_byte, tcp.peek(&mut byte)).await;
    first.ok()?.ok().filter(|count| *count > 0)?;
    transport.arrive(tcp).await
}

/// Binds; port 0 takes a free one.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // What is accepted inherits it: packets are small and wait for answers.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
