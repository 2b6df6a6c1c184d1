//! How many handshakes there were, with the plan beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Attempt, HandshakesPlan};
use crate::outcome::Outcome;
use crate::record::{self, Phase};
use crate::report::table::{self, grouped, millis};
use crate::report::{
    Handshakes, Latency, LoadLoop, Shortfall, everyone_is, latencies, micros, rate,
};
use crate::tls::TlsSummary;

/// A plan and its result. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename = "handshakes")]
pub struct HandshakesReport {
    /// What was asked for.
    pub plan: HandshakesSummary,
    /// What came of it.
    pub result: HandshakesFindings,
}

/// A [`HandshakesPlan`] in words.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakesSummary {
    /// Where the server listened.
    pub server: SocketAddr,
    /// What the connections spoke.
    pub tls: TlsSummary,
    /// How many handshakes.
    pub count: usize,
    /// How many were under way at any time.
    pub in_flight: usize,
    /// How load was offered.
    #[serde(rename = "loop")]
    pub load: LoadLoop,
    /// How long a step was allowed to take.
    pub step_deadline_us: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakesFindings {
    /// From the first connection's start to the last one's end.
    pub elapsed_us: u64,
    /// Handshakes that were done, by how they came about.
    pub handshakes: Handshakes,
    /// Both kinds by `elapsed_us`.
    pub handshakes_per_second: f64,
    /// Connections by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Times by phase, over the connections that finished it.
    pub phases_us: BTreeMap<Phase, Latency>,
    /// Loopback addresses that were called from; `None` if the system chose.
    pub source_addresses: Option<u32>,
}

impl HandshakesSummary {
    pub(super) fn of(plan: &HandshakesPlan) -> Self {
        Self {
            server: plan.server,
            tls: plan.tls.summary(),
            count: plan.count.get(),
            in_flight: plan.in_flight.get(),
            load: LoadLoop::Closed,
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}

impl HandshakesReport {
    pub(super) fn new(
        plan: HandshakesSummary,
        attempts: &[Attempt],
        elapsed: Duration,
        source_addresses: Option<u32>,
    ) -> Self {
        let handshakes: Handshakes = attempts.iter().map(|one| one.handshakes).sum();
        let histograms = record::histograms(attempts.iter().map(|one| &one.timings));
        Self {
            plan,
            result: HandshakesFindings {
                elapsed_us: micros(elapsed),
                handshakes,
                handshakes_per_second: rate(handshakes.full + handshakes.resumed, elapsed),
                outcomes: record::outcomes(attempts.iter().map(|one| one.outcome)),
                phases_us: latencies(&histograms),
                source_addresses,
            },
        }
    }

    /// Whether every handshake was done.
    pub fn verdict(&self) -> Result<(), Shortfall> {
        everyone_is(Outcome::Secured, &self.result.outcomes)
    }
}

impl fmt::Display for HandshakesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, result } = self;
        writeln!(
            f,
            "handshakes: {} connections to {}",
            grouped(plan.count),
            plan.server
        )?;
        table::closed_loop(f, plan.in_flight)?;
        table::outcomes(f, &result.outcomes)?;
        table::phases(f, &result.phases_us)?;
        table::handshakes(f, result.handshakes)?;
        writeln!(
            f,
            "in {} ms: {:.0}/s",
            millis(result.elapsed_us),
            result.handshakes_per_second
        )
    }
}
