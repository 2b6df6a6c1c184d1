//! What every connection shares.

use std::sync::Arc;

use firstwake::Provisioner;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::edge::Clock;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::sessions::Sessions;

/// The running broker, as its sessions see it.
pub(crate) struct Broker {
    pub(crate) provisioner: Provisioner,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) bus: Bus,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// Cancelled when the server stops: ends what is no session yet.
    pub(crate) stopping: CancellationToken,
}
