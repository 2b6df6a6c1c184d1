//! What every connection shares.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firstwake::topic::device::{Uplink, feed_of};
use firstwake::{Counts, Entropy, Pace, Proof, Provisioner, Refusal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::Bus;
use crate::downlink::Dispatch;
use crate::edge::Clock;
use crate::gate::{Gate, Pass};
use crate::http::{Budget, Peers, Streams};
use crate::keep::Seats;
use crate::limits::Limits;
use crate::paces::Paces;
use crate::sessions::Sessions;
use crate::values::Values;
use crate::wills::{Author, WillMessage, Wills};

/// How long a source that fails too often waits for each answer.
const SLOWLY: Duration = Duration::from_secs(3);

/// The running broker, as its sessions see it.
pub(crate) struct Broker {
    pub(crate) provisioner: Provisioner,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) wills: Wills,
    pub(crate) values: Values,
    pub(crate) paces: Paces,
    /// HTTP connections.
    pub(crate) peers: Arc<Peers>,
    pub(crate) streams: Streams,
    /// Bytes of bodies that are being read.
    pub(crate) bodies: Budget,
    /// Bytes of answers that wait for their peers.
    pub(crate) answers: Budget,
    pub(crate) bus: Bus,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) connections: Connections,
    /// What happened in the last whole second.
    pub(crate) rates: Mutex<Counts>,
    /// What the server waits for when it stops.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the server stops: ends what is no session yet.
    pub(crate) stopping: CancellationToken,
}

/// Numbers for connections, which no other connection ever had: of no other
/// server on the registry, and of no earlier run.
#[derive(Debug)]
pub(crate) struct Connections(AtomicU64);

impl Connections {
    /// Starts anywhere among so many that no other server, and no earlier run,
    /// comes near.
    pub(crate) fn begin(entropy: &dyn Entropy) -> Self {
        let mut start = [0; 8];
        entropy.fill(&mut start);
        Self(AtomicU64::new(u64::from_be_bytes(start)))
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Broker {
    /// Publishes a will, if its author may still be here. A device's counts as
    /// a message of its own: values in it are kept.
    pub(crate) async fn publish_will(&self, will: WillMessage) {
        let WillMessage { message, author } = will;
        let checked = match &author {
            Author::Device(login) => self.provisioner.recheck_will(login).await,
            Author::Operator(login) => self.provisioner.recheck_operator(login).await,
        };
        if let Err(error) = checked {
            tracing::debug!(%error, "a will is not published");
            return;
        }
        let will = message;
        let values = feed_of(&will.topic).and_then(|feed| {
            let uplink = Uplink::permit(feed, &will.topic)?;
            Some((feed, uplink.read(&will.payload, will.at).ok()?))
        });
        // A device that comes and goes without end does not publish without end.
        if let Some(feed) = feed_of(&will.topic)
            && self.paces.will(feed, self.clock).is_err()
        {
            tracing::debug!(%feed, "a device leaves too often: a will of its is not published");
            return;
        }
        if self.bus.publish(will).await.is_err() {
            // Without a router the server is about to stop.
            return;
        }
        if let Some((feed, values)) = values {
            self.values.keep(feed, values);
        }
    }

    /// Whoever fails too often waits for each answer; `None` if there is no
    /// room to wait. Who proved a secret never does.
    pub(crate) async fn take_time(&self, refusal: Refusal, source: IpAddr) -> Option<()> {
        let pace = self.provisioner.pace(source, self.clock.now());
        if refusal.proof() == Proof::Proved || pace == Pace::AtOnce {
            return Some(());
        }
        let _place = self.gate.delay()?;
        let slowly = tokio::time::sleep(SLOWLY);
        self.stopping.run_until_cancelled(slowly).await
    }

    /// Waits until the peer of a connection that the server has ended closes
    /// too. The connection counts no more, and is closed at once if too many
    /// wait already or the server stops.
    pub(crate) async fn linger(&self, lingering: impl Future<Output = ()>, pass: Pass) {
        let place = self.gate.linger(pass.address());
        drop(pass);
        if place.is_some() {
            self.stopping.run_until_cancelled(lingering).await;
        }
    }

    /// The way for messages to devices, and for what operators ask.
    pub(crate) fn downlink(&self) -> Dispatch<'_> {
        Dispatch {
            provisioner: &self.provisioner,
            sessions: Some(&self.sessions),
            values: Some(&self.values),
            capacity: self.limits.mailbox(),
            rates: *self.rates.lock().unwrap_or_else(PoisonError::into_inner),
            moment: self.clock.moment(),
            jump: self.clock.jump(),
        }
    }
}
