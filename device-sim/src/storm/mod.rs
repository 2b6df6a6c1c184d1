//! The activation storm: a whole fleet wakes for the first time.
//!
//! In a closed loop: a slow broker slows the load, and what a device waits for
//! its turn is in no figure.

mod slot;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use firstwake::{ProductSecret, Serial};

use crate::closed_loop::{self, Turns};
use crate::hold::{self, HeldSession};
use crate::open_files;
use crate::plan::{Ask, Confirm, Plan, PlanError};
use crate::progress::{Progress, Stage};
use crate::record::DeviceResult;
use crate::report::{PlanSummary, Report};
use crate::route::Route;

use slot::{AfterConfirm, Slot, Terms};

/// Lets the fleet of `plan` activate, and tells what became of it.
///
/// Raises the process's soft limit of open files to the hard one. However the
/// devices fare, the result is a report; only a plan that cannot be begun is
/// an error.
pub async fn run(plan: Plan, progress: Arc<Progress>) -> Result<Report, PlanError> {
    if plan.serials.is_empty() {
        return Err(PlanError::NoDevices);
    }
    if plan.ask == Ask::Http && !matches!(plan.confirm, Confirm::Skip) {
        return Err(PlanError::ConfirmOverHttp);
    }
    open_files::reserve(plan.connections())?;

    let summary = PlanSummary::of(&plan);
    let Plan {
        broker,
        transport,
        secret,
        serials,
        in_flight,
        ask,
        confirm,
        step_deadline,
    } = plan;
    let (after_confirm, hold) = match confirm {
        Confirm::Skip => (None, None),
        Confirm::ThenClose => (Some(AfterConfirm::Close), None),
        Confirm::ThenHold(hold) => (Some(AfterConfirm::Hold), Some(hold)),
    };
    let fleet = Arc::new(Fleet {
        secret,
        serials,
        terms: Terms {
            route: Route::new(broker, transport),
            ask,
            after_confirm,
            step_deadline,
        },
    });

    let begun = Instant::now();
    let (devices, sessions) = everyone(&fleet, in_flight, &progress).await;
    let elapsed = begun.elapsed();

    let held = match hold {
        Some(hold) => {
            progress.enter(Stage::Holding);
            Some(hold::hold(sessions, hold).await)
        }
        None => None,
    };
    progress.enter(Stage::Over);

    let sources = fleet.terms.route.source_addresses();
    Ok(Report::new(summary, devices, elapsed, held, sources))
}

/// What all slots share.
struct Fleet {
    secret: ProductSecret,
    serials: Vec<Serial>,
    terms: Terms,
}

/// What one slot has gathered: devices by their place in the fleet.
#[derive(Default)]
struct Haul {
    devices: Vec<(usize, DeviceResult)>,
    sessions: Vec<HeldSession>,
}

async fn everyone(
    fleet: &Arc<Fleet>,
    in_flight: NonZeroUsize,
    progress: &Arc<Progress>,
) -> (Vec<DeviceResult>, Vec<HeldSession>) {
    let slot = |turns| one_after_the_other(turns, fleet.clone(), progress.clone());
    let mut all = Haul::default();
    for haul in closed_loop::run(fleet.serials.len(), in_flight, slot).await {
        all.devices.extend(haul.devices);
        all.sessions.extend(haul.sessions);
    }
    all.devices.sort_unstable_by_key(|(index, _)| *index);
    let devices = all.devices.into_iter().map(|(_, device)| device).collect();
    (devices, all.sessions)
}

async fn one_after_the_other(turns: Turns, fleet: Arc<Fleet>, progress: Arc<Progress>) -> Haul {
    let mut slot = Slot::new(&fleet.terms, &progress);
    let mut haul = Haul::default();
    while let Some(index) = turns.take() {
        let (device, session) = slot.live(&fleet.secret, &fleet.serials[index]).await;
        haul.devices.push((index, device));
        haul.sessions.extend(session);
    }
    haul
}
