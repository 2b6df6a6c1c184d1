//! TLS as devices speak it: what they trust, and what they remember.
//!
//! One configuration is shared by the whole fleet. It always checks the
//! broker's certificate: there is no way to ask for less.

mod tickets;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outcome::{Mishap, NoTls};
use crate::stream::Stream;

use tickets::Tickets;

/// How devices reach the broker.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// TCP and nothing more.
    #[default]
    Plain,
    /// TLS over TCP.
    Tls(TlsClient),
}

/// What every device of a fleet knows of TLS.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    summary: TlsSummary,
}

/// What a [`TlsClient`] is made from.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The file with the certificates of those whom devices trust, in PEM.
    pub ca: PathBuf,
    /// The name that the broker's certificate must have.
    pub name: String,
    /// The one version that is offered.
    pub version: TlsVersion,
    /// Whether earlier sessions are resumed.
    pub resumption: TlsResumption,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

/// What devices do with the sessions that the broker lets them keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsResumption {
    /// Forget them: every handshake is a full one.
    #[default]
    Never,
    /// Resume one if there is one. The fleet shares them.
    WherePossible,
}

/// TLS as a report tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TlsSummary {
    /// The version.
    pub version: TlsVersion,
    /// Whether sessions were resumed.
    pub resumption: TlsResumption,
}

/// Why a fleet cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read as PEM.
    #[error("cannot read certificates from {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// The file has no certificate in it.
    #[error("{0} holds no certificate: give the CA's certificate in PEM")]
    NoCertificate(PathBuf),
    /// A certificate cannot be trusted as an authority.
    #[error("{path} holds what is no authority's certificate: {cause}")]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        cause: rustls::Error,
    },
    /// The name is neither a DNS name nor an IP address.
    #[error("{name} is no name of a server: {cause}")]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        cause: InvalidDnsNameError,
    },
    /// The cryptography lacks what is asked for.
    #[error("this version of TLS cannot be spoken: {0}")]
    Version(rustls::Error),
}

/// More sessions than are ever in flight, fewer than would be felt in memory.
const SESSIONS_KEPT: usize = 4096;

impl TlsClient {
    /// Reads the authorities' file and settles on one version.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let TlsSettings {
            ca,
            name,
            version,
            resumption,
        } = settings;
        let roots = authorities(ca)?;
        let name =
            ServerName::try_from(name.clone()).map_err(|cause| TlsError::Name { name, cause })?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version.protocol()])
            .map_err(TlsError::Version)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = match resumption {
            TlsResumption::Never => Resumption::disabled(),
            TlsResumption::WherePossible => {
                Resumption::store(Arc::new(Tickets::at_most(SESSIONS_KEPT)))
            }
        };
        Ok(Self {
            config: Arc::new(config),
            name,
            summary: TlsSummary {
                version,
                resumption,
            },
        })
    }

    /// As a report tells of it.
    pub(crate) fn summary(&self) -> TlsSummary {
        self.summary
    }

    /// Does the handshake.
    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<Stream, Mishap> {
        let connector = TlsConnector::from(self.config.clone());
        match connector.connect(self.name.clone(), stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(Mishap::NoTls(NoTls::of(&error))),
        }
    }
}

impl Transport {
    /// As a report tells of it; `None` without TLS.
    pub(crate) fn summary(&self) -> Option<TlsSummary> {
        match self {
            Self::Plain => None,
            Self::Tls(client) => Some(client.summary()),
        }
    }
}

impl TlsVersion {
    pub(crate) fn protocol(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

/// Named wherever rustls needs one, so that none has to be installed for the
/// process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authorities(path: PathBuf) -> Result<RootCertStore, TlsError> {
    let read = CertificateDer::pem_file_iter(&path).and_then(|found| found.collect());
    let certificates: Vec<CertificateDer<'static>> = match read {
        Ok(certificates) => certificates,
        Err(cause) => return Err(TlsError::Unreadable { path, cause }),
    };
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        if let Err(cause) = roots.add(certificate) {
            return Err(TlsError::NotAnAuthority { path, cause });
        }
    }
    Ok(roots)
}
