//! The activation storm: a whole fleet wakes for the first time.
//!
//! A closed loop: `in_flight` slots, each of which takes the next device as
//! soon as its last one is done. A slow broker therefore slows the load, and
//! the time a device waits for its slot is in no figure. Reports say so.

mod hold;
mod slot;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use firstwake::{ProductSecret, Serial};
use tokio::task::JoinSet;

use crate::open_files;
use crate::plan::{Confirm, Plan, PlanError};
use crate::progress::{Progress, Stage};
use crate::record::DeviceResult;
use crate::report::{PlanSummary, Report};
use crate::source::Sources;

use hold::HeldSession;
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
    open_files::reserve(plan.connections())?;

    let summary = PlanSummary::of(&plan);
    let Plan {
        broker,
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
    let slots = in_flight.get().min(serials.len());
    let fleet = Arc::new(Fleet {
        secret,
        serials,
        started: AtomicUsize::new(0),
        terms: Terms {
            broker,
            sources: Sources::for_broker(broker),
            ask,
            after_confirm,
            step_deadline,
        },
    });

    let begun = Instant::now();
    let (devices, sessions) = everyone(&fleet, slots, &progress).await;
    let elapsed = begun.elapsed();

    let held = match hold {
        Some(hold) => {
            progress.enter(Stage::Holding);
            Some(hold::hold(sessions, hold).await)
        }
        None => None,
    };
    progress.enter(Stage::Over);

    let sources = fleet.terms.sources.used();
    Ok(Report::new(summary, devices, elapsed, held, sources))
}

/// What all slots share.
struct Fleet {
    secret: ProductSecret,
    serials: Vec<Serial>,
    started: AtomicUsize,
    terms: Terms,
}

impl Fleet {
    fn next(&self) -> Option<(usize, &Serial)> {
        let index = self.started.fetch_add(1, Ordering::Relaxed);
        self.serials.get(index).map(|serial| (index, serial))
    }
}

/// What one slot has gathered: devices by their place in the fleet.
#[derive(Default)]
struct Haul {
    devices: Vec<(usize, DeviceResult)>,
    sessions: Vec<HeldSession>,
}

async fn everyone(
    fleet: &Arc<Fleet>,
    slots: usize,
    progress: &Arc<Progress>,
) -> (Vec<DeviceResult>, Vec<HeldSession>) {
    let mut tasks = JoinSet::new();
    for _ in 0..slots {
        tasks.spawn(one_after_the_other(fleet.clone(), progress.clone()));
    }
    let mut all = Haul::default();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(haul) => {
                all.devices.extend(haul.devices);
                all.sessions.extend(haul.sessions);
            }
            // Nobody cancels a slot, so it panicked: a bug, and not a result.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    all.devices.sort_unstable_by_key(|(index, _)| *index);
    let devices = all.devices.into_iter().map(|(_, device)| device).collect();
    (devices, all.sessions)
}

async fn one_after_the_other(fleet: Arc<Fleet>, progress: Arc<Progress>) -> Haul {
    let mut slot = Slot::new(&fleet.terms, &progress);
    let mut haul = Haul::default();
    while let Some((index, serial)) = fleet.next() {
        let (device, session) = slot.live(&fleet.secret, serial).await;
        haul.devices.push((index, device));
        haul.sessions.extend(session);
    }
    haul
}
