//! Enrolment: a fleet that wakes for the first time shows the public halves of
//! its key pairs, and is known by them from then on.
//!
//! In a closed loop, as the storm is.

mod report;
mod slot;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firstwake::{ProductId, ProductSecret, Serial};

use crate::closed_loop::{self, Turns};
use crate::open_files;
use crate::outcome::Outcome;
use crate::plan::PlanError;
use crate::route::Route;
use crate::tls::Transport;

use slot::Slot;

pub use report::{EnrolFindings, EnrolReport, EnrolSummary};

/// Who enrols, and where.
#[derive(Debug)]
pub struct EnrolPlan {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// What carries MQTT there.
    pub transport: Transport,
    /// What codes, and here key pairs too, are made with.
    pub secret: ProductSecret,
    /// The fleet's product, which it signs as well.
    pub product: ProductId,
    /// The fleet, in the order in which devices start.
    pub serials: Vec<Serial>,
    /// How many devices are under way at any time.
    pub in_flight: NonZeroUsize,
    /// How long a single step of a device may take.
    pub step_deadline: Duration,
}

/// Lets the fleet of `plan` enrol, and tells what became of it.
pub async fn run(plan: EnrolPlan) -> Result<EnrolReport, PlanError> {
    if plan.serials.is_empty() {
        return Err(PlanError::NoDevices);
    }
    open_files::reserve(plan.in_flight.get().min(plan.serials.len()))?;
    let summary = EnrolSummary::of(&plan);
    let route = Route::new(plan.broker, plan.transport.clone());
    let fleet = Arc::new(Fleet { plan, route });

    let begun = Instant::now();
    let slot = |turns| one_after_the_other(turns, fleet.clone());
    let devices = fleet.plan.serials.len();
    let ends = closed_loop::run(devices, fleet.plan.in_flight, slot).await;
    Ok(EnrolReport::new(summary, ends.concat(), begun.elapsed()))
}

/// What all slots share.
struct Fleet {
    plan: EnrolPlan,
    route: Route,
}

async fn one_after_the_other(turns: Turns, fleet: Arc<Fleet>) -> Vec<Outcome> {
    let mut slot = Slot::new(&fleet);
    let mut ends = Vec::new();
    while let Some(index) = turns.take() {
        ends.push(slot.live(&fleet.plan.serials[index]).await);
    }
    ends
}
