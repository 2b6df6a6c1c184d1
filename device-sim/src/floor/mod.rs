//! The floor under every storm: a server that does the least any must.
//!
//! It accepts, frames packets and answers from a counter. It checks nothing and
//! writes nothing to disk, so whatever a real broker takes longer than this is
//! its own work, and whatever this takes is the machine's and the simulator's.
//! Over HTTP it is a handler of axum, on hyper as a server would set it up; over
//! TLS it is rustls and an accept loop. It must never grow a feature.

mod child;
mod http;
mod reply;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::open_files;

pub use child::{Child, ChildError};
pub use tls::{Identity, TlsFloorError};

/// A floor that is listening.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    speaks: Speaks,
}

/// What a floor speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// MQTT 3.1.1.
    #[default]
    Mqtt,
    /// HTTP/1.0 and 1.1, of which it knows activation.
    Http,
}

/// Long enough for a connection to end, when none can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// As many as may ever be in flight. The usual 128 overflow when more devices
/// than that call at once, and each that is dropped tries again a second later.
const BACKLOG: u32 = 4_096;

impl Server {
    /// Listens; port 0 for any. Raises the limit of open files, too. Call it
    /// within a runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, None)
    }

    /// The same over TLS, with rustls as it comes.
    pub fn bind_tls(address: SocketAddr, identity: &Identity) -> Result<Self, TlsFloorError> {
        let acceptor = identity.acceptor()?;
        Ok(Self::bind_with(address, Some(acceptor))?)
    }

    fn bind_with(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        open_files::raise().map_err(io::Error::other)?;
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            tls,
            speaks: Speaks::Mqtt,
        })
    }

    /// The same, speaking this.
    pub fn speaking(self, speaks: Speaks) -> Self {
        Self { speaks, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let tongue = match self.speaks {
            Speaks::Mqtt => Tongue::Mqtt(Arc::default()),
            Speaks::Http => Tongue::Http(http::app()),
        };
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, self.tls.clone(), tongue.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// What all connections share, for what is spoken.
#[derive(Clone)]
enum Tongue {
    /// How many answers have been given.
    Mqtt(Arc<AtomicU32>),
    Http(axum::Router),
}

impl Tongue {
    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        match self {
            Self::Mqtt(issued) => converse(stream, issued).await,
            Self::Http(app) => http::converse(stream, app).await,
        }
    }
}

/// One connection, to its end. However it ends, there is nobody to tell.
async fn answer(stream: TcpStream, tls: Option<TlsAcceptor>, tongue: Tongue) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => tongue.converse(stream).await,
        Some(acceptor) => {
            let mut stream = acceptor.accept(stream).await?;
            tongue.converse(&mut stream).await?;
            stream.shutdown().await
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    issued: Arc<AtomicU32>,
) -> io::Result<()> {
    let mut heard = [0; 512];
    let mut filled = 0;
    let mut out = Vec::with_capacity(256);
    loop {
        // A packet larger than `heard` makes this a read of nothing: the end.
        let count = stream.read(&mut heard[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let consumed = reply::to(&heard[..filled], &issued, &mut out);
        heard.copy_within(consumed..filled, 0);
        filled -= consumed;
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
    }
}
