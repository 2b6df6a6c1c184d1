//! What a reconnect storm showed, with its plan beside it; no password is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::ReconnectPlan;
use super::slot::Attempt;
use crate::callers::Proof;
use crate::outcome::Outcome;
use crate::plan::Downlink;
use crate::record::{self, Phase};
use crate::report::table::{self, grouped, millis};
use crate::report::{
    Handshakes, Held, HoldSummary, Latency, LoadLoop, Shortfall, everyone_is, latencies, micros,
    rate,
};
use crate::tls::TlsSummary;

/// A plan and its result. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename = "reconnect")]
pub struct ReconnectReport {
    /// What was asked for.
    pub plan: ReconnectSummary,
    /// What came of it.
    pub result: ReconnectFindings,
}

/// A [`ReconnectPlan`] without its passwords.
#[derive(Clone, Debug, Serialize)]
pub struct ReconnectSummary {
    /// Where the broker listened.
    pub broker: SocketAddr,
    /// TLS, if that carried MQTT.
    pub tls: Option<TlsSummary>,
    /// How many devices.
    pub devices: usize,
    /// What they showed.
    pub proof: Proof,
    /// How many were under way at any time.
    pub in_flight: usize,
    /// Whether they listened.
    pub downlink: Downlink,
    /// How load was offered.
    #[serde(rename = "loop")]
    pub load: LoadLoop,
    /// How sessions were held after that.
    pub hold: HoldSummary,
    /// How long a step was allowed to take.
    pub step_deadline_us: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct ReconnectFindings {
    /// From the first device's start to the last one's end, without the hold.
    pub elapsed_us: u64,
    /// Devices that were let in, and subscribed if they were to.
    pub logged_in: u64,
    /// `logged_in` by `elapsed_us`.
    pub logins_per_second: f64,
    /// Devices by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Times by phase, over the devices that finished it.
    pub phases_us: BTreeMap<Phase, Latency>,
    /// How TLS came about; all zero without it.
    pub handshakes: Handshakes,
    /// What became of held sessions.
    pub held: Option<Held>,
    /// Loopback addresses that devices called from; `None` if the system chose.
    pub source_addresses: Option<u32>,
}

impl ReconnectSummary {
    pub(super) fn of(plan: &ReconnectPlan) -> Self {
        Self {
            broker: plan.broker,
            tls: plan.transport.summary(),
            devices: plan.devices.len(),
            proof: plan.proof,
            in_flight: plan.in_flight.get(),
            downlink: match plan.devices.iter().any(|one| one.listens.is_some()) {
                false => Downlink::Ignore,
                true => Downlink::Subscribe,
            },
            load: LoadLoop::Closed,
            hold: plan
                .hold
                .as_ref()
                .map_or(HoldSummary::None, HoldSummary::of),
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}

impl ReconnectReport {
    pub(super) fn new(
        plan: ReconnectSummary,
        attempts: &[Attempt],
        elapsed: Duration,
        held: Option<Held>,
        source_addresses: Option<u32>,
    ) -> Self {
        let outcomes = record::outcomes(attempts.iter().map(|one| one.outcome));
        let logged_in = outcomes.get(&Outcome::LoggedIn).copied().unwrap_or(0);
        let histograms = record::histograms(attempts.iter().map(|one| &one.timings));
        Self {
            plan,
            result: ReconnectFindings {
                elapsed_us: micros(elapsed),
                logged_in,
                logins_per_second: rate(logged_in, elapsed),
                outcomes,
                phases_us: latencies(&histograms),
                handshakes: attempts.iter().map(|one| one.handshakes).sum(),
                held,
                source_addresses,
            },
        }
    }

    /// Whether every device got in.
    pub fn verdict(&self) -> Result<(), Shortfall> {
        everyone_is(Outcome::LoggedIn, &self.result.outcomes)
    }
}

impl fmt::Display for ReconnectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, result } = self;
        let then = match plan.downlink {
            Downlink::Ignore => "",
            Downlink::Subscribe => " and subscribe",
        };
        writeln!(
            f,
            "reconnect: {} devices log in{then} at {}",
            grouped(plan.devices),
            plan.broker
        )?;
        table::closed_loop(f, plan.in_flight)?;
        table::outcomes(f, &result.outcomes)?;
        table::phases(f, &result.phases_us)?;
        writeln!(
            f,
            "{} logged in in {} ms: {:.0}/s",
            grouped(result.logged_in),
            millis(result.elapsed_us),
            result.logins_per_second
        )?;
        if plan.tls.is_some() {
            table::handshakes(f, result.handshakes)?;
        }
        match result.held {
            Some(held) => table::held(f, held, plan.hold),
            None => Ok(()),
        }
    }
}
