//! The same stories over TCP, TLS and WebSocket, and what is TLS's own.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use crate::support::wire::DISCONNECT;
use crate::support::{
    Connect, Credentials, Door, Everywhere, PASSWORD, Peer, Secure, Version, code, dial, eventually,
};

/// Activates, logs in and sends a value.
fn live(server: &Everywhere, door: Door, version: Version, serial: &str) -> Peer {
    let mut peer = server.admitted(door, version, &Connect::new(serial, &code(serial)));
    peer.subscribe(&[(&format!("provision/{serial}/response"), 1)], &[1]);
    let Credentials { key, feed } = Credentials::read(&peer.message().payload);
    peer.send(&DISCONNECT);
    peer.expect_close();
    let mut peer = server.admitted(door, version, &Connect::new(serial, &key));
    peer.deliver(&format!("feeds/{feed}/data/temperature"), 2, b"21.5");
    peer
}

#[test]
fn every_version_comes_through_every_door() {
    let server = Everywhere::start();
    for door in Door::ALL {
        for version in Version::ALL {
            let serial = format!("{}-{version:?}", door.name());
            server.broker.fleet(&[&serial]);
            let mut peer = live(&server, door, version, &serial);
            peer.expect_alive();
            peer.send(&DISCONNECT);
            // With TLS and WebSocket this is an end that both have agreed on.
            peer.expect_close();
        }
    }
}

#[test]
fn who_is_refused_is_told_so_at_every_door() {
    let server = Everywhere::start();
    for door in Door::ALL {
        for version in Version::ALL {
            let mut peer = server.peer(door, version);
            peer.send(&Connect::new("nobody", &"0".repeat(40)).bytes(version));
            let no = if version.is_5() { 0x86 } else { 4 };
            peer.expect(&version.connack(no));
            peer.expect_close();
        }
    }
}

#[test]
fn large_packets_pass_every_door_both_ways() {
    let server = Everywhere::start();
    server.broker.add_operator("boss", "admin", &[]);
    let payload: Vec<u8> = (0..900_000_u32).map(|n| (n % 251) as u8).collect();
    for door in Door::ALL {
        let mut boss = server.admitted(door, Version::V311, &Connect::new("boss", PASSWORD));
        boss.subscribe(&[("app/large", 0)], &[0]);
        boss.send(&Version::V311.publish("app/large", 0, 0, &payload));
        assert!(boss.publish().payload == payload, "{door:?}");
    }
}

#[test]
fn tls_1_2_and_1_3_with_and_without_alpn() {
    let server = Everywhere::start();
    for (version, negotiated) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for (door, name) in [(Door::Mqtts, b"mqtt".as_slice()), (Door::Wss, b"http/1.1")] {
            let mut trust = server.trust(&[version]);
            let alpn = |trust: &ClientConfig| {
                let stream = server.try_secure(door, &Arc::new(trust.clone()));
                let stream = stream.map_err(|error| error.to_string())?;
                assert_eq!(stream.conn.protocol_version(), Some(negotiated));
                Ok::<_, String>(stream.conn.alpn_protocol().map(<[u8]>::to_vec))
            };
            assert_eq!(alpn(&trust), Ok(None));
            trust.alpn_protocols = vec![b"other".to_vec(), name.to_vec()];
            assert_eq!(alpn(&trust), Ok(Some(name.to_vec())));
            trust.alpn_protocols = vec![b"other".to_vec()];
            let refused = alpn(&trust).expect_err("another protocol");
            assert!(refused.contains("NoApplicationProtocol"), "{refused}");
        }
    }
}

#[test]
fn returning_peers_resume() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1"]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Arc::new(server.trust(&[version]));
        let kinds = [(); 3].map(|()| {
            let stream = server.try_secure(Door::Mqtts, &trust).expect("TLS");
            let kind = stream.conn.handshake_kind();
            // The ticket comes with the first answer, if not before.
            let mut peer = Peer::over(stream, Version::V311);
            peer.admit(&Connect::new("S1", &code("S1")));
            kind
        });
        let (full, resumed) = (Some(HandshakeKind::Full), Some(HandshakeKind::Resumed));
        assert_eq!(kinds, [full, resumed, resumed], "{version:?}");
    }
}

/// The certificate that a server shows to who trusts the authority that is
/// there now.
fn shown(server: &Everywhere) -> Option<Vec<u8>> {
    let trust = Arc::new(server.trust(rustls::ALL_VERSIONS));
    let stream = server.try_secure(Door::Mqtts, &trust).ok()?;
    Some(certificate(&stream))
}

