//! The uplink: a fleet that has its keys publishes, and an operator counts.
//!
//! First every device logs in and the operator subscribes; then all of them
//! publish at once, each on a connection and in a task of its own. Every
//! message says when it was meant to be sent, so on a schedule a slow server
//! cannot hide what waits.

mod observer;
mod payload;
mod plan;
mod publisher;
mod report;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::callers::Caller;
use crate::closed_loop::{self, Turns};
use crate::device::{Login, LoginTurn};
use crate::line::Line;
use crate::open_files;
use crate::outcome::{Mishap, Outcome, Step};
use crate::plan::{Downlink, PlanError};
use crate::route::Route;
use crate::service::Service;
use crate::stream::Stream;

use observer::observe;
use publisher::{Publisher, Terms, Timing};
use report::Seen;
use tally::Tally;

pub use plan::{MessagesPerDevice, Pace, PayloadSize, Topics, UplinkError, UplinkPlan, UplinkQos};
pub use report::{Rate, UplinkFindings, UplinkReport, UplinkSummary};

/// Lets the fleet of `plan` publish, and tells what arrived.
///
/// Raises the process's soft limit of open files to the hard one. However the
/// devices fare, the result is a report; only a plan that cannot be begun, or
/// an operator that cannot count, is an error.
pub async fn run(plan: UplinkPlan) -> Result<UplinkReport, UplinkError> {
    if plan.devices.is_empty() {
        return Err(PlanError::NoDevices.into());
    }
    open_files::reserve(plan.devices.len() + 1).map_err(PlanError::from)?;
    let summary = UplinkSummary::of(&plan);
    let route = Arc::new(Route::new(plan.broker, plan.transport.clone()));
    let filter = plan.topics.filter();
    let subscribing = Service::subscribe(&route, &plan.operator, &filter, plan.qos.on_the_wire());
    let service = match tokio::time::timeout(plan.step_deadline, subscribing).await {
        Ok(Ok(service)) => service,
        Ok(Err(mishap)) => return Err(no_operator(filter, mishap)),
        Err(_) => return Err(no_operator(filter, Mishap::TimedOut)),
    };

    let devices = plan.devices.iter();
    let topics: Vec<String> = devices
        .map(|device| plan.topics.of(device.credentials.feed_id))
        .collect();
    let devices = plan.devices.into_iter();
    let fleet = devices.map(|device| Caller::with_key(device, Downlink::Ignore));
    let fleet = Arc::new(fleet.collect::<Vec<_>>());
    let slot = |turns| let_in(turns, fleet.clone(), route.clone(), plan.step_deadline);
    let hauls = closed_loop::run(fleet.len(), plan.in_flight, slot).await;

    let begun = Instant::now();
    let run = number_of_this_run();
    let terms = Arc::new(Terms {
        run,
        begun,
        messages: plan.messages.get(),
        size: plan.size.get(),
        qos: plan.qos,
        timing: timing(plan.pace, fleet.len()),
        step_deadline: plan.step_deadline,
    });
    let tally = Tally::new(run, topics.clone(), plan.messages.get());
    let (all_sent, sent) = oneshot::channel();
    let counting = tokio::spawn(observe(service, tally, begun, sent, plan.patience));

    let mut stayed_out = Vec::new();
    let mut publishing = JoinSet::new();
    for (index, entry) in hauls.into_iter().flatten() {
        match entry {
            Ok(stream) => {
                let device = u32::try_from(index).unwrap_or(u32::MAX);
                let topic = topics[index].clone();
                let publisher = Publisher::new(terms.clone(), device, topic, stream);
                publishing.spawn(publisher.run());
            }
            Err(outcome) => stayed_out.push(outcome),
        }
    }
    let published = publishing.join_all().await;
    // An observer that has ended already needs no word.
    let _ = all_sent.send(());
    let (tally, heard) = match counting.await {
        Ok(counted) => counted,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    Ok(UplinkReport::new(
        summary,
        Seen {
            published,
            stayed_out,
            tally,
            heard,
            source_addresses: route.source_addresses(),
        },
    ))
}

fn no_operator(filter: String, mishap: Mishap) -> UplinkError {
    UplinkError::Operator {
        filter,
        why: mishap.at(Step::Connack),
    }
}

/// Tells this run's messages from an earlier one's.
fn number_of_this_run() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            since.subsec_nanos() ^ since.as_secs().rotate_left(13) as u32
        })
}

fn timing(pace: Pace, devices: usize) -> Timing {
    match pace {
        Pace::Window(window) => Timing::Window(window),
        Pace::PerSecond(rate) => {
            let step = Duration::from_secs(1) / rate.get();
            let devices = u32::try_from(devices).unwrap_or(u32::MAX);
            Timing::Schedule {
                step,
                round: step * devices,
            }
        }
    }
}

/// Devices by their place in the fleet: in, or why not.
type Entries = Vec<(usize, Result<Stream, Outcome>)>;

async fn let_in(
    turns: Turns,
    fleet: Arc<Vec<Caller>>,
    route: Arc<Route>,
    step_deadline: Duration,
) -> Entries {
    let mut line = Line::new(&route, step_deadline);
    let mut entries = Vec::new();
    while let Some(index) = turns.take() {
        entries.push((index, log_in(&mut line, &fleet[index]).await));
    }
    entries
}

async fn log_in(line: &mut Line<'_>, device: &Caller) -> Result<Stream, Outcome> {
    let opened = line.open().await.map_err(|why| why.at(Step::Connect))?;
    let mut stream = opened.stream;
    line.begin_step();
    let let_in = async {
        let login = Login::begin(device, &mut line.buffers.out)?;
        let connack = line.exchange(&mut stream).await?;
        match login.hear(&connack, &mut line.buffers.out)? {
            LoginTurn::LoggedIn => Ok(()),
            LoginTurn::Connected(_) | LoginTurn::Waiting(_) => Err(Mishap::Malformed),
        }
    };
    let_in.await.map_err(|why| why.at(Step::Connack))?;
    Ok(stream)
}
