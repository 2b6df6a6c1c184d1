//! What a storm showed, with its plan beside it.
//!
//! A saved report can be read without knowing how it was asked for. It holds
//! no secret, code or key; what each device got stays in memory, in
//! [`Report::devices`], for a caller that checks further.

mod json;
mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::plan::{Confirm, Hold, Plan};
use crate::record::{DeviceResult, Phase, Record};

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

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A broker.
    Storm,
    /// This crate's own server, which does the least that any server must.
    Floor,
}

/// A [`Plan`] without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct PlanSummary {
    /// Where the broker listened.
    pub broker: SocketAddr,
    /// How many devices.
    pub devices: usize,
    /// How many were under way at any time.
    pub in_flight: usize,
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
    /// A device starts when an earlier one is done.
    Closed,
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

/// What came of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// From the first device's start to the last one's end, without the hold.
    pub elapsed_us: u64,
    /// Devices that have their answer.
    pub activated: u64,
    /// Devices that were let in with their key.
    pub confirmed: u64,
    /// `activated` by `elapsed_us`.
    pub activations_per_second: f64,
    /// Devices by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How many feed ids had been given to an earlier device.
    pub repeated_feed_ids: u64,
    /// How many keys had been given to an earlier device.
    pub repeated_keys: u64,
    /// Times by phase, over the devices that finished it.
    pub phases_us: BTreeMap<Phase, Latency>,
    /// What became of held sessions.
    pub held: Option<Held>,
    /// Loopback addresses that devices called from; `None` if the system chose.
    pub source_addresses: Option<u32>,
}

/// A histogram in five numbers: microseconds, to three significant figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Devices.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// Sessions held open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// How many there were.
    pub sessions: u64,
    /// How many of them the broker ended during the hold.
    pub lost: u64,
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
        devices: usize,
        /// [`Outcome::Activated`] or [`Outcome::Confirmed`].
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
        let phases = record.histograms.iter();
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
                phases_us: phases.map(|(phase, seen)| (*phase, seen.into())).collect(),
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
        let others = || {
            self.result
                .outcomes
                .iter()
                .filter(|(end, _)| **end != wanted)
        };
        let missing = others().map(|(_, count)| count).sum();
        if missing > 0 {
            let reasons: Vec<String> = others().map(|(end, n)| format!("{n} {end}")).collect();
            return Err(Shortfall::Missing {
                missing,
                devices: self.plan.devices,
                wanted,
                reasons: reasons.join(", "),
            });
        }
        match (self.result.repeated_feed_ids, self.result.repeated_keys) {
            (0, 0) => Ok(()),
            (feed_ids, keys) => Err(Shortfall::Repeated { feed_ids, keys }),
        }
    }
}

impl PlanSummary {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            broker: plan.broker,
            devices: plan.serials.len(),
            in_flight: plan.in_flight.get(),
            load: LoadLoop::Closed,
            confirm: !matches!(plan.confirm, Confirm::Skip),
            hold: match &plan.confirm {
                Confirm::Skip | Confirm::ThenClose => HoldSummary::None,
                Confirm::ThenHold(Hold::For(time)) => HoldSummary::ForUs(micros(*time)),
                Confirm::ThenHold(Hold::Until(_)) => HoldSummary::UntilReleased,
            },
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}

impl From<&Histogram<u64>> for Latency {
    fn from(seen: &Histogram<u64>) -> Self {
        Self {
            count: seen.len(),
            p50: seen.value_at_quantile(0.50),
            p95: seen.value_at_quantile(0.95),
            p99: seen.value_at_quantile(0.99),
            max: seen.max(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a fleet has far fewer than 2^52 devices"
)]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::num::NonZeroUsize;

    use firstwake::{ProductSecret, Serial};

    use super::*;
    use crate::answer::parse_answer;
    use crate::outcome::{ConnackCode, Refusal};
    use crate::record::Timings;

    const KEY: &str = "the-key-of-the-first-device";

    fn device(outcome: Outcome, phases: &[Phase]) -> DeviceResult {
        let mut timings = Timings::default();
        for phase in phases {
            timings.set(*phase, Duration::from_micros(100));
        }
        DeviceResult {
            serial: Serial::parse("S1").expect("a serial"),
            outcome,
            credentials: None,
            timings,
        }
    }

    fn refused() -> DeviceResult {
        let four = ConnackCode::new(4).expect("a refusal");
        device(Outcome::Refused(Refusal::Connack(four)), &[Phase::Connect])
    }

    fn confirmed() -> DeviceResult {
        let answer = format!(r#"{{"apikey":"{KEY}","feed_id":7,"datastreams":[]}}"#);
        DeviceResult {
            credentials: Some(parse_answer(answer.as_bytes()).expect("an answer")),
            ..device(Outcome::Confirmed, &Phase::ALL)
        }
    }

    fn report(devices: Vec<DeviceResult>) -> Report {
        let plan = Plan {
            broker: ([127, 0, 0, 1], 1883).into(),
            secret: ProductSecret::parse(&"0".repeat(40)).expect("a secret"),
            serials: devices.iter().map(|device| device.serial.clone()).collect(),
            in_flight: NonZeroUsize::new(2).expect("not zero"),
            confirm: Confirm::ThenHold(Hold::For(Duration::from_secs(5))),
            step_deadline: Plan::STEP_DEADLINE,
        };
        let held = Held {
            sessions: 1,
            lost: 0,
        };
        let elapsed = Duration::from_millis(500);
        Report::new(
            PlanSummary::of(&plan),
            devices,
            elapsed,
            Some(held),
            Some(1),
        )
    }

    pub(super) fn example() -> Report {
        report(vec![confirmed(), refused()])
    }

    #[test]
    fn a_verdict_is_one_sentence() {
        let check = |devices, expected: Option<&str>| {
            let verdict = report(devices).verdict().err();
            assert_eq!(verdict.map(|why| why.to_string()).as_deref(), expected);
        };
        check(vec![confirmed()], None);
        check(
            vec![confirmed(), refused()],
            Some(
                "1 of 2 devices were not confirmed: \
                 1 refused: CONNACK 4 (bad user name or password)",
            ),
        );
        check(
            vec![confirmed(), confirmed(), confirmed()],
            Some("2 feed ids and 2 keys had been given to another device before"),
        );
    }
}
