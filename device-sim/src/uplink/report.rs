//! What was sent and what arrived, with the plan beside it; no key is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::observer::Heard;
use super::plan::{Pace, Topics, UplinkPlan, UplinkQos};
use super::publisher::Published;
use super::tally::Tally;
use crate::outcome::Outcome;
use crate::record::{self, histogram};
use crate::report::table::{self, grouped};
use crate::report::{Latency, LoadLoop, Shortfall, everyone_is, micros, rate};
use crate::tls::TlsSummary;

/// A plan and its result. Times are microseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename = "uplink")]
pub struct UplinkReport {
    /// What was asked for.
    pub plan: UplinkSummary,
    /// What came of it.
    pub result: UplinkFindings,
}

/// An [`UplinkPlan`] without its keys and passwords.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkSummary {
    /// Where the broker listened.
    pub broker: SocketAddr,
    /// TLS, if that carried MQTT.
    pub tls: Option<TlsSummary>,
    /// How many devices.
    pub devices: usize,
    /// How many messages each sent.
    pub messages: u16,
    /// Bytes of each payload.
    pub size: usize,
    /// The quality of service, from device to operator.
    pub qos: UplinkQos,
    /// How load was offered.
    #[serde(rename = "loop")]
    pub load: LoadLoop,
    /// When a device sent.
    pub pace: Pace,
    /// Where messages went.
    pub topics: Topics,
    /// How long nothing had to arrive before the rest was lost.
    pub patience_us: u64,
    /// How long a step was allowed to take.
    pub step_deadline_us: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkFindings {
    /// Devices by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Messages that were handed to the system.
    pub sent: Rate,
    /// Messages that the broker acknowledged: none at QoS 0.
    pub acknowledged: Rate,
    /// Messages that reached the operator, each counted once.
    pub delivered: Rate,
    /// Sent, and never arrived.
    pub lost: u64,
    /// Arrived again.
    pub duplicates: u64,
    /// Arrived without being a message of this run on its device's topic.
    pub foreign: u64,
    /// Whether the operator was still connected at the end.
    pub operator_stayed: bool,
    /// From the intended time of sending to the acknowledgement.
    pub acknowledge_us: Option<Latency>,
    /// From the intended time of sending to the operator.
    pub deliver_us: Option<Latency>,
    /// Loopback addresses that devices called from; `None` if the system chose.
    pub source_addresses: Option<u32>,
}

/// Messages, counted from the first device's start to the last of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    /// How many.
    pub messages: u64,
    /// Until the last of them.
    pub elapsed_us: u64,
    /// The one by the other.
    pub per_second: f64,
}

/// What was seen of a run.
pub(super) struct Seen {
    pub(super) published: Vec<Published>,
    pub(super) stayed_out: Vec<Outcome>,
    pub(super) tally: Tally,
    pub(super) heard: Heard,
    pub(super) source_addresses: Option<u32>,
}

impl UplinkSummary {
    pub(super) fn of(plan: &UplinkPlan) -> Self {
        Self {
            broker: plan.broker,
            tls: plan.transport.summary(),
            devices: plan.devices.len(),
            messages: plan.messages.get(),
            size: plan.size.get(),
            qos: plan.qos,
            load: match plan.pace {
                Pace::Window(_) => LoadLoop::Closed,
                Pace::PerSecond(_) => LoadLoop::Open,
            },
            pace: plan.pace,
            topics: plan.topics.clone(),
            patience_us: micros(plan.patience),
            step_deadline_us: micros(plan.step_deadline),
        }
    }
}

impl Rate {
    fn of(messages: u64, until: Option<Duration>) -> Self {
        let elapsed = until.unwrap_or_default();
        Self {
            messages,
            elapsed_us: micros(elapsed),
            per_second: match messages {
                0 => 0.0,
                _ => rate(messages, elapsed),
            },
        }
    }
}

impl UplinkReport {
    pub(super) fn new(plan: UplinkSummary, seen: Seen) -> Self {
        let Seen {
            published,
            stayed_out,
            tally,
            heard,
            source_addresses,
        } = seen;
        let sent = published.iter().map(|one| u64::from(one.sent)).sum();
        let mut acknowledged = histogram();
        for took in published.iter().flat_map(|one| &one.acknowledged) {
            record::record(&mut acknowledged, *took);
        }
        let outcomes = published.iter().map(|one| one.outcome).chain(stayed_out);
        let seen = |histogram: &hdrhistogram::Histogram<u64>| {
            (!histogram.is_empty()).then(|| Latency::from(histogram))
        };
        Self {
            plan,
            result: UplinkFindings {
                outcomes: record::outcomes(outcomes),
                sent: Rate::of(sent, published.iter().map(|one| one.sent_by).max()),
                acknowledged: Rate::of(
                    acknowledged.len(),
                    published.iter().map(|one| one.acknowledged_by).max(),
                ),
                delivered: Rate::of(tally.delivered, Some(tally.last)),
                lost: sent.saturating_sub(tally.delivered),
                duplicates: tally.duplicates,
                foreign: tally.foreign,
                operator_stayed: heard == Heard::Out,
                acknowledge_us: seen(&acknowledged),
                deliver_us: seen(&tally.latencies),
                source_addresses,
            },
        }
    }

    /// Whether every device sent all it had, and each message arrived once.
    pub fn verdict(&self) -> Result<(), Shortfall> {
        let result = &self.result;
        everyone_is(Outcome::Published, &result.outcomes)?;
        match (result.lost, result.duplicates, result.foreign) {
            (0, 0, 0) => Ok(()),
            (lost, duplicates, foreign) => Err(Shortfall::Messages {
                sent: result.sent.messages,
                lost,
                duplicates,
                foreign,
            }),
        }
    }
}

impl fmt::Display for UplinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, result } = self;
        writeln!(
            f,
            "uplink: {} devices publish {} messages each at QoS {} to {}",
            grouped(plan.devices),
            grouped(plan.messages),
            u8::from(plan.qos),
            plan.broker
        )?;
        match (plan.pace, plan.qos) {
            (Pace::Window(_), UplinkQos::AtMostOnce) => {
                writeln!(
                    f,
                    "closed loop: a device sends as fast as its connection takes it\n"
                )
            }
            (Pace::Window(window), UplinkQos::AtLeastOnce) => writeln!(
                f,
                "closed loop: a device sends while fewer than {window} messages are unacknowledged\n"
            ),
            (Pace::PerSecond(rate), _) => writeln!(
                f,
                "open loop: {} messages a second in all; times count from when a message was due\n",
                grouped(rate)
            ),
        }?;
        table::outcomes(f, &result.outcomes)?;
        writeln!(f, "{:<24} {:>10} {:>10}", "messages", "count", "a second")?;
        for (name, seen) in [
            ("sent", result.sent),
            ("acknowledged", result.acknowledged),
            ("delivered", result.delivered),
        ] {
            let count = grouped(seen.messages);
            writeln!(f, "{name:<24} {count:>10} {:>10.0}", seen.per_second)?;
        }
        writeln!(f)?;
        let rows = [
            ("to the acknowledgement", result.acknowledge_us),
            ("to the operator", result.deliver_us),
        ];
        let rows = rows
            .into_iter()
            .filter_map(|(name, seen)| Some((name, seen?)));
        table::latencies(f, ["time (ms)", "messages"], rows)?;
        writeln!(
            f,
            "{} lost, {} twice, {} not the fleet's",
            grouped(result.lost),
            grouped(result.duplicates),
            grouped(result.foreign)
        )?;
        match result.operator_stayed {
            true => Ok(()),
            false => writeln!(f, "the operator was cut off before the end"),
        }
    }
}
