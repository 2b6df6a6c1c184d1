//! A peer's byte stream and the protocol machine behind it, as one thing that
//! yields steps.
//!
//! Reading goes through one buffer a thread, so an idle connection owns none.
//! While a peer does not take what it is sent, nothing more is read from it.

mod linger;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

pub(crate) use self::linger::{BYTES as LINGERING_BYTES, Lingering, linger};
use crate::edge::{Clock, Tick};
use crate::mqtt::machine::Machine;
use crate::mqtt::packet::{Farewell, Input};
use crate::sessions::Place;

/// Bytes read at once.
const READ: usize = 16 * 1024;
/// With more than this waiting to be sent, nothing more is read.
const HIGH_WATER: usize = 64 * 1024;
/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Any byte stream a peer may come over. `Sync`, as sessions lend themselves
/// while they wait.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Stream for S {}

/// What happens next on a connection.
#[derive(Debug)]
pub(crate) enum Step {
    /// The peer sent something, or takes again what it is sent: there may be
    /// something to do, and more room than before.
    Progress(Vec<Input>),
    /// The admission has to be checked again.
    Poked,
    /// There is something to be sent.
    Mail,
    /// The connection has to end, and the peer may be told why.
    End(Farewell),
    /// The peer is gone.
    Lost,
}

/// Why a rest is over.
#[derive(Debug)]
pub(crate) enum Rest {
    /// It has lasted as long as it should.
    Over,
    /// The admission has to be checked again.
    Poked,
    /// The connection has to end.
    End(Farewell),
}

/// One peer.
pub(crate) struct Wire<S> {
    stream: S,
    pub(crate) machine: Machine,
    place: Place,
    patience: Patience,
}

/// How long a peer may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// The session's end is fixed.
    Fixed,
    /// So many ticks from the last byte on.
    Silence(Clock, u32),
}

impl Patience {
    /// When a peer that says nothing from now on is given up.
    pub(crate) fn deadline(self) -> Option<Tick> {
        match self {
            Self::Fixed => None,
            Self::Silence(clock, ticks) => Some(clock.tick().plus_ticks(ticks)),
        }
    }
}

impl<S: Stream> Wire<S> {
    pub(crate) fn new(stream: S, machine: Machine, place: Place, patience: Patience) -> Self {
        Self {
            stream,
            machine,
            place,
            patience,
        }
    }

