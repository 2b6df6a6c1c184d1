//! A server with every listener, and peers that come through each.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::carriers::{Secure, Socket, secure, secure_over};
use super::peer::{dial, dial_from};
use super::{Connect, HttpPeer, Peer, TestBroker, Version, firstwake};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Door {
    pub(crate) const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// A server that listens for everything, with a certificate made to try.
pub(crate) struct Everywhere {
    pub(crate) broker: TestBroker,
    certificates: PathBuf,
    trust: Arc<ClientConfig>,
}

impl Everywhere {
    pub(crate) fn start() -> Self {
        Self::configured("", "")
    }

    /// With these keys for WebSockets, and these limits.
    pub(crate) fn configured(websocket: &str, limits: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let certificates = directory.path().join("certificates");
        make_certificate(&certificates);
        let any = "listen = '127.0.0.1:0'";
        let text = format!(
            "[mqtt]\n{any}\n\
             [mqtts]\n{any}\ncertificate = 'certificates/server.pem'\n\
             key = 'certificates/server.key'\n\
             [websocket]\n{any}\n{websocket}\n[websockets]\n{any}\n{websocket}\n\
             [http]\n{any}\n[https]\n{any}\n[xively]\n{any}\n\
             [limits]\n{limits}\n"
        );
        let config = directory.path().join("firstwake.toml");
        fs::write(&config, text).expect("written");
        let config = config.to_str().expect("UTF-8").to_owned();
        let names = [&Door::ALL.map(Door::name)[..], &["http", "https", "xively"]].concat();
        let broker = TestBroker::launch(directory, "data", &names, &["--config", &config]);
        let trust = trust(&certificates, rustls::ALL_VERSIONS);
        Self {
            broker,
            certificates,
            trust,
        }
    }

    /// The certificate of the authority that made the server's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificates.join("ca.pem")
    }

    /// A peer that has come through a door and said nothing.
    pub(crate) fn peer(&self, door: Door, version: Version) -> Peer {
        self.peer_over(dial(self.broker.listens(door.name())), door, version)
    }

    /// The same from another address of this machine.
    pub(crate) fn peer_from(&self, source: [u8; 4], door: Door, version: Version) -> Peer {
        let tcp = dial_from(source, self.broker.listens(door.name()));
        self.peer_over(tcp, door, version)
    }

    fn peer_over(&self, tcp: TcpStream, door: Door, version: Version) -> Peer {
        let secure = |tcp| secure_over(tcp, &self.trust).expect("TLS");
        match door {
            Door::Mqtt => Peer::over(tcp, version),
            Door::Mqtts => Peer::over(secure(tcp), version),
            Door::Ws => Peer::over(Socket::ask(tcp), version),
            Door::Wss => Peer::over(Socket::ask(secure(tcp)), version),
        }
    }

    /// A peer below a door's WebSocket, if it has one.
    pub(crate) fn below_websocket(&self, door: Door, version: Version) -> Peer {
        match door {
            Door::Mqtt | Door::Ws => Peer::open(self.broker.listens(door.name()), version),
            Door::Mqtts | Door::Wss => Peer::over(self.secure(door), version),
        }
    }

    /// A peer that is let in through a door.
    pub(crate) fn admitted(&self, door: Door, version: Version, connect: &Connect<'_>) -> Peer {
        let mut peer = self.peer(door, version);
        peer.admit(connect);
        peer
    }

    /// A connection to what is asked over HTTP with TLS.
    pub(crate) fn https(&self) -> HttpPeer {
        let address = self.broker.listens("https");
        HttpPeer::over(secure(address, &self.trust).expect("TLS"))
    }

    /// A TLS connection that trusts the server's authority.
    pub(crate) fn secure(&self, door: Door) -> Secure {
        self.try_secure(door, &self.trust).expect("TLS")
    }

    pub(crate) fn try_secure(&self, door: Door, trust: &Arc<ClientConfig>) -> io::Result<Secure> {
        secure(self.broker.listens(door.name()), trust)
    }

    /// Where the certificates are.
    pub(crate) fn certificates(&self) -> &Path {
        &self.certificates
    }

    /// What trusts the authority that is there now.
    pub(crate) fn trust(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        Arc::unwrap_or_clone(trust(&self.certificates, versions))
    }

    /// Replaces the certificates by new ones of another authority.
    pub(crate) fn renew(&self) {
        make_certificate(&self.certificates);
    }
}

/// Trusts the authority in this directory, in these versions of TLS.
fn trust(certificates: &Path, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.join("ca.pem"));
    roots.add(authority.expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn make_certificate(directory: &Path) {
    let path = directory.to_str().expect("UTF-8");
    let make = ["cert", "dev", "--force", "--dir", path];
    firstwake(directory, &make, "").ok();
}
