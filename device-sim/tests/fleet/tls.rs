//! TLS against rustls as it comes, with certificates made for the test.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use device_sim::floor::{self, Identity};
use device_sim::handshakes::{self, HandshakesPlan, HandshakesReport};
use device_sim::{
    Handshakes, Outcome, Phase, TlsClient, TlsError, TlsResumption, TlsSettings, TlsVersion,
    Transport,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::{DEADLINE, activate, any_port, in_flight};

/// An authority, and a server that it has certified as `localhost`.
struct Certified {
    directory: TempDir,
}

impl Certified {
    fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("signed");
        let server_key = key();
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let server = server.signed_by(&server_key, &authority).expect("signed");

        let directory = tempfile::tempdir().expect("a directory");
        let this = Self { directory };
        for (name, pem) in [
            ("ca.pem", authority.pem()),
            ("server.pem", server.pem()),
            ("server.key", server_key.serialize_pem()),
        ] {
            std::fs::write(this.file(name), pem).expect("written");
        }
        this
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            ca: self.file("ca.pem"),
            name: "localhost".to_owned(),
            version: TlsVersion::Tls13,
            resumption: TlsResumption::Never,
        }
    }

    fn floor(&self) -> SocketAddr {
        let identity = Identity {
            cert: self.file("server.pem"),
            key: self.file("server.key"),
        };
        let server = floor::Server::bind_tls(any_port(), &identity).expect("an identity");
        let address = server.address();
        tokio::spawn(server.serve());
        address
    }
}

async fn shake_hands(server: SocketAddr, settings: TlsSettings) -> HandshakesReport {
    let plan = HandshakesPlan {
        server,
        tls: TlsClient::new(settings).expect("sound settings"),
        count: NonZeroUsize::new(100).expect("not zero"),
        in_flight: in_flight(),
        step_deadline: DEADLINE,
    };
    handshakes::run(plan).await.expect("a sound plan")
}

#[tokio::test]
async fn handshakes_are_full_or_resumed() {
    let certified = Certified::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let server = certified.floor();
        let settings = |resumption| TlsSettings {
            version,
            resumption,
            ..certified.settings()
        };
        let report = shake_hands(server, settings(TlsResumption::Never)).await;
        assert_eq!(report.verdict(), Ok(()));
        let full = Handshakes {
            full: 100,
            resumed: 0,
        };
        assert_eq!(report.result.handshakes, full, "{version:?}");

        let report = shake_hands(server, settings(TlsResumption::WherePossible)).await;
        assert_eq!(report.verdict(), Ok(()));
        // Only those of the first round have nothing to resume.
        let Handshakes { full, resumed } = report.result.handshakes;
        assert!((1..=20).contains(&full), "{version:?}: {full} full");
        assert_eq!(full + resumed, 100);
    }
}

#[tokio::test]
async fn a_fleet_activates_and_stays_over_tls() {
    let certified = Certified::new();
    let client = TlsClient::new(certified.settings()).expect("sound settings");
    let report = activate(certified.floor(), 50, Transport::Tls(client)).await;
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(report.result.phases_us[&Phase::Tls].count, 50);
    let held = report.result.held.expect("sessions were held");
    assert_eq!((held.sessions, held.lost), (50, 0));
}

#[tokio::test]
async fn a_device_trusts_only_whom_it_should() {
    let certified = Certified::new();
    let server = certified.floor();
    let another = Certified::new();
    let of_another = another.settings();
    let misnamed = TlsSettings {
        name: "example.org".to_owned(),
        ..certified.settings()
    };
    for settings in [of_another, misnamed] {
        let report = shake_hands(server, settings).await;
        let outcomes: Vec<_> = report.result.outcomes.into_iter().collect();
        assert_eq!(outcomes, [(Outcome::NoTls, 100)]);
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_is_said_in_words() {
    let certified = Certified::new();
    let check = |settings: TlsSettings, expected: &str| {
        let error = TlsClient::new(settings).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let of_file = |name: &str| TlsSettings {
        ca: certified.file(name),
        ..certified.settings()
    };
    check(of_file("nowhere"), "cannot read certificates from");
    check(of_file("server.key"), "holds no certificate");
    let nameless = TlsSettings {
        name: "not a name".to_owned(),
        ..certified.settings()
    };
    check(nameless, "not a name is no name of a server");
    let gone = TlsClient::new(of_file("nowhere"));
    assert!(matches!(gone, Err(TlsError::Unreadable { .. })));
}
