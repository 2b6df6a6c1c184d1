//! rustls as it comes: one certificate, TLS 1.2 and 1.3, sessions resumed from
//! tickets that the server need not remember.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio_rustls::TlsAcceptor;

use crate::tls::provider;

/// Whom the floor claims to be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The file with its certificate and those above it, in PEM.
    pub cert: PathBuf,
    /// The file with its private key, in PEM.
    pub key: PathBuf,
}

/// Why there is no floor over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFloorError {
    /// One of the two files cannot be read as PEM.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// Certificate and key do not go together.
    #[error("this certificate and this key are no identity for TLS: {0}")]
    Unusable(#[from] rustls::Error),
    /// It cannot listen.
    #[error("the floor cannot listen: {0}")]
    Listen(#[from] io::Error),
}

impl Identity {
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsFloorError> {
        let unreadable = |path: &PathBuf| {
            let path = path.clone();
            move |cause| TlsFloorError::Unreadable { path, cause }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.cert)
            .and_then(|found| found.collect())
            .map_err(unreadable(&self.cert))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable(&self.key))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // As for a device, which holds one connection at a time.
        config.send_tls13_tickets = 1;
        config.ticketer = Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
