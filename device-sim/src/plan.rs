//! What a storm is to do: input only, no result and no state.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use firstwake::{ProductSecret, Serial};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::open_files::OpenFilesError;
use crate::tls::Transport;

/// A fleet, a broker, and how the one meets the other.
#[derive(Debug)]
pub struct Plan {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// What carries MQTT there.
    pub transport: Transport,
    /// What every device's activation code is made with.
    pub secret: ProductSecret,
    /// The fleet, in the order in which devices start.
    pub serials: Vec<Serial>,
    /// How many devices are under way at any time. The loop is closed: the
    /// next one starts when an earlier one is done.
    pub in_flight: NonZeroUsize,
    /// How devices ask for their credentials. Those who ask over HTTP cannot
    /// confirm.
    pub ask: Ask,
    /// Whether devices come back with their key.
    pub confirm: Confirm,
    /// How long a single step of a device may take.
    pub step_deadline: Duration,
}

impl Plan {
    /// The step deadline for want of another.
    pub const STEP_DEADLINE: Duration = Duration::from_secs(30);

    /// How many connections are open at once when it is fullest.
    pub(crate) fn connections(&self) -> usize {
        match self.confirm {
            Confirm::ThenHold(_) => self.serials.len(),
            Confirm::Skip | Confirm::ThenClose => self.in_flight.get().min(self.serials.len()),
        }
    }
}

/// How a device asks for its credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// By subscribing to its response topic.
    #[default]
    Subscribe,
    /// Also by an empty message to its request topic, in the same write. For
    /// brokers where nobody is told of a SUBSCRIBE.
    SubscribeAndRequest,
    /// Over HTTP, with the code in the path: nothing else is said.
    Http,
}

/// What a device that came with its key wants to hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Downlink {
    /// Nothing.
    #[default]
    Ignore,
    /// Its commands and its configuration, at QoS 1.
    Subscribe,
}

/// What a device does once it has its key.
#[derive(Debug)]
pub enum Confirm {
    /// Nothing: activation is all that is measured.
    Skip,
    /// Comes back with its key, is let in, and leaves.
    ThenClose,
    /// Comes back with its key, is let in, and stays.
    ThenHold(Hold),
}

/// How long sessions stay open after the last device is done.
#[derive(Debug)]
pub enum Hold {
    /// This long.
    For(Duration),
    /// Until the caller sends, or drops the sender. [`crate::Progress::stage`]
    /// tells when all sessions are there.
    Until(oneshot::Receiver<()>),
}

/// Why a plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The fleet is empty.
    #[error("there are no devices in this fleet: give at least one")]
    NoDevices,
    /// Those who ask over HTTP are to come back.
    #[error(
        "devices that ask over HTTP do not come back with their key: leave the confirmation out"
    )]
    ConfirmOverHttp,
    /// The fleet needs more connections than the process may open.
    #[error(transparent)]
    OpenFiles(#[from] OpenFilesError),
}
