//! Refusals that cost nothing to cause, counted instead of stored.
//!
//! A stranger must not be able to fill the disk or an operator's screen. So
//! what was not proved is only counted, by source and reason, in bounded
//! memory; what was proved is written down, but folded to one event a minute
//! for each device and reason.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::clones::CloneSignal;
use crate::identity::{FeedId, ProductId, Serial};
use crate::operator::OperatorName;
use crate::refusal::Refusal;
use crate::source::Source;

/// Pairs of source and reason that are told apart between two reports.
const PAIRS: usize = 1024;
/// Unknown serials near to a registered one that are told apart between two reports.
const NEAR: usize = 64;
/// Subjects whose repeated refusals are being folded.
const FOLDED: usize = 65_536;
/// One durable event for each subject and reason in this time.
const FOLD: Duration = Duration::from_secs(60);

/// Refusals since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Counts by source and reason, the most frequent first.
    pub refusals: Vec<TallyEntry>,
    /// Refusals from sources that there was no room to tell apart.
    pub other: u64,
    /// Unknown serials that are nearly a registered one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearMiss>,
}

/// An unknown serial that is nearly a registered one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// From where it came.
    pub source: Source,
    /// The serial that no device has.
    pub tried: Serial,
    /// The one that a device has.
    pub registered: Serial,
    /// The product of that device.
    pub product_id: ProductId,
}

/// One line of a [`Tally`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TallyEntry {
    /// From where.
    pub source: Source,
    /// Why.
    pub refusal: Refusal,
    /// How often.
    pub count: u64,
}

#[derive(Debug, Default)]
pub(in crate::provision) struct Refusals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    pairs: HashMap<(Source, Refusal), u64>,
    other: u64,
    near: Vec<NearMiss>,
}

impl Refusals {
    pub(in crate::provision) fn count(&self, source: IpAddr, refusal: Refusal) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = counts.pairs.len() < PAIRS;
        let pair = (Source::from(source), refusal);
        match counts.pairs.get_mut(&pair) {
            Some(count) => *count += 1,
            None if room => {
                counts.pairs.insert(pair, 1);
            }
            None => counts.other += 1,
        }
    }

    /// Notes an unknown serial that is nearly a registered one.
    pub(in crate::provision) fn count_near(&self, near: NearMiss) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.near.len() < NEAR && !counts.near.contains(&near) {
            counts.near.push(near);
        }
    }

    pub(in crate::provision) fn take(&self) -> Tally {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut refusals: Vec<TallyEntry> = counts
            .pairs
            .into_iter()
            .map(|((source, refusal), count)| TallyEntry {
                source,
                refusal,
                count,
            })
            .collect();
        refusals.sort_by_key(|entry| (std::cmp::Reverse(entry.count), entry.source, entry.refusal));
        Tally {
            refusals,
            other: counts.other,
            near: counts.near,
        }
    }
}

/// Reasons for which something was refused, counted for the log by source.
#[derive(Debug, Default)]
pub(in crate::provision) struct Reasons(Mutex<HashMap<(Source, &'static str), u64>>);

/// How often something was refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// From where.
    pub source: Source,
    /// The name of a refusal or of a cause.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

impl Reasons {
    pub(in crate::provision) fn count(&self, source: IpAddr, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (Source::from(source), reason);
        if counts.len() < PAIRS || counts.contains_key(&pair) {
            *counts.entry(pair).or_default() += 1;
        }
    }

    /// The counts since the last call, the most frequent first.
    pub(in crate::provision) fn take(&self) -> Vec<ReasonCount> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reasons: Vec<ReasonCount> = counts
            .into_iter()
            .map(|((source, reason), count)| ReasonCount {
                source,
                reason,
                count,
            })
            .collect();
        reasons.sort_by_key(|it| (std::cmp::Reverse(it.count), it.source, it.reason));
        reasons
    }
}

/// Whom a folded event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::provision) enum Folding {
    Device(FeedId, Refusal),
    Clone(FeedId, CloneSignal),
    Licence(FeedId),
    Mail(FeedId),
    Operator(OperatorName),
    /// Events that could not be written.
    Unwritten,
    /// Facts of a board that have changed.
    Board(FeedId),
    /// Devices of a product that fetch credentials over and over.
    Product(ProductId),
}

/// When each subject last had a durable event, and how many were held back
/// since.
#[derive(Debug, Default)]
pub(in crate::provision) struct Folded(Mutex<HashMap<Folding, (Timestamp, u64)>>);

impl Folded {
    /// How many refusals the next event stands for, if it is time for one.
    /// Where there is no room to remember, there is no event either.
    pub(in crate::provision) fn due(&self, subject: Folding, now: Timestamp) -> Option<u64> {
        let mut folded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if folded.len() >= FOLDED && !folded.contains_key(&subject) {
            folded.retain(|_, (last, held)| *held > 0 || now.apart(*last) < FOLD);
            if folded.len() >= FOLDED {
                return None;
            }
        }
        match folded.get_mut(&subject) {
            Some((last, held)) if now.apart(*last) < FOLD => {
                *held += 1;
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1 + 1),
            None => {
                folded.insert(subject, (now, 0));
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_bounded_and_taken_once() {
        let refusals = Refusals::default();
        let total = PAIRS as u32 + 10;
        for n in 0..total {
            refusals.count(IpAddr::from(n.to_be_bytes()), Refusal::WrongCode);
        }
        refusals.count(IpAddr::from([0, 0, 0, 0]), Refusal::WrongCode);
        let tally = refusals.take();
        assert_eq!((tally.refusals.len(), tally.other), (PAIRS, 10));
        assert_eq!(tally.refusals[0].count, 2, "the most frequent first");
        assert_eq!(refusals.take(), Tally::default());
    }

    #[test]
    fn one_event_a_minute_counts_the_rest() {
        let folded = Folded::default();
        let subject = Folding::Device(FeedId::new(1).expect("valid"), Refusal::Revoked);
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        assert_eq!(folded.due(subject.clone(), at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(folded.due(subject.clone(), at(second)), None);
        }
        assert_eq!(folded.due(subject.clone(), at(60)), Some(60));
        let other = Folding::Device(FeedId::new(1).expect("valid"), Refusal::Suspended);
        assert_eq!(folded.due(other, at(60)), Some(1));
        // A clock that was a year ahead, and was set right: nothing is held.
        assert_eq!(folded.due(subject.clone(), at(31_536_000)), Some(1));
        assert_eq!(folded.due(subject.clone(), at(31_536_001)), None);
        assert_eq!(folded.due(subject.clone(), at(70)), Some(2));
        assert_eq!(folded.due(subject, at(71)), None);
    }
}
