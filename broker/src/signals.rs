//! Being asked to stop or to read again, by the system or by whoever sits at
//! the terminal.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT, and, for what lives as long as its terminal, SIGHUP.
pub(crate) struct Stop(Vec<Signal>);

impl Stop {
    /// Listens for SIGTERM and SIGINT.
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        Ok(Self(
            kinds.map(signal).into_iter().collect::<Result<_, _>>()?,
        ))
    }

    /// Listens for the end of the terminal, too.
    #[cfg(feature = "demo")]
    pub(crate) fn or_hangup(mut self) -> io::Result<Self> {
        self.0.push(signal(SignalKind::hangup())?);
        Ok(self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| {
            let mut signals = self.0.iter_mut();
            match signals.any(|signal| signal.poll_recv(cx).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// SIGXFSZ: a file that may grow no more. What is written to it fails, as on a
/// full disk, and ends nothing else.
pub(crate) struct FullFiles {
    _signal: Signal,
}

impl FullFiles {
    /// Listens; from then on SIGXFSZ ends nothing.
    pub(crate) fn listen() -> io::Result<Self> {
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let _signal = signal(kind)?;
        Ok(Self { _signal })
    }
}

/// SIGHUP, for what reads its files again.
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Listens; from then on SIGHUP ends nothing.
    pub(crate) fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
