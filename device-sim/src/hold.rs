//! Sessions that stay open.
//!
//! They say nothing and are not listened to: a held session is a bare socket,
//! with TLS and the keys to say farewell,
//! out of the runtime's sight, so that thousands of them weigh next to nothing
//! here and whatever memory grows is the broker's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::ClientConnection;

use crate::device::write_farewell;
use crate::plan::Hold;
use crate::report::Held;
use crate::stream::Stream;

pub(crate) struct HeldSession {
    socket: TcpStream,
    /// What is needed to say farewell over TLS.
    tls: Option<Box<ClientConnection>>,
}

impl HeldSession {
    /// `None` if the system will not let go of the socket.
    pub(crate) fn new(stream: Stream) -> Option<Self> {
        let (stream, tls) = match stream {
            Stream::Plain(stream) => (stream, None),
            Stream::Tls(stream) => {
                let (stream, tls) = stream.into_inner();
                (stream, Some(Box::new(tls)))
            }
        };
        let socket = stream.into_std().ok()?;
        Some(Self { socket, tls })
    }

    /// Says farewell and closes; whether the broker had kept its side open.
    fn end(mut self, farewell: &[u8]) -> Fate {
        let mut scratch = [0; 256];
        let fate = loop {
            match self.socket.read(&mut scratch) {
                Ok(0) => break Fate::Lost,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Fate::Kept,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break Fate::Lost,
            }
        };
        // The socket is closed next: a farewell that does not fit is no loss.
        let _ = self.say(farewell);
        fate
    }

    fn say(&mut self, farewell: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(farewell),
            Some(tls) => {
                tls.writer().write_all(farewell)?;
                tls.send_close_notify();
                tls.write_tls(&mut self.socket)
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
}

/// Waits as asked, then ends every session.
pub(crate) async fn hold(sessions: Vec<HeldSession>, hold: Hold) -> Held {
    match hold {
        Hold::For(time) => tokio::time::sleep(time).await,
        // A dropped sender is a release too.
        Hold::Until(released) => drop(released.await),
    }
    let ending = tokio::task::spawn_blocking(move || end_all(sessions));
    match ending.await {
        Ok(held) => held,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn end_all(sessions: Vec<HeldSession>) -> Held {
    let mut farewell = Vec::new();
    write_farewell(&mut farewell);
    let mut held = Held {
        sessions: 0,
        lost: 0,
    };
    for session in sessions {
        held.sessions += 1;
        held.lost += u64::from(session.end(&farewell) == Fate::Lost);
    }
    held
}
