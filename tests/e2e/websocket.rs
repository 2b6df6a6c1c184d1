//! MQTT over WebSocket: the request, and what messages may look like.

use std::io::{Read, Write};

use tungstenite::Message;
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::wire::{PINGREQ, PINGRESP};
use crate::support::{Connect, Door, Everywhere, PASSWORD, Socket, Version, code, dial};

const ASK: &str = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What is answered to a request, until the server closes.
fn answer(server: &Everywhere, request: &str) -> String {
    let mut stream = dial(server.broker.listens("ws"));
    stream.write_all(request.as_bytes()).expect("open");
    let mut answer = Vec::new();
    // Who sends more than is read may be cut off.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).expect("text")
}

/// The head of an answer that opens a WebSocket.
fn head(server: &Everywhere, request: &str) -> String {
    let mut stream = dial(server.broker.listens("ws"));
    stream.write_all(request.as_bytes()).expect("open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text").to_lowercase()
}

#[test]
fn what_is_no_request_for_mqtt_is_told_why() {
    let server = Everywhere::start();
    let mqtt = "Sec-WebSocket-Protocol: mqtt\r\n";
    let elsewhere = ASK.replace("/mqtt", "/");
    let plain = "GET /mqtt HTTP/1.1\r\nHost: x\r\n";
    let post = ASK.replace("GET", "POST");
    let old = ASK.replace(": 13", ": 8");
    for (status, word, request) in [
        (404, "/mqtt", [&elsewhere, mqtt]),
        (426, "upgrade", [plain, mqtt]),
        (400, "subprotocol", [ASK, ""]),
        (
            400,
            "subprotocol",
            [ASK, "Sec-WebSocket-Protocol: xmpp\r\n"],
        ),
        (
            403,
            "origin",
            [
                ASK,
                "Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://evil.example\r\n",
            ],
        ),
        (400, "", [&post, mqtt]),
        (400, "", [&old, mqtt]),
        (400, "", ["nonsense\r\n", ""]),
    ] {
        let answer = answer(&server, &(request.concat() + "\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(body.contains(word) && body.len() < 200, "{answer}");
    }
    let endless = "x".repeat(64 * 1024);
    let answer = answer(&server, &format!("{ASK}Cookie: {endless}\r\n\r\n"));
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[test]
fn who_asks_as_it_should_is_let_through() {
    let server = Everywhere::configured("origins = ['https://panel.example']", "");
    for (more, protocol) in [
        ("Sec-WebSocket-Protocol: mqtt\r\n", "mqtt"),
        ("Sec-WebSocket-Protocol: mqttv3.1\r\n", "mqttv3.1"),
        ("Sec-WebSocket-Protocol: other, mqtt\r\n", "mqtt"),
        (
            "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: mqttv3.1,mqtt\r\n",
            "mqttv3.1",
        ),
        (
            "Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://panel.example\r\n",
            "mqtt",
        ),
        // The host of the request itself: pages of a proxy in front, and clients
        // that make an origin of the address.
        (
            "Sec-WebSocket-Protocol: mqtt\r\nOrigin: http://x\r\n",
            "mqtt",
        ),
        (
            "Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://X:443\r\n",
            "mqtt",
        ),
    ] {
        let head = head(&server, &format!("{ASK}{more}\r\n"));
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        // The example of RFC 6455, 1.3.
        assert!(
            head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
            "{head}"
        );
        assert!(
            head.contains(&format!("sec-websocket-protocol: {protocol}\r\n")),
            "{head}"
        );
        assert!(
            !head.contains("extensions") && !head.contains("close"),
            "{head}"
        );
    }
    for other in [
        "https://panel.example:8443",
        "http://x:443",
        "http://x.evil",
    ] {
        let origin = format!("Sec-WebSocket-Protocol: mqtt\r\nOrigin: {other}\r\n\r\n");
        assert!(answer(&server, &(ASK.to_owned() + &origin)).starts_with("HTTP/1.1 403 "));
    }
}

/// A masked binary frame of less than 126 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xa5, 0x5a, 0x3c, 0xc3];
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
    let length = 0x80 | u8::try_from(payload.len()).expect("short");
    [first, length]
        .into_iter()
        .chain(mask)
        .chain(masked)
        .collect()
}

#[test]
fn requests_and_frames_may_come_in_any_pieces() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1"]);
    let request = format!("{ASK}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    let connect = Connect::new("S1", &code("S1")).bytes(Version::V311);
    let whole = frame(0x82, &connect);
    // Bytes that arrive apart: within a frame, and frames within a packet.
    let pieces = (0..=whole.len()).map(|at| [whole[..at].to_vec(), whole[at..].to_vec()]);
    let frames = (0..=connect.len()).map(|at| {
        let (head, rest) = connect.split_at(at);
        [frame(0x82, head), frame(0x82, rest)]
    });
    let fragments = (0..=connect.len()).map(|at| {
        let (head, rest) = connect.split_at(at);
        [frame(0x02, head), frame(0x80, rest)]
    });
    for [first, second] in pieces.chain(frames).chain(fragments) {
        let mut stream = dial(server.broker.listens("ws"));
        let (asked, rest) = request.as_bytes().split_at(first.len());
        stream.write_all(asked).expect("open");
        stream.write_all(rest).expect("open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole head");
            head.extend(byte);
        }
        stream.write_all(&first).expect("open");
        stream.write_all(&second).expect("open");
        let mut connack = [0; 6];
        stream
            .read_exact(&mut connack)
            .expect("a CONNACK in a frame");
        assert_eq!(
            connack,
            [0x82, 4, 0x20, 2, 0, 0],
            "{first:02x?} {second:02x?}"
        );
    }
}

/// There are clients that read one packet of a message, and no more.
#[test]
fn each_packet_is_a_message_of_its_own() {
    let server = Everywhere::start();
    server.broker.add_operator("boss", "admin", &[]);
    let mut socket = Socket::ask(server.secure(Door::Wss));
    let version = Version::V5;
    let mut boss = server.admitted(Door::Mqtt, version, &Connect::new("boss", PASSWORD));
    boss.send(&version.publish_with(0x33, "app/kept", 12, &[], b"kept"));
    boss.packet();
    let large = vec![7; 300_000];
    let connect = Connect {
        client_id: "another",
        ..Connect::new("boss", PASSWORD)
    };
    socket.write_all(&connect.bytes(version)).expect("open");
    let connack = socket.messages().read().expect("a message");
    assert_eq!(connack.into_data()[0], 0x20);
    let sent = [
        version.subscribe(1, &[("app/#", 0)]),
        version.publish("app/a", 1, 2, b"a"),
        version.publish("app/large", 0, 0, &large),
        PINGREQ.to_vec(),
    ];
    socket.write_all(&sent.concat()[..]).expect("open");
    let mut firsts = Vec::new();
    let messages = socket.messages();
    while firsts.iter().filter(|first| **first == 0x30).count() < 3
        || !firsts.contains(&PINGRESP[0])
    {
        let Message::Binary(message) = messages.read().expect("a message") else {
            continue;
        };
        let length = message[1..].iter().take_while(|byte| **byte >= 0x80);
        let header = 2 + length.count();
        let lengths = message[1..header].iter().rev();
        let body = lengths.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        assert_eq!(message.len(), header + body, "one whole packet");
        firsts.push(message[0] & 0xf0);
    }
    for first in [0x90, 0x40] {
        assert!(firsts.contains(&first), "{firsts:02x?}");
    }
}

#[test]
fn pings_are_answered_and_text_is_no_mqtt() {
    let server = Everywhere::start();
    server.broker.fleet(&["S1"]);
    for admitted in [false, true] {
        let mut socket = Socket::ask(server.secure(Door::Wss));
        if admitted {
            let connect = Connect::new("S1", &code("S1")).bytes(Version::V311);
            socket.write_all(&connect).expect("open");
            socket.read_exact(&mut [0; 4]).expect("a CONNACK");
        }
        let messages = socket.messages();
        messages.send(Message::Ping("here?".into())).expect("open");
        assert_eq!(
            messages.read().expect("a pong"),
            Message::Pong("here?".into())
        );
        messages.send(Message::text("CONNECT")).expect("open");
        if !admitted {
            // Nobody was let in: the end without a word.
            messages.read().expect_err("the end");
            continue;
        }
        match messages.read().expect("a close") {
            Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Unsupported),
            other => panic!("{other:?}"),
        }
        assert!(matches!(messages.read(), Err(Error::ConnectionClosed)));
    }
}
