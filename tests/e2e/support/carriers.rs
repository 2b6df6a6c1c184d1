//! What carries a peer's bytes beside plain TCP: TLS and WebSocket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::peer::{Carrier, dial};

/// A request for MQTT, for peers that make their frames themselves.
pub(crate) const UPGRADE: &[u8] =
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
      Sec-WebSocket-Protocol: mqtt\r\n\r\n";

/// Less than 126 bytes as a binary message, with a mask that changes nothing.
pub(crate) fn as_frame(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    [&[0x82, 0x80 | length, 0, 0, 0, 0], bytes].concat()
}

/// TLS; the handshake is over.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Makes a TLS connection to a server that calls itself `localhost`.
pub(crate) fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    secure_over(dial(address), config)
}

/// The same over a connection that is there.
pub(crate) fn secure_over(mut tcp: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(connection, tcp))
}

impl Carrier for Secure {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// MQTT in a WebSocket's messages.
pub(crate) struct Socket<S> {
    websocket: WebSocket<S>,
    rest: Vec<u8>,
}

impl<S: Carrier> Socket<S> {
    /// Asks for MQTT at the usual place.
    pub(crate) fn ask(stream: S) -> Self {
        let mut request = "ws://localhost/mqtt".into_client_request().expect("a URL");
        let mqtt = "mqtt".parse().expect("a header");
        request.headers_mut().insert("Sec-WebSocket-Protocol", mqtt);
        let handshake = tungstenite::client(request, stream);
        let (websocket, answer) = handshake.unwrap_or_else(|error| panic!("no WebSocket: {error}"));
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "mqtt");
        let rest = Vec::new();
        Self { websocket, rest }
    }

    /// The WebSocket as such.
    pub(crate) fn messages(&mut self) -> &mut WebSocket<S> {
        &mut self.websocket
    }
}

impl<S: Carrier> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.websocket.read() {
                Ok(Message::Binary(bytes)) => self.rest = bytes.into(),
                // The end, once both sides have agreed.
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return Ok(0),
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

impl<S: Carrier> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let message = Message::binary(bytes.to_vec());
        match self.websocket.send(message) {
            Ok(()) => Ok(bytes.len()),
            Err(tungstenite::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Carrier> Carrier for Socket<S> {
    fn tcp(&self) -> &TcpStream {
        self.websocket.get_ref().tcp()
    }
}
