//! Messages in, bytes out.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A masked frame, as peers send it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    frame.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

fn websocket() -> (DuplexStream, WebSocket<DuplexStream>) {
    let (peer, server) = duplex(1024 * 1024);
    (peer, WebSocket::new(server, &[], 1024))
}

/// What the server reads when the peer sends this and waits.
async fn read(sent: &[u8], count: usize) -> Vec<u8> {
    let (mut peer, mut websocket) = websocket();
    peer.write_all(sent).await.expect("room");
    let mut read = vec![0; count];
    websocket.read_exact(&mut read).await.expect("that much");
    read
}

#[tokio::test]
async fn messages_are_a_stream() {
    assert_eq!(read(&frame(BINARY, b"abc"), 3).await, b"abc");
    let several = [
        frame(BINARY, b"a"),
        frame(BINARY, b""),
        frame(BINARY, b"bc"),
    ]
    .concat();
    assert_eq!(read(&several, 3).await, b"abc");
    // Fragments, with a pong between them.
    let parts = [
        frame(0x02, b"a"),
        frame(0x8a, b"!"),
        frame(0x00, b"b"),
        frame(0x80, b"c"),
    ];
    assert_eq!(read(&parts.concat(), 3).await, b"abc");
}

#[tokio::test]
async fn what_came_with_the_handshake_is_not_lost() {
    let whole = frame(BINARY, b"abcdef");
    for split in 0..=whole.len() {
        let (mut peer, server) = duplex(1024);
        let mut websocket = WebSocket::new(server, &whole[..split], 1024);
        peer.write_all(&whole[split..]).await.expect("room");
        let mut read = [0; 6];
        websocket.read_exact(&mut read).await.expect("six");
        assert_eq!(&read, b"abcdef", "{split}");
    }
}

#[tokio::test]
async fn a_packet_is_a_message_and_needs_no_flush() {
    let (mut peer, mut websocket) = websocket();
    assert_eq!(websocket.write(b"\x40\x02\0\x07").await.expect("open"), 4);
    let mut sent = [0; 6];
    peer.read_exact(&mut sent).await.expect("six");
    assert_eq!(sent, *b"\x82\x04\x40\x02\0\x07");
}

#[tokio::test]
async fn packets_that_are_written_together_are_messages_apart() {
    let packets: [&[u8]; 3] = [b"\x90\x03\0\x07\0", b"\x30\x04\0\x01ax", b"\xd0\0"];
    let written = packets.concat();
    // However the bytes are handed over.
    for piece in [1, 2, 3, written.len()] {
        let (mut peer, mut websocket) = websocket();
        for bytes in written.chunks(piece) {
            websocket.write_all(bytes).await.expect("open");
        }
        websocket.flush().await.expect("open");
        drop(websocket);
        let mut sent = Vec::new();
        peer.read_to_end(&mut sent).await.expect("the end");
        let mut messages: Vec<Vec<u8>> = Vec::new();
        while let [first, length, rest @ ..] = &sent[..] {
            if first & 0x0f == 2 {
                messages.push(Vec::new());
            }
            let (payload, rest) = rest.split_at(usize::from(*length));
            messages.last_mut().expect("begun").extend(payload);
            sent = rest.to_vec();
        }
        assert_eq!(messages, packets, "{piece}");
    }
}

#[tokio::test]
async fn what_a_full_peer_did_not_take_is_flushed() {
    let (mut peer, server) = duplex(4);
    let mut websocket = WebSocket::new(server, &[], 1024);
    let write = async {
        websocket.write_all(b"\x30\x04cdef").await?;
        websocket.flush().await
    };
    let mut sent = [0; 8];
    let (written, read) = tokio::join!(write, peer.read_exact(&mut sent));
    written.expect("open");
    read.expect("eight");
    assert_eq!(sent, *b"\x82\x06\x30\x04cdef");
}

#[tokio::test]
async fn a_ping_is_answered_while_reading() {
    let (mut peer, mut websocket) = websocket();
    peer.write_all(&frame(PING, b"?")).await.expect("room");
    peer.write_all(&frame(BINARY, b"a")).await.expect("room");
    assert_eq!(websocket.read_u8().await.expect("one"), b'a');
    let mut pong = [0; 3];
    peer.read_exact(&mut pong).await.expect("three");
    assert_eq!(pong, *b"\x8a\x01?");
}