fn certificate(stream: &Secure) -> Vec<u8> {
    let chain = stream.conn.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

#[test]
fn a_new_certificate_is_shown_on_sighup_and_on_its_own() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1", "S2"]);
    let mut before = shown(&server).expect("TLS");
    let mut sessions = [
        live(&server, Door::Mqtts, Version::V5, "S1"),
        live(&server, Door::Wss, Version::V311, "S2"),
    ];
    for signal in [Some("HUP"), None] {
        server.renew();
        if let Some(signal) = signal {
            server.broker.signal(signal);
        }
        let now = eventually("the new certificate", || shown(&server));
        assert_ne!(now, before);
        sessions.iter_mut().for_each(Peer::expect_alive);
        before = now;
    }
}

#[test]
fn a_broken_certificate_changes_nothing() {
    let server = Everywhere::start();
    let before = shown(&server).expect("TLS");
    let path = server.certificates().join("server.pem");
    let kept = fs::read(&path).expect("readable");
    let authority = fs::read(server.certificates().join("ca.pem")).expect("readable");
    for (number, broken) in [b"no PEM".to_vec(), Vec::new(), authority]
        .iter()
        .enumerate()
    {
        fs::write(&path, broken).expect("written");
        server.broker.signal("HUP");
        eventually("the complaint", || {
            let log = server.broker.log();
            let complaints = log.matches("the certificate before stays in use");
            (complaints.count() > number).then_some(())
        });
        assert_eq!(shown(&server).as_ref(), Some(&before));
    }
    fs::write(&path, kept).expect("written");
    let key = server.certificates().join("server.key");
    let key = fs::read_to_string(key).expect("readable");
    let secret = key.lines().nth(1).expect("a PEM file");
    assert!(!server.broker.log().contains(secret));
}

#[test]
fn silent_peers_delay_nobody_and_are_ended() {
    let server = Everywhere::configured("", "connect_seconds = 3\nfirst_byte_seconds = 3");
    let hello = [0x16, 3, 1, 2, 0, 1];
    let request = b"GET /mqtt HTTP/1.1\r\nHost: x\r\n";
    let mut silent: Vec<Box<dyn Silent>> = Vec::new();
    for (door, said) in [
        (Door::Mqtt, b"".as_slice()),
        (Door::Mqtts, b""),
        (Door::Mqtts, &hello),
        (Door::Ws, b""),
        (Door::Ws, request),
        (Door::Wss, &hello),
    ] {
        let mut stream = dial(server.broker.listens(door.name()));
        stream.write_all(said).expect("open");
        silent.push(Box::new(stream));
    }
    let mut stream = server.secure(Door::Wss);
    stream.write_all(request).expect("open");
    silent.push(Box::new(stream));
    // Upgraded, and then nothing.
    let upgraded = server.peer(Door::Wss, Version::V5);
    for door in Door::ALL {
        server.broker.fleet(&[door.name()]);
        live(&server, door, Version::V5, door.name());
    }
    assert!(!upgraded.says_something_within(Duration::from_millis(1)));
    for mut stream in silent {
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "never ended"),
        }
    }
}

trait Silent: Read {}
impl<S: Read> Silent for S {}

#[test]
fn who_comes_to_the_wrong_door_is_sent_away() {
    let server = Everywhere::start();
    let connect = Connect::new("S1", &code("S1")).bytes(Version::V5);
    let answer = |door: Door, said: &[u8]| {
        let mut stream = dial(server.broker.listens(door.name()));
        stream.write_all(said).expect("open");
        let mut answer = Vec::new();
        // A reset is an end, too.
        drop(stream.read_to_end(&mut answer));
        answer
    };
    // A TLS alert, or nothing, and the end.
    for door in [Door::Mqtts, Door::Wss] {
        let answer = answer(door, &connect);
        assert!(
            answer.first().is_none_or(|first| *first == 0x15),
            "{answer:02x?}"
        );
    }
    let hello = [0x16, 3, 1, 2, 0, 1];
    assert_eq!(answer(Door::Mqtt, &hello), b"");
    let answer = answer(Door::Ws, &connect);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"));
    // Nobody is the worse for it.
    server.broker.fleet(&["S1"]);
    live(&server, Door::Wss, Version::V5, "S1");
}

#[test]
fn a_thousand_handshakes_cut_off_leave_nothing_behind() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1"]);
    live(&server, Door::Wss, Version::V5, "S1").vanish();
    let before = server.broker.open_files();
    let cut = |door: Door, said: &[u8]| {
        let mut stream = dial(server.broker.listens(door.name()));
        stream.write_all(said).expect("open");
    };
    let hello = [0x16, 3, 1, 2, 0, 1];
    thread::scope(|scope| {
        for door in [Door::Mqtts, Door::Ws, Door::Wss] {
            scope.spawn(move || (0..333).for_each(|_| cut(door, &hello)));
        }
    });
    eventually("every descriptor is closed", || {
        (server.broker.open_files() < before + 20).then_some(())
    });
}
