//! The reconnect storm: a fleet that knows its passwords comes back.
//!
//! In a closed loop: a slow broker slows the load, and what a device waits for
//! its turn is in no figure.

mod report;
mod slot;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::callers::{Caller, Proof};
use crate::closed_loop::{self, Turns};
use crate::hold::{self, HeldSession};
use crate::open_files;
use crate::plan::{Hold, PlanError};
use crate::route::Route;
use crate::tls::Transport;

use slot::{Attempt, Slot, Terms};

pub use report::{ReconnectFindings, ReconnectReport, ReconnectSummary};

/// Who comes back, and how.
#[derive(Debug)]
pub struct ReconnectPlan {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// What carries MQTT there.
    pub transport: Transport,
    /// The fleet, in the order in which devices start.
    pub devices: Vec<Caller>,
    /// What they show: told in the report.
    pub proof: Proof,
    /// How many devices are under way at any time.
    pub in_flight: NonZeroUsize,
    /// Whether they stay; `None`: each leaves when it is in.
    pub hold: Option<Hold>,
    /// How long a single step of a device may take.
    pub step_deadline: Duration,
}

/// Lets the fleet of `plan` log in, and tells what became of it.
///
/// Raises the process's soft limit of open files to the hard one. However the
/// devices fare, the result is a report; only a plan that cannot be begun is
/// an error.
pub async fn run(plan: ReconnectPlan) -> Result<ReconnectReport, PlanError> {
    if plan.devices.is_empty() {
        return Err(PlanError::NoDevices);
    }
    open_files::reserve(plan.connections())?;

    let summary = ReconnectSummary::of(&plan);
    let ReconnectPlan {
        broker,
        transport,
        devices,
        proof: _,
        in_flight,
        hold,
        step_deadline,
    } = plan;
    let fleet = Arc::new(Fleet {
        devices,
        terms: Terms {
            route: Route::new(broker, transport),
            then: match hold {
                None => Then::Leave,
                Some(_) => Then::Stay,
            },
            step_deadline,
        },
    });

    let begun = Instant::now();
    let slot = |turns| one_after_the_other(turns, fleet.clone());
    let hauls = closed_loop::run(fleet.devices.len(), in_flight, slot).await;
    let elapsed = begun.elapsed();

    let (attempts, sessions): (Vec<_>, Vec<_>) = hauls.into_iter().unzip();
    let held = match hold {
        Some(hold) => {
            let sessions = sessions.into_iter().flatten().collect();
            Some(hold::hold(sessions, hold).await)
        }
        None => None,
    };
    let sources = fleet.terms.route.source_addresses();
    Ok(ReconnectReport::new(
        summary,
        &attempts.concat(),
        elapsed,
        held,
        sources,
    ))
}

impl ReconnectPlan {
    /// How many connections are open at once when it is fullest.
    fn connections(&self) -> usize {
        match self.hold {
            Some(_) => self.devices.len(),
            None => self.in_flight.get().min(self.devices.len()),
        }
    }
}

/// What a device does once it is in.
#[derive(Clone, Copy)]
enum Then {
    Leave,
    Stay,
}

/// What all slots share.
struct Fleet {
    devices: Vec<Caller>,
    terms: Terms,
}

async fn one_after_the_other(turns: Turns, fleet: Arc<Fleet>) -> (Vec<Attempt>, Vec<HeldSession>) {
    let mut slot = Slot::new(&fleet.terms);
    let mut attempts = Vec::new();
    let mut sessions = Vec::new();
    while let Some(index) = turns.take() {
        let (attempt, session) = slot.live(&fleet.devices[index]).await;
        attempts.push(attempt);
        sessions.extend(session);
    }
    (attempts, sessions)
}
