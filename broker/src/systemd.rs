//! What systemd, or whoever speaks its protocols, hands over and is told.
//!
//! Sockets come as open descriptors with names; readiness, reloads, the stop
//! and the watchdog's sign of life go to its socket. Without systemd nothing
//! here does anything.

use std::env;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::interval;

/// Sockets that were handed over, by the listener they are for.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<(String, TcpListener)>);

impl Sockets {
    /// Takes what this process was started with. To be called once.
    pub(crate) fn take() -> Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for index in 0..handed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let socket = handed.take_tcp_listener(index);
            let socket = socket.with_context(|| format!("the socket \"{name}\" is no listener"))?;
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(Self(sockets))
    }

    /// Takes those of one name.
    pub(crate) fn named(&mut self, name: &str) -> Vec<TcpListener> {
        let taken = self.0.extract_if(.., |(found, _)| found == name);
        taken.map(|(_, socket)| socket).collect()
    }

    /// Complains about sockets that nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some((name, _)) = self.0.first() {
            bail!(
                "a socket was handed over as \"{name}\": \
                 use FileDescriptorName= mqtt, mqtts, ws, wss, http, https or xively"
            );
        }
        Ok(())
    }
}

/// Everything that is configured listens, or listens anew.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// SIGHUP is being obeyed.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
    }
}

/// The end has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows a sign of life as often as was asked for: twice in each period.
pub(crate) async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return std::future::pending().await;
    };
    let mut half = interval((period / 2).max(Duration::from_millis(1)));
    loop {
        half.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