    /// Sends what waits to be sent, and returns what happens next. Dropping
    /// the future loses nothing.
    pub(crate) async fn step(&mut self) -> Step {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    /// Whose session it is, and how it is signalled.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Reads nothing for a while, though what waits is sent. Ends early if
    /// somebody wants something of the session.
    pub(crate) async fn rest(&mut self, span: Duration) -> Rest {
        let mut over = std::pin::pin!(tokio::time::sleep(span));
        let rest = poll_fn(|cx| {
            self.place.handle().register(cx.waker());
            if let Some(farewell) = self.place.handle().ended() {
                return Poll::Ready(Rest::End(farewell));
            }
            if self.place.handle().take_poke() {
                return Poll::Ready(Rest::Poked);
            }
            // A peer that is gone is found out when it is read from again.
            let _sent = self.poll_flush(cx);
            over.as_mut().poll(cx).map(|()| Rest::Over)
        })
        .await;
        // It was not its peer that was silent.
        if let Some(deadline) = self.patience.deadline() {
            self.place.handle().set_deadline(deadline);
        }
        rest
    }

    /// The stream, which may [linger()], and the session's place, which need not
    /// wait for it.
    pub(crate) fn into_parts(self) -> (S, Place) {
        (self.stream, self.place)
    }

    /// Whether the peer takes what it is sent.
    pub(crate) fn flows(&self) -> bool {
        self.machine.output().len() < HIGH_WATER
    }

    /// Tells the peer why, if there is a why and a word for it, and closes.
    pub(crate) async fn close(&mut self, farewell: Option<Farewell>) {
        if let Some(farewell) = farewell {
            self.machine.bid_farewell(farewell);
        }
        // What is around MQTT has a farewell of its own.
        let last_word = async {
            self.stream.write_all(self.machine.output()).await?;
            self.stream.shutdown().await
        };
        // A peer that does not listen is closed on all the same.
        drop(tokio::time::timeout(LAST_WORD, last_word).await);
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.place.handle().register(cx.waker());
        if let Some(farewell) = self.place.handle().ended() {
            return Poll::Ready(Step::End(farewell));
        }
        if self.place.handle().take_poke() {
            return Poll::Ready(Step::Poked);
        }
        if self.place.handle().take_mail() {
            return Poll::Ready(Step::Mail);
        }
        let flowed = self.flows();
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(Step::Lost);
        }
        if let Some(farewell) = self.machine.ended() {
            return Poll::Ready(Step::End(farewell));
        }
        match (flowed, self.flows()) {
            (_, false) => return Poll::Pending,
            (false, true) => return Poll::Ready(Step::Progress(Vec::new())),
            (true, true) => {}
        }
        let mut inputs = Vec::new();
        match ready!(self.poll_read(cx, &mut inputs)) {
            Ok(0) | Err(_) => Poll::Ready(Step::Lost),
            Ok(_) => {
                if let Some(deadline) = self.patience.deadline() {
                    self.place.handle().set_deadline(deadline);
                }
                Poll::Ready(Step::Progress(inputs))
            }
        }
    }

    /// Sends what waits here, and what a layer below may have kept.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.machine.output().is_empty() {
            let output = self.machine.output();
            match ready!(Pin::new(&mut self.stream).poll_write(cx, output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.machine.sent(sent),
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        inputs: &mut Vec<Input>,
    ) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            self.machine.feed(read.filled(), inputs);
            Poll::Ready(Ok(read.filled().len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firstwake::FeedId;
    use tokio::io::{AsyncReadExt, BufWriter, duplex};
    use tokio::time::timeout;

    use super::*;
    use crate::mqtt::machine::{Session, Terms, Welcome};
    use crate::mqtt::opening::{Progress, Reader};
    use crate::mqtt::packet::Start;
    use crate::sessions::{Origin, Owner, Sessions};

    /// TLS and WebSocket take bytes and send them later.
    #[tokio::test]
    async fn what_a_layer_below_keeps_is_sent_on() {
        let connect = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me";
        let Progress::Opened(opening) = Reader::new().feed(&mut &connect[..]) else {
            panic!("a CONNECT");
        };
        let mut machine = Machine::new(&opening, &Terms::ACTIVATION);
        let welcome = Welcome {
            session: Session::New,
            session_expiry: 0,
            session_expiry_asked: 0,
            keep_alive: None,
            client_id: None,
        };
        machine.accept(&Terms::ACTIVATION, &welcome);
        let sessions = Arc::new(Sessions::default());
        let feed = FeedId::new(1).expect("valid");
        let place = sessions.enter(
            Owner::Device(feed),
            Origin::new(
                std::net::Ipv4Addr::LOCALHOST.into(),
                "peer",
                crate::sessions::Began::at(firstwake::Timestamp::from_millis(0)),
            ),
            Start::Clean,
            Tick::NEVER,
        );
        let place = place.0;
        let (mut peer, server) = duplex(64);
        let mut wire = Wire::new(BufWriter::new(server), machine, place, Patience::Fixed);
        let waits = timeout(Duration::ZERO, wire.step()).await;
        assert!(waits.is_err(), "{waits:?}");
        let mut connack = [0; 4];
        let sent = timeout(Duration::ZERO, peer.read_exact(&mut connack)).await;
        sent.expect("it is there").expect("open");
        assert_eq!(connack, [0x20, 2, 0, 0]);
    }
}
