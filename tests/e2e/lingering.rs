//! The last word of the server arrives, whatever its peer is still sending.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::wire::PINGREQ;
use crate::support::{Connect, Door, Everywhere, PASSWORD, Peer, TestBroker, Version, code, dial};

/// More than the server reads at once, in pieces that any listener takes.
fn send_much(peer: &mut Peer) {
    let pings = PINGREQ.repeat(4 * 1024);
    for _ in 0..16 {
        peer.send(&pings);
    }
}

#[test]
fn a_refusal_arrives_though_its_peer_sends_on() {
    let server = Everywhere::start();
    for door in Door::ALL {
        for version in Version::ALL {
            let mut peer = server.peer(door, version);
            peer.send(&Connect::new("nobody", &"0".repeat(40)).bytes(version));
            send_much(&mut peer);
            let no = if version.is_5() { 0x86 } else { 4 };
            peer.expect(&version.connack(no));
            peer.expect_orderly_close();
        }
        // No version that there is.
        let connect = Connect::new("nobody", "0000");
        let mut peer = server.peer(door, Version::V311);
        peer.send(&connect.bytes_as("MQTT", 9, Version::V311));
        send_much(&mut peer);
        assert!(peer.next().is_some(), "{door:?}");
        peer.expect_orderly_close();
    }
}

#[test]
fn the_reason_of_an_end_arrives_though_its_peer_sends_on() {
    let server = Everywhere::start();
    server.broker.add_operator("boss", "admin", &[]);
    server.broker.fleet(&["S1"]);
    let code = code("S1");
    for door in Door::ALL {
        for version in Version::ALL {
            for (name, password) in [("S1", code.as_str()), ("boss", PASSWORD)] {
                let mut peer = server.admitted(door, version, &Connect::new(name, password));
                // A second CONNECT.
                peer.send(&Connect::new(name, password).bytes(version));
                send_much(&mut peer);
                if let Some(farewell) = version.farewell(0x82) {
                    peer.expect(&farewell);
                }
                peer.expect_orderly_close();
            }
        }
    }
}

#[test]
fn a_packet_that_is_too_large_is_answered_while_it_is_sent() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1"]);
    for door in [Door::Mqtt, Door::Mqtts] {
        let mut device = server.admitted(door, Version::V5, &Connect::new("S1", &code("S1")));
        device.send(&Version::V5.publish("feeds/1/data", 1, 7, &vec![b'x'; 500_000]));
        device.expect(&Version::V5.farewell(0x95).expect("a reason"));
        device.expect_orderly_close();
    }
}

#[test]
fn an_answer_over_http_arrives_though_the_body_is_still_sent() {
    let server = Everywhere::start();
    let body = "x".repeat(500_000);
    let request = format!(
        "POST /api/v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let ask = |mut stream: TcpStream, request: &str| {
        stream.write_all(request.as_bytes()).expect("it reads on");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("no reset");
        stream.write_all(b"more").expect("no reset");
        answer
    };
    let plain = || dial(server.broker.listens("http"));
    let answer = ask(plain(), &request);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // A head that is too long, and what is no HTTP.
    let cookie = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {body}\r\n\r\n");
    let answer = ask(plain(), &cookie);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = ask(plain(), &format!("nonsense\r\n\r\n{body}"));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // A WebSocket that is not opened.
    let websocket = || dial(server.broker.listens("ws"));
    for (status, request) in [(404, &request), (431, &cookie)] {
        let answer = ask(websocket(), request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

/// Peers that are refused and do not close take up no connections, and the
/// server stops without them.
#[test]
fn peers_that_do_not_close_hold_nothing_up() {
    let mut broker = TestBroker::start_with(&["connections = 4", "failures_per_minute = 0"]);
    broker.fleet(&["S1"]);
    let refused: Vec<Peer> = (0..40)
        .map(|_| {
            let wrong = Connect::new("S1", "wrong");
            let mut peer = Peer::connect(broker.address(), Version::V311, &wrong);
            peer.expect(&Version::V311.connack(4));
            peer.expect_orderly_close();
            peer
        })
        .collect();
    let (mut device, _) = broker.device(Version::V311, "S1");
    device.expect_alive();
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    drop(refused);
}
