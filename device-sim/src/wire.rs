//! Sockets: bytes out, packets in.
//!
//! Knows how to connect, to write what a device has to say in one system call,
//! and to cut what comes back into packets. It decides nothing.

use std::io;
use std::net::SocketAddr;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, RawPacket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::outcome::{Mishap, NoConnection};
use crate::source::{self, PortChoice, SourceAddress};
use crate::stream::Stream;

/// Nothing that is said to a device that activates comes near this many bytes.
const LARGEST_PACKET: u32 = 16 * 1024;

/// What one slot of the storm uses for one connection after the other, so that
/// a device costs no buffer of its own.
pub(crate) struct Buffers {
    /// What the device has to say, until it is sent.
    pub(crate) out: Vec<u8>,
    heard: Box<[u8]>,
    /// Bytes of `heard` that are not yet part of a packet.
    unread: std::ops::Range<usize>,
    builder: PacketBuilder,
}

impl Buffers {
    /// For one device at a time.
    pub(crate) fn new() -> Self {
        Self::hearing(1024)
    }

    /// For a peer that is told up to so many bytes at once.
    pub(crate) fn hearing(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(512),
            heard: vec![0; bytes].into_boxed_slice(),
            unread: 0..0,
            builder: PacketBuilder::with_maximum_packet_size(LARGEST_PACKET),
        }
    }

    /// Forgets whatever an earlier connection left behind.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.unread = 0..0;
        self.builder.reset();
    }

    /// The next whole packet that has been heard already.
    pub(crate) fn cut_packet(&mut self) -> Result<Option<RawPacket>, Mishap> {
        let mut cursor = Cursor::new(&self.heard[self.unread.clone()]);
        let built = self.builder.feed(&mut cursor);
        let taken = self.unread.len() - cursor.remaining_slice().len();
        self.unread.start += taken;
        match built {
            PacketBuildResult::Complete(packet) => Ok(Some(packet)),
            PacketBuildResult::Incomplete => Ok(None),
            PacketBuildResult::Error(_) => Err(Mishap::Malformed),
        }
    }
}

/// Opens a TCP connection; small packets leave at once.
pub(crate) async fn connect(
    broker: SocketAddr,
    source: SourceAddress,
) -> Result<TcpStream, Mishap> {
    match connect_from(broker, source, PortChoice::Connect).await {
        // Other programs have bound every port of this machine.
        Err(Mishap::NoSocket) if source != SourceAddress::Unbound => {
            connect_from(broker, source, PortChoice::Bind).await
        }
        connected => connected,
    }
}

async fn connect_from(
    broker: SocketAddr,
    source: SourceAddress,
    choice: PortChoice,
) -> Result<TcpStream, Mishap> {
    let socket = match broker {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(|_| Mishap::NoSocket)?;
    if let SourceAddress::Bound(address) = source {
        source::bind(&socket, address, choice).map_err(|_| Mishap::NoSocket)?;
    }
    socket.set_nodelay(true).map_err(|_| Mishap::NoSocket)?;
    socket
        .connect(broker)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Mishap::NoSocket,
            _ => Mishap::Unreachable(NoConnection::of(&error)),
        })
}

/// Sends what is in `out`.
pub(crate) async fn send(stream: &mut Stream, buffers: &mut Buffers) -> Result<(), Mishap> {
    let sent = stream.write_all(&buffers.out).await;
    buffers.out.clear();
    sent.map_err(|_| Mishap::Closed)?;
    // Only TLS keeps something back.
    stream.flush().await.map_err(|_| Mishap::Closed)
}

/// The same, but dropped half-way it loses nothing: what has not been sent
/// stays in `out`.
pub(crate) async fn send_some(stream: &mut Stream, buffers: &mut Buffers) -> Result<(), Mishap> {
    while !buffers.out.is_empty() {
        let sent = stream.write(&buffers.out).await;
        buffers.out.drain(..sent.map_err(|_| Mishap::Closed)?);
    }
    stream.flush().await.map_err(|_| Mishap::Closed)
}

/// Waits for the next whole packet. Dropped half-way it loses nothing.
pub(crate) async fn next_packet(
    stream: &mut Stream,
    buffers: &mut Buffers,
) -> Result<RawPacket, Mishap> {
    loop {
        if let Some(packet) = buffers.cut_packet()? {
            return Ok(packet);
        }
        // All of `heard` has gone into the builder: read from its start again.
        match stream.read(&mut buffers.heard).await {
            Ok(0) | Err(_) => return Err(Mishap::Closed),
            Ok(count) => buffers.unread = 0..count,
        }
    }
}

/// Waits until `reply` makes something of all that has been heard.
pub(crate) async fn whole_reply<T>(
    stream: &mut Stream,
    buffers: &mut Buffers,
    reply: impl Fn(&[u8]) -> Result<Option<T>, Mishap>,
) -> Result<T, Mishap> {
    loop {
        let filled = buffers.unread.end;
        if let Some(found) = reply(&buffers.heard[..filled])? {
            return Ok(found);
        }
        // Longer than `heard`: no answer is.
        if filled == buffers.heard.len() {
            return Err(Mishap::Malformed);
        }
        match stream.read(&mut buffers.heard[filled..]).await {
            Ok(0) | Err(_) => return Err(Mishap::Closed),
            Ok(count) => buffers.unread.end += count,
        }
    }
}

/// Reads whatever still comes, to the end of the stream.
pub(crate) async fn until_closed(stream: &mut Stream) {
    let mut heard = [0; 1024];
    // A reset is an end, too.
    while stream.read(&mut heard).await.is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_bytes(bytes: &[u8]) -> Buffers {
        let mut buffers = Buffers::new();
        buffers.heard[..bytes.len()].copy_from_slice(bytes);
        buffers.unread = 0..bytes.len();
        buffers
    }

    #[test]
    fn packets_are_cut_wherever_the_stream_breaks() {
        let bytes = [0x20, 2, 0, 0, 0xD0, 0, 0x90, 3, 0, 1, 1];
        let types = |buffers: &mut Buffers| {
            let mut types = Vec::new();
            while let Some(packet) = buffers.cut_packet().expect("well-formed") {
                types.push(packet.packet_type());
            }
            types
        };
        for split in 0..=bytes.len() {
            let (first, second) = bytes.split_at(split);
            let mut buffers = with_bytes(first);
            let mut found = types(&mut buffers);
            buffers.heard[..second.len()].copy_from_slice(second);
            buffers.unread = 0..second.len();
            found.extend(types(&mut buffers));
            assert_eq!(found, [2, 13, 9], "split at {split}");
        }
    }

    #[test]
    fn what_is_not_mqtt_is_malformed() {
        let check = |bytes: &[u8]| {
            let cut = with_bytes(bytes).cut_packet();
            assert_eq!(cut.err(), Some(Mishap::Malformed), "{bytes:?}");
        };
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        check(&[0x30, 0xFF, 0xFF, 0x7F]);
    }
}
