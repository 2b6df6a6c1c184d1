//! Plain TCP, accepted.
//!
//! The accept loop does nothing but accept and ask the gate: each connection
//! has a task of its own, and it never waits for a stranger.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::connection;

/// Connections that the kernel may hold before they are accepted; it cuts this
/// to `net.core.somaxconn`. The usual 128 would lose SYNs in a storm.
const BACKLOG: u32 = 4096;
/// A pause after an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound listener that does not accept yet.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds; port 0 takes a free one.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        // What is accepted inherits it: packets are small and wait for answers.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The real address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the future is dropped.
    pub(crate) async fn serve(self, broker: Arc<Broker>, connections: TaskTracker) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
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
                    let broker = Arc::clone(&broker);
                    connections.spawn(connection::serve(stream, pass, broker));
                }
                Err(turned) => {
                    let refusal = turned.refusal();
                    broker.provisioner.count_turned_away(source, refusal);
                    if let Some(courtesy) = broker.gate.courtesy(source) {
                        let broker = Arc::clone(&broker);
                        let told = connection::turn_away(stream, turned, courtesy, broker);
                        connections.spawn(told);
                    }
                }
            }
        }
    }
}
