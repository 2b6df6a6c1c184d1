//! TLS 1.2 and 1.3.
//!
//! One cryptography provider, named here and nowhere taken from the process.
//! Returning peers resume: with tickets, which cost the server no memory, or,
//! without them, from a small table.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ServerSessionMemoryCache;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Transport;
use crate::certificate::Certificate;
use crate::wire::linger;

/// Sessions that TLS 1.2 peers without tickets may resume.
const RESUMABLE: usize = 1024;

/// The protocol inside, as ALPN names it. A peer may leave it out; one that
/// asks for something else has come to the wrong port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside {
    Mqtt,
    /// A WebSocket begins as this, too.
    Http,
}

/// TLS with a certificate.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

/// The cryptography of every TLS listener.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Tls {
    pub(crate) fn new(certificate: Arc<Certificate>, inside: Inside) -> Result<Self> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        let name: &[u8] = match inside {
            Inside::Mqtt => b"mqtt",
            Inside::Http => b"http/1.1",
        };
        config.alpn_protocols = vec![name.to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        config.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
        // A device holds one connection: it needs one ticket for the next.
        config.send_tls13_tickets = 1;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake.
    pub(super) async fn accept(&self, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
        match self.0.accept(tcp).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((error, tcp)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                // The alert that says why was sent last.
                linger(tcp).await;
                None
            }
        }
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;
    /// Boxed, so that a session that lasts for years does not carry what its
    /// handshake took.
    type Arriving = Pin<Box<dyn Future<Output = Option<Self::Stream>> + Send>>;

    fn arrive(&self, tcp: TcpStream) -> Self::Arriving {
        let tls = self.clone();
        Box::pin(async move { tls.accept(tcp).await })
    }
}
