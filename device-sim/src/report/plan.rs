//! The half of a report that says what was asked for.

use std::net::SocketAddr;

use serde::Serialize;

use super::micros;
use crate::plan::{Ask, Confirm, Hold, Plan};
use crate::tls::TlsSummary;

/// A [`Plan`] without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct PlanSummary {
    /// Where the broker listened.
    pub broker: SocketAddr,
    /// TLS, if that carried MQTT.
    pub tls: Option<TlsSummary>,
    /// How many devices.
    pub devices: usize,
    /// How many were under way at any time.
    pub in_flight: usize,
    /// How devices asked for their credentials.
    pub ask: Ask,
    /// How load was offered.
    #[serde(rename = "loop")]
    pub load: LoadLoop,
    /// Whether devices came back with their key.
    pub confirm: bool,
    /// How sessions were held after that.
    pub hold: HoldSummary,
    /// How long a step was allowed to take.
    pub step_deadline_us: u64,
}

/// How load was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadLoop {
    /// What is next starts when something earlier is done.
    Closed,
    /// What is next starts when its time has come.
    Open,
}

/// A [`Hold`], or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldSummary {
    /// Sessions were not held.
    None,
    /// For this many microseconds.
    ForUs(u64),
    /// Until the caller released them.
    UntilReleased,
}

impl HoldSummary {
    pub(crate) fn of(hold: &Hold) -> Self {
        match hold {
            Hold::For(time) => Self::ForUs(micros(*time)),
            Hold::Until(_) => Self::UntilReleased,
        }
    }
}

impl PlanSummary {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            broker: plan.broker,
            tls: plan.transport.summary(),
            devices: plan.serials.len(),
            in_flight: plan.in_flight.get(),
            ask: plan.ask,
            load: LoadLoop::Closed,
            confirm: !matches!(plan.confirm, Confirm::Skip),
            hold: match &plan.confirm {
                Confirm::Skip | Confirm::ThenClose => HoldSummary::None,
                Confirm::ThenHold(hold) => HoldSummary::of(hold),
            },
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}
