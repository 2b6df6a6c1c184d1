//! The way to the broker: its address, where calls come from, what carries
//! them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::outcome::Mishap;
use crate::source::{SourceAddress, Sources};
use crate::stream::Stream;
use crate::tls::Transport;
use crate::wire;

/// What all connections of a run have in common.
pub(crate) struct Route {
    broker: SocketAddr,
    transport: Transport,
    sources: Sources,
}

/// A TCP connection, before its TLS handshake.
pub(crate) struct Called {
    stream: TcpStream,
    begun: Instant,
    connect: Duration,
}

/// A connection, ready for MQTT, and what it took.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// The TCP connection.
    pub(crate) connect: Duration,
    /// The TLS handshake after it.
    pub(crate) tls: Option<Duration>,
}

impl Route {
    pub(crate) fn new(broker: SocketAddr, transport: Transport) -> Self {
        Self {
            broker,
            transport,
            sources: Sources::for_broker(broker),
        }
    }

    /// Whom it leads to.
    pub(crate) fn broker(&self) -> SocketAddr {
        self.broker
    }

    /// Calls as the next device: the TCP connection alone.
    pub(crate) async fn call(&self) -> Result<Called, Mishap> {
        self.call_from(self.sources.next()).await
    }

    /// Calls as a service, of which there are few: from wherever the system
    /// chooses.
    pub(crate) async fn open_as_service(&self) -> Result<Opened, Mishap> {
        let called = self.call_from(SourceAddress::Unbound).await?;
        self.secure(called).await
    }

    /// See [`Sources::used`].
    pub(crate) fn source_addresses(&self) -> Option<u32> {
        self.sources.used()
    }

    async fn call_from(&self, source: SourceAddress) -> Result<Called, Mishap> {
        let begun = Instant::now();
        let stream = wire::connect(self.broker, source).await?;
        let connect = begun.elapsed();
        Ok(Called {
            stream,
            begun,
            connect,
        })
    }

    /// Does the TLS handshake, if there is to be one.
    pub(crate) async fn secure(&self, called: Called) -> Result<Opened, Mishap> {
        let Called {
            stream,
            begun,
            connect,
        } = called;
        match &self.transport {
            Transport::Plain => Ok(Opened {
                stream: Stream::Plain(stream),
                connect,
                tls: None,
            }),
            Transport::Tls(client) => Ok(Opened {
                stream: client.secure(stream).await?,
                connect,
                tls: Some(begun.elapsed() - connect),
            }),
        }
    }
}
