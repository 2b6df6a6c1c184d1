//! The half of a report that says what came of it.

use std::collections::BTreeMap;
use std::iter::Sum;

use hdrhistogram::Histogram;
use rustls::HandshakeKind;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::record::Phase;
use crate::stream::Stream;

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

/// TLS handshakes by how they came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Handshakes {
    /// With certificate and signature.
    pub full: u64,
    /// With a ticket from an earlier one.
    pub resumed: u64,
}

impl Handshakes {
    /// Adds that of `stream`, if it has one.
    pub(crate) fn count(&mut self, stream: &Stream) {
        match stream.handshake() {
            None => {}
            Some(HandshakeKind::Resumed) => self.resumed += 1,
            Some(_) => self.full += 1,
        }
    }
}

impl Sum for Handshakes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            full: sum.full + one.full,
            resumed: sum.resumed + one.resumed,
        })
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
