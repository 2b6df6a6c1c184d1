//! What was seen of each device, and what that makes over a fleet.
//!
//! Times are kept for each device and folded into histograms once, after the
//! storm: recording costs a store, and no histogram is shared or locked.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use firstwake::Serial;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::answer::Credentials;
use crate::outcome::Outcome;
use crate::route::Opened;

/// A stretch of a device's story that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The TCP connection, the first of two where there are two.
    Connect,
    /// The TLS handshake on it.
    Tls,
    /// CONNECT to CONNACK.
    Connack,
    /// SUBSCRIBE, or the request over HTTP, to the answer.
    Answer,
    /// The start of the TCP connection to the answer: all of the above.
    Activation,
    /// The start of the second TCP connection to its CONNACK.
    Confirm,
    /// SUBSCRIBE for the downlink to SUBACK.
    Suback,
    /// The start of the TCP connection to the CONNACK, of a device that came
    /// with its key; to the SUBACK if it subscribed.
    Login,
}

impl Phase {
    /// In the order in which a report lists them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Connack,
        Self::Answer,
        Self::Activation,
        Self::Confirm,
        Self::Suback,
        Self::Login,
    ];
}

/// How long each phase took; `None` for one the device did not finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings([Option<Duration>; Phase::ALL.len()]);

impl Timings {
    /// How long `phase` took.
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Notes what it took to open the first connection.
    pub(crate) fn opened(&mut self, opened: &Opened) {
        self.set(Phase::Connect, opened.connect);
        if let Some(took) = opened.tls {
            self.set(Phase::Tls, took);
        }
    }

    pub(crate) fn set(&mut self, phase: Phase, took: Duration) {
        self.0[phase as usize] = Some(took);
    }
}

/// One device's story.
#[derive(Clone, Debug)]
pub struct DeviceResult {
    /// Who it is.
    pub serial: Serial,
    /// What became of it.
    pub outcome: Outcome,
    /// What it was given, whether or not it could confirm.
    pub credentials: Option<Credentials>,
    /// What it took.
    pub timings: Timings,
}

/// A fleet's results, added up.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) outcomes: BTreeMap<Outcome, u64>,
    pub(crate) activated: u64,
    pub(crate) repeated_feed_ids: u64,
    pub(crate) repeated_keys: u64,
    pub(crate) histograms: BTreeMap<Phase, Histogram<u64>>,
}

impl Record {
    pub(crate) fn of(devices: &[DeviceResult]) -> Self {
        let credentials = || {
            devices
                .iter()
                .filter_map(|device| device.credentials.as_ref())
        };
        Self {
            outcomes: outcomes(devices.iter().map(|device| device.outcome)),
            activated: credentials().map(|_| 1).sum(),
            repeated_feed_ids: repeated(credentials().map(|given| given.feed_id)),
            repeated_keys: repeated(credentials().map(|given| given.key.expose())),
            histograms: histograms(devices.iter().map(|device| &device.timings)),
        }
    }
}

/// How many devices came to which end.
pub(crate) fn outcomes(all: impl Iterator<Item = Outcome>) -> BTreeMap<Outcome, u64> {
    let mut outcomes = BTreeMap::new();
    for outcome in all {
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

/// The times of every phase that some device finished.
pub(crate) fn histograms<'a>(
    all: impl Iterator<Item = &'a Timings>,
) -> BTreeMap<Phase, Histogram<u64>> {
    let mut histograms = BTreeMap::new();
    for timings in all {
        for phase in Phase::ALL {
            if let Some(took) = timings.of(phase) {
                record(histograms.entry(phase).or_insert_with(histogram), took);
            }
        }
    }
    histograms
}

/// How many items are equal to an earlier one.
fn repeated<T: Eq + Hash>(items: impl Iterator<Item = T>) -> u64 {
    let mut seen = HashSet::new();
    items.map(|item| u64::from(!seen.insert(item))).sum()
}

/// For microseconds, to three significant figures.
pub(crate) fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "an hour in microseconds and three figures are bounds that a histogram can have"
    )]
    Histogram::new_with_max(3_600_000_000, 3).expect("these bounds are in range")
}

/// Adds a time; one of more than an hour counts as an hour.
pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::NoConnection;

    #[test]
    fn repetitions_are_counted() {
        let check = |items: &[u32], expected| assert_eq!(repeated(items.iter()), expected);
        check(&[], 0);
        check(&[1, 2, 3], 0);
        check(&[1, 2, 1, 1, 2], 3);
    }

    #[test]
    fn a_phase_counts_only_who_finished_it() {
        let device = |timings| DeviceResult {
            serial: Serial::parse("S1").expect("a serial"),
            outcome: Outcome::Unreachable(NoConnection::Refused),
            credentials: None,
            timings,
        };
        let mut timings = Timings::default();
        timings.set(Phase::Connect, Duration::from_micros(250));
        let record = Record::of(&[device(timings), device(Timings::default())]);
        assert_eq!(
            record.outcomes[&Outcome::Unreachable(NoConnection::Refused)],
            2
        );
        assert_eq!(record.activated, 0);
        let phases: Vec<Phase> = record.histograms.keys().copied().collect();
        assert_eq!(phases, [Phase::Connect]);
        let connect = &record.histograms[&Phase::Connect];
        assert_eq!((connect.len(), connect.max()), (1, 250));
    }
}
