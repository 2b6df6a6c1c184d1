//! A server that does what a test tells it, one packet at a time.
//!
//! It shares no code with the client library: bytes are written and read here
//! as the specification has them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const ACCEPTED: u8 = 0;
pub(crate) const BUSY: u8 = 3;
pub(crate) const BAD_CREDENTIALS: u8 = 4;
pub(crate) const NOT_AUTHORISED: u8 = 5;

pub(crate) struct FakeBroker {
    listener: TcpListener,
}

/// What a CONNECT said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Whether its session is to wait for it when it is gone.
    pub(crate) is_kept: bool,
}

/// A value that the device published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) id: u16,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

pub(crate) struct Peer {
    stream: TcpStream,
}

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { listener }
    }

    /// Takes the next connection, and reads nothing.
    pub(crate) async fn peer(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("an open socket");
        Peer { stream }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().expect("address").to_string()
    }

    /// Takes the next connection and reads its CONNECT.
    pub(crate) async fn login(&self) -> (Peer, Login) {
        let mut peer = self.peer().await;
        let login = peer.connect().await;
        (peer, login)
    }

    /// Takes the connection on which a device asks in MQTT 5 why it was
    /// refused, and says nothing.
    pub(crate) async fn is_asked_why(&self) -> Vec<u8> {
        self.is_asked_why_and_says(&[]).await
    }

    /// As [`is_asked_why`](Self::is_asked_why), and answers with these bytes. Gives back the CONNECT.
    pub(crate) async fn is_asked_why_and_says(&self, answer: &[u8]) -> Vec<u8> {
        let mut peer = self.peer().await;
        let (first, body) = peer.packet().await;
        assert_eq!(
            (first, &body[..7]),
            (0x10, &b"\0\x04MQTT\x05"[..]),
            "MQTT 5"
        );
        peer.write(answer).await;
        body
    }

    /// As [`login`](Self::login), answered with this code.
    pub(crate) async fn connack(&self, code: u8) -> (Peer, Login) {
        let (mut peer, login) = self.login().await;
        peer.connack(code).await;
        (peer, login)
    }
}

impl Peer {
    pub(crate) async fn connack(&mut self, code: u8) {
        self.write(&[0x20, 2, 0, code]).await;
    }

    /// Reads the SUBSCRIBE, grants it, and gives back the filter.
    pub(crate) async fn subscription(&mut self) -> String {
        self.subscription_answered(1).await
    }

    /// Reads the SUBSCRIBE, and answers with this SUBACK code.
    pub(crate) async fn subscription_answered(&mut self, code: u8) -> String {
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x82, "SUBSCRIBE");
        let filter = text(&body[2..]);
        assert_eq!(body[4 + filter.len()..], [1], "one filter, QoS 1");
        self.write(&[0x90, 3, body[0], body[1], code]).await;
        filter
    }

    /// Sends a message at QoS 1, without waiting for its acknowledgement.
    pub(crate) async fn message(&mut self, topic: &str, payload: &str) {
        let mut body = field(topic);
        body.extend([0, 9]);
        body.extend(payload.as_bytes());
        self.write(&packet(0x32, &body)).await;
    }

    /// Reads one value at QoS 1, without acknowledging it.
    pub(crate) async fn published(&mut self) -> Published {
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x32, "PUBLISH, QoS 1");
        let topic = text(&body);
        let rest = &body[2 + topic.len()..];
        Published {
            id: u16::from_be_bytes([rest[0], rest[1]]),
            topic,
            payload: String::from_utf8(rest[2..].to_vec()).expect("text"),
        }
    }

    pub(crate) async fn puback(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.write(&[0x40, 2, high, low]).await;
    }

    /// Reads a question on the request topic, and takes it.
    pub(crate) async fn question(&mut self) -> serde_json::Value {
        let asked = self.published().await;
        assert!(asked.topic.ends_with("/request"), "{}", asked.topic);
        self.puback(asked.id).await;
        serde_json::from_str(&asked.payload).expect("JSON")
    }

    /// Reads the acknowledgement of [`message`](Self::message).
    pub(crate) async fn acknowledgement(&mut self) {
        assert_eq!(self.packet().await, (0x40, vec![0, 9]), "PUBACK");
    }

    /// Waits until the device hangs up, whatever it says before.
    pub(crate) async fn hung_up(&mut self) {
        let mut rest = Vec::new();
        // A reset is a way to hang up.
        let _ = self.stream.read_to_end(&mut rest).await;
    }

    /// Reads the DISCONNECT.
    pub(crate) async fn disconnect(&mut self) {
        assert_eq!(self.packet().await, (0xe0, vec![]), "DISCONNECT");
    }

    async fn connect(&mut self) -> Login {
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x10, "CONNECT");
        assert_eq!(body[..7], *b"\0\x04MQTT\x04", "MQTT 3.1.1");
        assert_eq!(body[7] & !2, 0xc0, "user, password, no will");
        assert_eq!(body[8..10], [0, 30], "keep-alive");
        let client_id = text(&body[10..]);
        let user = text(&body[12 + client_id.len()..]);
        let password = text(&body[14 + client_id.len() + user.len()..]);
        Login {
            client_id,
            user,
            password,
            is_kept: body[7] & 2 == 0,
        }
    }

    /// First byte and body of the next packet.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.next().await.expect("a packet")
    }

    /// The same; `None` if the device has hung up.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.expect("its length");
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.expect("its body");
        Some((first, body))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }
}

/// A packet of less than 16,384 bytes.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    let [low, high] = [(length % 128) as u8, (length / 128) as u8];
    let header = if high == 0 {
        vec![first, low]
    } else {
        vec![first, low | 0x80, high]
    };
    [&header, body].concat()
}

/// Two bytes of length, then text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    String::from_utf8(bytes[2..2 + length].to_vec()).expect("text")
}

pub(crate) fn field(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short").to_be_bytes();
    [&length, text.as_bytes()].concat()
}
