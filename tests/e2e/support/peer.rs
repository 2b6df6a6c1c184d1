//! One MQTT client, as bytes over a socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

use super::HUNG;
use super::wire::{
    Connect, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish, Version,
};

/// What carries a peer's bytes.
pub(crate) trait Carrier: Read + Write {
    /// The socket at the bottom.
    fn tcp(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// Connects; no read from it hangs for ever.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("an open socket");
    stream.set_read_timeout(Some(HUNG)).expect("not zero");
    stream
}

/// Connects from another address of this machine. The port is chosen with the
/// connection, as one that a bind has chosen is no other peer's for a minute;
/// only where other programs have bound them all, it is bound.
pub(crate) fn dial_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let stream = match connect_from(source, address, true) {
        Err(Errno::EADDRNOTAVAIL) => connect_from(source, address, false),
        connected => connected,
    };
    let stream = stream.expect("the server listens");
    stream.set_nodelay(true).expect("an open socket");
    stream.set_read_timeout(Some(HUNG)).expect("not zero");
    stream
}

fn connect_from(source: [u8; 4], address: SocketAddr, leaves_port: bool) -> nix::Result<TcpStream> {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not of 127.0.0.0/8");
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &leaves_port)?;
    let [a, b, c, d] = source;
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(TcpStream::from(socket))
}

/// Addresses of this machine in turn, for stories that make thousands of
/// connections: one address has 28,000 ports, and a closed connection keeps its
/// port for a while.
pub(crate) struct Sources(AtomicU32);

impl Sources {
    const COUNT: u32 = 250;

    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(crate) fn next(&self) -> [u8; 4] {
        let nth = self.0.fetch_add(1, Ordering::Relaxed) % Self::COUNT;
        [127, 8, 0, 1 + nth as u8]
    }
}

pub(crate) struct Peer {
    stream: Box<dyn Carrier + Send>,
    pub(crate) version: Version,
}

impl Peer {
    /// A TCP connection on which nothing was said.
    pub(crate) fn open(address: SocketAddr, version: Version) -> Self {
        Self::over(dial(address), version)
    }

    /// Whatever carries its bytes.
    pub(crate) fn over(carrier: impl Carrier + Send + 'static, version: Version) -> Self {
        let stream = Box::new(carrier);
        Self { stream, version }
    }

    /// The same from another address of this machine: all of 127.0.0.0/8 are.
    pub(crate) fn open_from(source: [u8; 4], address: SocketAddr, version: Version) -> Self {
        Self::over(dial_from(source, address), version)
    }

    /// Sends a CONNECT; the answer is not read.
    pub(crate) fn connect(address: SocketAddr, version: Version, connect: &Connect<'_>) -> Self {
        let mut peer = Self::open(address, version);
        peer.send(&connect.bytes(version));
        peer
    }

    /// Is let in.
    pub(crate) fn admitted(address: SocketAddr, version: Version, connect: &Connect<'_>) -> Self {
        let mut peer = Self::open(address, version);
        peer.admit(connect);
        peer
    }

    /// Sends a CONNECT, which has to be accepted.
    pub(crate) fn admit(&mut self, connect: &Connect<'_>) {
        let version = self.version;
        self.send(&connect.bytes(version));
        let connack = self.packet();
        assert_eq!(
            (connack.first, &connack.body[..2]),
            (0x20, [0, 0].as_slice()),
            "{version:?} {connect:?}"
        );
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
        self.stream.flush().expect("the server reads");
    }

