//! TLS against rustls as it comes, with certificates made for the test.

use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use device_sim::floor::{self, Identity};
use device_sim::handshakes::{self, HandshakesPlan, HandshakesReport};
use device_sim::{
    Handshakes, NoConnection, NoTls, Outcome, Phase, TlsClient, TlsError, TlsResumption,
    TlsSettings, TlsVersion, Transport,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{DEADLINE, activate, any_port, in_flight};

/// An authority, and a server that it has certified as `localhost`.
struct Certified {
    directory: TempDir,
}

impl Certified {
    fn new() -> Self {
        Self::valid(1975, 4096)
    }

    /// With a server's certificate for these years.
    fn valid(from: i32, to: i32) -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("signed");
        let server_key = key();
        let mut server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        server.not_before = date_time_ymd(from, 1, 1);
        server.not_after = date_time_ymd(to, 1, 1);
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
    shake(server, settings, DEADLINE).await
}

async fn shake(
    server: SocketAddr,
    settings: TlsSettings,
    step_deadline: Duration,
) -> HandshakesReport {
    let plan = HandshakesPlan {
        server,
        tls: TlsClient::new(settings).expect("sound settings"),
        count: NonZeroUsize::new(100).expect("not zero"),
        in_flight: in_flight(),
        step_deadline,
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

/// Asserts what became of a hundred handshakes, and that a person reads of it.
fn check(report: &HandshakesReport, expected: Outcome, sentence: &str) {
    let outcomes: Vec<_> = report.result.outcomes.clone().into_iter().collect();
    assert_eq!(outcomes, [(expected, 100)]);
    let text = report.to_string();
    assert!(text.contains(sentence), "{text}");
}

#[tokio::test]
async fn a_device_trusts_only_whom_it_should_and_says_why() {
    let certified = Certified::new();
    let server = certified.floor();
    let another = Certified::new();
    let of_another = shake_hands(server, another.settings()).await;
    let unknown = Outcome::NoTls(NoTls::UnknownAuthority);
    check(&of_another, unknown, "(--tls-ca)");

    let misnamed = TlsSettings {
        name: "example.org".to_owned(),
        ..certified.settings()
    };
    let misnamed = shake_hands(server, misnamed).await;
    check(&misnamed, Outcome::NoTls(NoTls::WrongName), "(--tls-name)");

    for (from, to, expected, sentence) in [
        (1990, 2000, NoTls::Expired, "certificate expired"),
        (4000, 4090, NoTls::NotYetValid, "not valid yet"),
    ] {
        let certified = Certified::valid(from, to);
        let report = shake_hands(certified.floor(), certified.settings()).await;
        check(&report, Outcome::NoTls(expected), sentence);
    }
}

#[tokio::test]
async fn what_is_no_server_with_tls_is_named() {
    let certified = Certified::new();
    let settings = || certified.settings();

    // Bound and let go: nothing listens there.
    let closed = TcpListener::bind(any_port()).await.expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let refused = Outcome::Unreachable(NoConnection::Refused);
    check(&shake_hands(address, settings()).await, refused, "refused");

    let plain = serve_each(|mut stream: TcpStream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let report = shake_hands(plain.await, settings()).await;
    check(
        &report,
        Outcome::NoTls(NoTls::NotTls),
        "no TLS at this port",
    );

    let closing = serve_each(|mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let report = shake_hands(closing.await, settings()).await;
    check(
        &report,
        Outcome::NoTls(NoTls::Closed),
        "closed in the handshake",
    );

    let silent = serve_each(|stream: TcpStream| async move {
        let _held = stream;
        pending::<()>().await;
    });
    let report = shake(silent.await, settings(), Duration::from_millis(200)).await;
    check(
        &report,
        Outcome::NoTls(NoTls::TimedOut),
        "no answer to the handshake",
    );
}

/// A server that does the same with each connection.
async fn serve_each<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(any_port()).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
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
