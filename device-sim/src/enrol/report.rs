//! What an enrolment showed, with its plan beside it; no key is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::EnrolPlan;
use crate::outcome::Outcome;
use crate::record;
use crate::report::table::{self, grouped, millis};
use crate::report::{LoadLoop, Shortfall, everyone_is, micros, rate};
use crate::tls::TlsSummary;

/// A plan and its result. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename = "enrol")]
pub struct EnrolReport {
    /// What was asked for.
    pub plan: EnrolSummary,
    /// What came of it.
    pub result: EnrolFindings,
}

/// An [`EnrolPlan`] without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct EnrolSummary {
    /// Where the broker listened.
    pub broker: SocketAddr,
    /// TLS, if that carried MQTT.
    pub tls: Option<TlsSummary>,
    /// How many devices.
    pub devices: usize,
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
pub struct EnrolFindings {
    /// From the first device's start to the last one's end.
    pub elapsed_us: u64,
    /// Devices whose public key was taken.
    pub enrolled: u64,
    /// `enrolled` by `elapsed_us`.
    pub enrolments_per_second: f64,
    /// Devices by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
}

impl EnrolSummary {
    pub(super) fn of(plan: &EnrolPlan) -> Self {
        Self {
            broker: plan.broker,
            tls: plan.transport.summary(),
            devices: plan.serials.len(),
            in_flight: plan.in_flight.get(),
            load: LoadLoop::Closed,
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}

impl EnrolReport {
    pub(super) fn new(plan: EnrolSummary, ends: Vec<Outcome>, elapsed: Duration) -> Self {
        let outcomes = record::outcomes(ends.into_iter());
        let enrolled = outcomes.get(&Outcome::Enrolled).copied().unwrap_or(0);
        Self {
            plan,
            result: EnrolFindings {
                elapsed_us: micros(elapsed),
                enrolled,
                enrolments_per_second: rate(enrolled, elapsed),
                outcomes,
            },
        }
    }

    /// Whether every device enrolled.
    pub fn verdict(&self) -> Result<(), Shortfall> {
        everyone_is(Outcome::Enrolled, &self.result.outcomes)
    }
}

impl fmt::Display for EnrolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, result } = self;
        writeln!(
            f,
            "enrol: {} devices show their public keys at {}",
            grouped(plan.devices),
            plan.broker
        )?;
        table::closed_loop(f, plan.in_flight)?;
        table::outcomes(f, &result.outcomes)?;
        writeln!(
            f,
            "{} enrolled in {} ms: {:.0}/s",
            grouped(result.enrolled),
            millis(result.elapsed_us),
            result.enrolments_per_second
        )
    }
}
