//! An established WebSocket as a byte stream of MQTT.
//!
//! Only binary messages carry MQTT; where those of a peer begin and end means
//! nothing, so a packet may come in several and several in one (MQTT 5, 6.0).
//! What is sent is one packet a message, as there are clients that read no
//! other; a large packet is one message in several frames. Pings are
//! answered and closes agreed upon below whoever reads. How the WebSocket came
//! about is not its concern: any HTTP server may have made it.

mod packets;

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use self::packets::Packets;
use crate::wire::{LINGERING_BYTES, Stream};

/// Bytes read at once; each connection holds a buffer of this size.
const READ: usize = 4 * 1024;
/// Bytes of a message from a peer that was not answered yet: a CONNECT is half
/// of it at most.
const OPENING: usize = 16 * 1024;
/// What a message may be larger than the largest packet: some peers put
/// everything that waits into one.
const SLACK: usize = 64 * 1024;
/// Bytes written as one frame.
const WRITE: usize = 64 * 1024;
/// Bytes that may wait here for a peer that does not read: one frame and its
/// header. What is over is a pong, and only the last of these is owed.
const UNSENT: usize = WRITE + 16;

/// MQTT's bytes within a WebSocket's messages.
pub(crate) struct WebSocket<S> {
    stream: S,
    context: WebSocketContext,
    /// What is left of a message.
    rest: Bytes,
    /// Where the packets that are sent begin and end.
    packets: Packets,
    /// Bytes that still came after our close.
    late: usize,
    /// Bytes of the largest packet.
    packet: usize,
    /// How the end is told to the peer.
    reason: CloseCode,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent yet.
    Opening,
    Open,
    /// The peer broke the protocol: it is told so, and not listened to again.
    Broken,
    /// Our close is on its way or was sent; the peer's has not come.
    Closing,
    /// Both have closed, or the peer is gone.
    Closed,
    /// The stream below is shut down too: what is read are its bytes, to be
    /// discarded.
    Over,
}

impl<S: Stream> WebSocket<S> {
    /// Takes over behind the handshake. `read` is what the peer has sent since.
    pub(crate) fn new(stream: S, read: &[u8], packet: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(UNSENT)
            .max_message_size(Some(OPENING))
            .max_frame_size(Some(OPENING));
        let role = Role::Server;
        Self {
            stream,
            context: WebSocketContext::from_partially_read(read.to_vec(), role, Some(config)),
            rest: Bytes::new(),
            packets: Packets::default(),
            late: 0,
            packet,
            reason: CloseCode::Normal,
            phase: Phase::Opening,
        }
    }

    /// The next message that carries something; `None` is the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match self.phase {
                Phase::Opening | Phase::Open | Phase::Closing => {}
                Phase::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Phase::Closed | Phase::Over => return Poll::Ready(Ok(None)),
            }
            let stream = &mut Now {
                stream: &mut self.stream,
                cx,
            };
            match ready!(pending(self.context.read(stream))) {
                Ok(Message::Binary(bytes)) if !bytes.is_empty() => {
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Ok(Message::Text(_)) => {
                    self.phase = Phase::Broken;
                    self.reason = CloseCode::Unsupported;
                }
                // Pings and closes are answered by the next read.
                Ok(_) => {}
                Err(error) => return Poll::Ready(self.over(error).map(|()| None)),
            }
        }
    }

    /// Sends what is in the buffers.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut Now {
            stream: &mut self.stream,
            cx,
        };
        match ready!(pending(self.context.flush(stream))) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(self.over(error)),
        }
    }

    /// Once somebody was answered, whole packets may come in one message.
    fn open(&mut self) {
        let largest = self.packet + SLACK;
        self.context.set_config(|config| {
            config.max_message_size = Some(largest);
            config.max_frame_size = Some(largest);
        });
        self.phase = Phase::Open;
    }

    /// Ends the stream below; from now on its bytes are what is read.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.phase = Phase::Over;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// An orderly end is none of the errors.
    fn over(&mut self, error: Error) -> io::Result<()> {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => {
                self.phase = Phase::Closed;
                Ok(())
            }
            Error::Io(error) => {
                self.phase = Phase::Closed;
                Err(error)
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                self.phase = Phase::Closed;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            error => {
                self.phase = Phase::Broken;
                self.reason = match &error {
                    Error::Capacity(_) => CloseCode::Size,
                    _ => CloseCode::Protocol,
                };
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

impl<S: Stream> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.phase == Phase::Over {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if this.rest.is_empty() {
            match ready!(this.poll_message(cx))? {
                Some(bytes) => this.rest = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = buffer.remaining().min(this.rest.len());
        buffer.put_slice(&this.rest[..count]);
        this.rest.advance(count);
        if this.rest.is_empty() {
            // An empty one may still hold the memory of a message.
            this.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for WebSocket<S> {
    /// The first packet as a message, or a part of it as a frame, once what was
    /// written before has left.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_sent(cx))?;
        match this.phase {
            Phase::Opening => this.open(),
            Phase::Open => {}
            Phase::Broken | Phase::Closing | Phase::Closed | Phase::Over => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        let stream = &mut Now {
            stream: &mut this.stream,
            cx,
        };
        let begins = this.packets.is_between();
        let count = this.packets.pass(&bytes[..bytes.len().min(WRITE)]);
        let bytes = &bytes[..count];
        let kind = match begins {
            true => Data::Binary,
            false => Data::Continue,
        };
        let (payload, ends) = (Bytes::copy_from_slice(bytes), this.packets.is_between());
        let message = Message::Frame(Frame::message(payload, OpCode::Data(kind), ends));
        // What could not be sent is in the buffer: taken all the same.
        match pending(this.context.write(stream, message)) {
            Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(bytes.len())),
            Poll::Ready(Err(error)) => Poll::Ready(
                this.over(error)
                    .and_then(|()| Err(io::ErrorKind::BrokenPipe.into())),
            ),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx)
    }

    /// Closes, waits until the peer has agreed or is gone, and ends the stream
    /// below. A peer that does neither is for the caller's patience.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Only the first time: the close frame is queued once.
        let close = CloseFrame {
            code: this.reason,
            reason: Utf8Bytes::default(),
        };
        let stream = &mut Now {
            stream: &mut this.stream,
            cx,
        };
        let sent = match this.phase {
            Phase::Closed | Phase::Over => return this.poll_over(cx),
            _ => pending(this.context.close(stream, Some(close))),
        };
        if this.phase != Phase::Broken {
            this.phase = Phase::Closing;
        }
        match sent {
            Poll::Ready(Ok(())) if this.phase == Phase::Broken => this.phase = Phase::Closed,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => drop(this.over(error)),
            Poll::Pending if this.phase == Phase::Broken => return Poll::Pending,
            Poll::Pending => {}
        }
        while this.phase == Phase::Closing {
            match ready!(this.poll_message(cx)) {
                // What was on its way is discarded.
                Ok(Some(bytes)) if this.late + bytes.len() <= LINGERING_BYTES => {
                    this.late += bytes.len();
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => this.phase = Phase::Closed,
            }
        }
        this.poll_over(cx)
    }
}

/// A stream as it is now: what would wait is an error, and the task is woken.
struct Now<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: Stream> Read for Now<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        now(Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<S: Stream> Write for Now<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.stream).poll_flush(self.cx))
    }
}

fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn pending<T>(outcome: Result<T, Error>) -> Poll<Result<T, Error>> {
    match outcome {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

#[cfg(test)]
mod tests;