    /// Sends as much as the server takes; it may have closed.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Whether the stream ends before nothing has come for so long. What comes
    /// is passed over.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let set = |stream: &TcpStream, time| stream.set_read_timeout(Some(time));
        // A socket that was reset cannot be set: reading tells.
        drop(set(self.stream.tcp(), time));
        let end = loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        drop(set(self.stream.tcp(), HUNG));
        end
    }

    /// Sends what a server may not want to read to the end, asks for a sign of
    /// life, and returns everything that came before it or before the close.
    pub(crate) fn provoke(&mut self, bytes: &[u8]) -> Vec<Packet> {
        let whole = [bytes, &PINGREQ].concat();
        // The server may have closed on the way.
        drop(self.stream.write_all(&whole));
        let next = std::iter::from_fn(|| self.next());
        next.take_while(|packet| packet.bytes() != PINGRESP)
            .collect()
    }

    /// The next packet; `None` is the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        let first = self.byte()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte().expect("a whole length");
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a whole packet");
        Some(Packet { first, body })
    }

    pub(crate) fn packet(&mut self) -> Packet {
        self.next().expect("a packet, not the end")
    }

    /// The next packet has to be exactly this.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let version = self.version;
        match self.next() {
            Some(packet) => assert_eq!(packet.bytes(), bytes, "{version:?}"),
            None => panic!("{version:?}: the end, and not {bytes:02x?}"),
        }
    }

    /// The next packet has to be a PUBLISH. It is not acknowledged.
    pub(crate) fn publish(&mut self) -> Publish {
        let packet = self.packet();
        let publish = packet.publish(self.version);
        publish.unwrap_or_else(|| panic!("{:?}: no PUBLISH: {packet:02x?}", self.version))
    }

    /// The next message, received as its quality asks for.
    pub(crate) fn message(&mut self) -> Publish {
        let publish = self.publish();
        let version = self.version;
        match (publish.qos(), publish.id) {
            (0, None) => {}
            (1, Some(id)) => self.send(&version.acknowledgement(PUBACK, id, 0)),
            (2, Some(id)) => {
                self.send(&version.acknowledgement(PUBREC, id, 0));
                self.expect(&version.acknowledgement(PUBREL, id, 0));
                self.send(&version.acknowledgement(PUBCOMP, id, 0));
            }
            _ => panic!("{publish:?}"),
        }
        publish
    }

    /// This many messages, however their acknowledgements are interleaved.
    pub(crate) fn messages(&mut self, count: usize) -> Vec<Publish> {
        let version = self.version;
        let mut messages = Vec::new();
        let mut open = 0;
        while messages.len() < count || open > 0 {
            let packet = self.packet();
            let Some(publish) = packet.publish(version) else {
                assert_eq!(packet.first, PUBREL, "{packet:02x?}");
                let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
                self.send(&version.acknowledgement(PUBCOMP, id, 0));
                open -= 1;
                continue;
            };
            match (publish.qos(), publish.id) {
                (1, Some(id)) => self.send(&version.acknowledgement(PUBACK, id, 0)),
                (2, Some(id)) => {
                    self.send(&version.acknowledgement(PUBREC, id, 0));
                    open += 1;
                }
                _ => {}
            }
            messages.push(publish);
        }
        messages
    }

    /// Publishes, and reads what its quality is answered.
    pub(crate) fn deliver(&mut self, topic: &str, qos: u8, payload: &[u8]) {
        let version = self.version;
        self.send(&version.publish(topic, qos, 11, payload));
        match qos {
            0 => {}
            1 => self.expect(&version.acknowledgement(PUBACK, 11, 0)),
            _ => {
                self.expect(&version.acknowledgement(PUBREC, 11, 0));
                self.send(&version.acknowledgement(PUBREL, 11, 0));
                self.expect(&version.acknowledgement(PUBCOMP, 11, 0));
            }
        }
    }

    /// The stream ends, with nothing said before.
    pub(crate) fn expect_close(&mut self) {
        let next = self.next();
        assert_eq!(next, None, "{:?}", self.version);
    }

    /// The stream ends with nothing said before, and is not reset: a peer that
    /// is still sending would learn of the reset first, and read no more.
    pub(crate) fn expect_orderly_close(&mut self) {
        let end = self.stream.read(&mut [0]);
        assert_eq!(end.expect("no reset"), 0, "{:?}", self.version);
        let mut tcp = self.stream.tcp();
        tcp.write_all(&[0]).expect("no reset");
    }

    /// The stream ends; version 5 is told why.
    pub(crate) fn expect_farewell(&mut self, reason: u8) {
        if let Some(farewell) = self.version.farewell(reason) {
            self.expect(&farewell);
        }
        self.expect_close();
    }

    /// The stream ends; version 5 is told why, in words as well.
    pub(crate) fn expect_farewell_because(&mut self, reason: u8, words: &str) {
        if let Some(farewell) = self.version.farewell_because(reason, words) {
            self.expect(&farewell);
        }
        self.expect_close();
    }

    /// The session lives, and has said nothing since.
    pub(crate) fn expect_alive(&mut self) {
        self.send(&PINGREQ);
        self.expect(&PINGRESP);
    }

    /// Whether anything comes, or the end, before so much time is over.
    pub(crate) fn says_something_within(&self, time: Duration) -> bool {
        let tcp = self.stream.tcp();
        tcp.set_read_timeout(Some(time)).expect("not zero");
        let peeked = tcp.peek(&mut [0]);
        tcp.set_read_timeout(Some(HUNG)).expect("not zero");
        !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Subscribes, and reads what is granted.
    pub(crate) fn subscribe(&mut self, filters: &[(&str, u8)], granted: &[u8]) {
        self.send(&self.version.subscribe(7, filters));
        self.expect(&self.version.suback(7, granted));
    }

    /// Ends the connection as a cut cable does: without a word.
    pub(crate) fn vanish(self) {
        drop(self.stream.tcp().shutdown(Shutdown::Both));
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            // The server closed with bytes of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{:?}: {error}", self.version),
        }
    }
}