#[tokio::test]
async fn a_close_is_agreed_upon() {
    // Ours first.
    let (mut peer, mut websocket) = websocket();
    let story = async {
        let mut close = [0; 4];
        peer.read_exact(&mut close).await.expect("four");
        assert_eq!(close, [CLOSE, 2, 3, 232]);
        // What was on its way is read over.
        peer.write_all(&frame(BINARY, b"late")).await.expect("room");
        peer.write_all(&frame(CLOSE, &[3, 232]))
            .await
            .expect("room");
        assert_eq!(peer.read(&mut close).await.expect("the end"), 0);
    };
    let (closed, ()) = tokio::join!(websocket.shutdown(), story);
    closed.expect("closed");

    // Theirs first.
    let (mut peer, mut websocket) = self::websocket();
    peer.write_all(&frame(CLOSE, &[3, 232]))
        .await
        .expect("room");
    assert_eq!(websocket.read(&mut [0]).await.expect("the end"), 0);
    websocket.shutdown().await.expect("closed");
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.expect("the end");
    assert_eq!(all, [CLOSE, 2, 3, 232]);
}

#[tokio::test]
async fn what_is_no_mqtt_is_told_and_closed() {
    let long = frame(BINARY, &vec![0; OPENING + 1]);
    let unmasked = [BINARY, 1, 0];
    for (sent, code) in [
        (frame(TEXT, b"abc").as_slice(), 1003_u16),
        (&long, 1009),
        (&unmasked, 1002),
        (&frame(0x80, b"no beginning"), 1002),
    ] {
        let (mut peer, mut websocket) = websocket();
        peer.write_all(sent).await.expect("room");
        websocket.read(&mut [0]).await.expect_err("no MQTT");
        // It does not wait for a peer that may never agree.
        websocket.shutdown().await.expect("closed");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.expect("the end");
        assert_eq!(all, [&[CLOSE, 2], code.to_be_bytes().as_slice()].concat());
    }
}

#[tokio::test]
async fn larger_messages_are_for_those_who_were_answered() {
    let packet = vec![7; OPENING + 1];
    let (mut peer, mut websocket) = websocket();
    websocket.write_all(b"\x20\x02\0\0").await.expect("open");
    peer.write_all(&frame(BINARY, &packet)).await.expect("room");
    let mut read = vec![0; packet.len()];
    websocket.read_exact(&mut read).await.expect("all of it");
    assert_eq!(read, packet);
    // And not larger than any packet.
    let header = [BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 2, 0, 0, 1, 2, 3, 4];
    peer.write_all(&header).await.expect("room");
    websocket.read(&mut [0]).await.expect_err("too long");
}

/// Pings are read while nobody takes their pongs: these must not pile up.
#[tokio::test]
async fn pongs_for_a_peer_that_does_not_read_are_bounded() {
    let (mut peer, server) = duplex(256);
    let mut websocket = WebSocket::new(server, &[], 1024);
    let (ping, last) = (frame(PING, &[b'?'; 125]), frame(PING, b"last"));
    let asking = async {
        for _ in 0..5_000 {
            peer.write_all(&ping).await.expect("it reads on");
        }
        peer.write_all(&last).await.expect("it reads on");
        peer.write_all(&frame(BINARY, b"a"))
            .await
            .expect("it reads on");
        peer
    };
    let (mut peer, read) = tokio::join!(asking, websocket.read_u8());
    assert_eq!(read.expect("one"), b'a');
    let mut pongs = Vec::new();
    let end = async {
        websocket.flush().await.expect("open");
        drop(websocket);
    };
    let (read, ()) = tokio::join!(peer.read_to_end(&mut pongs), end);
    read.expect("the end");
    assert!(pongs.len() <= 256 + UNSENT + 6, "{}", pongs.len());
    assert!(pongs.ends_with(b"last"), "the last is answered");
}

#[tokio::test]
async fn a_large_packet_is_one_message_of_several_frames() {
    let (mut peer, mut websocket) = websocket();
    let body = 3 * WRITE - 3;
    let header = [0x30, 0xfd, 0xff, 0x0b];
    assert_eq!(body, 0x7d | 0x7f << 7 | 0x0b << 14);
    let large = [&header[..], &vec![7; body]].concat();
    websocket.write_all(&large).await.expect("open");
    websocket.write_all(b"\xd0\0").await.expect("open");
    websocket.flush().await.expect("open");
    drop(websocket);
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).await.expect("the end");
    let frame = |first, part: &[u8]| {
        let header = [first, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        [header.as_slice(), part].concat()
    };
    let frames = [
        frame(0x02, &large[..WRITE]),
        frame(0x00, &large[WRITE..2 * WRITE]),
        frame(0x00, &large[2 * WRITE..3 * WRITE]),
        vec![0x80, 1, 7],
        vec![BINARY, 2, 0xd0, 0],
    ];
    assert!(sent == frames.concat());
}
