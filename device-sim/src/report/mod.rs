//! What a storm showed, with its plan beside it.
//!
//! A saved report can be read without knowing how it was asked for. It holds
//! no secret, code or key; what each device got stays in memory, in
//! [`Report::devices`], for a caller that checks further.

mod findings;
mod json;
mod plan;
pub(crate) mod table;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::record::{DeviceResult, Phase, Record};

pub use findings::{Findings, Handshakes, Held, Latency};
pub use plan::{HoldSummary, LoadLoop, PlanSummary};

/// A plan and its result. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    pub kind: Kind,
    /// What was asked for.
    pub plan: PlanSummary,
    /// What came of it.
    pub result: Findings,
    /// Every device, in the plan's order; not in the JSON.
    #[serde(skip)]
    pub devices: Vec<DeviceResult>,
    #[serde(skip)]
    histograms: BTreeMap<Phase, Histogram<u64>>,
}

/// What was measured by a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A broker.
    Storm,
    /// This crate's own server, which does the least that any server must.
    Floor,
}

/// Why a storm is not a success, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// Devices did not get where the plan wanted them.
    #[error("{missing} of {devices} devices were not {wanted}: {reasons}")]
    Missing {
        /// How many did not.
        missing: u64,
        /// The fleet.
        devices: u64,
        /// Where the plan wanted them.
        wanted: Outcome,
        /// How many came to which end instead.
        reasons: String,
    },
    /// Devices were given what others had been given.
    #[error("{feed_ids} feed ids and {keys} keys had been given to another device before")]
    Repeated {
        /// See [`Findings::repeated_feed_ids`].
        feed_ids: u64,
        /// See [`Findings::repeated_keys`].
        keys: u64,
    },
    /// Messages did not come through as they were sent.
    #[error(
        "of {sent} messages {lost} were lost, {duplicates} came twice and {foreign} came that were \
         not the fleet's"
    )]
    Messages {
        /// How many were sent.
        sent: u64,
        /// How many never arrived.
        lost: u64,
        /// How many arrived again.
        duplicates: u64,
        /// How many arrived that no device of the fleet had sent so.
        foreign: u64,
    },
}

impl Report {
    pub(crate) fn new(
        plan: PlanSummary,
        devices: Vec<DeviceResult>,
        elapsed: Duration,
        held: Option<Held>,
        source_addresses: Option<u32>,
    ) -> Self {
        let record = Record::of(&devices);
        let confirmed = record.outcomes.get(&Outcome::Confirmed);
        Self {
            kind: Kind::Storm,
            plan,
            result: Findings {
                elapsed_us: micros(elapsed),
                activated: record.activated,
                confirmed: confirmed.copied().unwrap_or_default(),
                activations_per_second: rate(record.activated, elapsed),
                repeated_feed_ids: record.repeated_feed_ids,
                repeated_keys: record.repeated_keys,
                phases_us: latencies(&record.histograms),
                outcomes: record.outcomes,
                held,
                source_addresses,
            },
            devices,
            histograms: record.histograms,
        }
    }

    /// All times of one phase, in microseconds, to be added to another run's.
    /// `None` if no device finished it.
    pub fn histogram(&self, phase: Phase) -> Option<&Histogram<u64>> {
        self.histograms.get(&phase)
    }

    /// Whether every device got where the plan wanted it, with a feed id and a
    /// key of its own.
    pub fn verdict(&self) -> Result<(), Shortfall> {
        let wanted = match self.plan.confirm {
            true => Outcome::Confirmed,
            false => Outcome::Activated,
        };
        everyone_is(wanted, &self.result.outcomes)?;
        match (self.result.repeated_feed_ids, self.result.repeated_keys) {
            (0, 0) => Ok(()),
            (feed_ids, keys) => Err(Shortfall::Repeated { feed_ids, keys }),
        }
    }
}

/// Whether there is no outcome but the one that was wanted.
pub(crate) fn everyone_is(
    wanted: Outcome,
    outcomes: &BTreeMap<Outcome, u64>,
) -> Result<(), Shortfall> {
    let others = || outcomes.iter().filter(|(end, _)| **end != wanted);
    let missing = others().map(|(_, count)| count).sum();
    if missing == 0 {
        return Ok(());
    }
    let reasons: Vec<String> = others().map(|(end, n)| format!("{n} {end}")).collect();
    Err(Shortfall::Missing {
        missing,
        devices: outcomes.values().sum(),
        wanted,
        reasons: reasons.join(", "),
    })
}

/// Histograms as reports show them.
pub(crate) fn latencies(histograms: &BTreeMap<Phase, Histogram<u64>>) -> BTreeMap<Phase, Latency> {
    let phases = histograms.iter();
    phases.map(|(phase, seen)| (*phase, seen.into())).collect()
}

/// Indented JSON, with a newline at its end.
pub fn to_json(report: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fleet has far fewer than 2^52 devices"
)]
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests;
