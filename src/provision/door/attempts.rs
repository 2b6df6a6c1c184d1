//! The last failures of each known device, for `device explain`.
//!
//! Bounded memory: a fixed number of devices, a few failures each; what is
//! used least is forgotten first. Successes are not kept here, the registry
//! has them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Detail};
use crate::clock::Timestamp;
use crate::identity::{DeviceName, FeedId};
use crate::refusal::Refusal;
use crate::secret::CodeDigest;

/// Devices that failures are kept for.
const DEVICES: usize = 16_384;
/// Codes that nobody has which are remembered.
const CODES: usize = 4096;
/// Serials that no device has which are remembered.
const STRANGERS: usize = 4096;
/// Refusals kept for each.
const EACH: usize = 8;
/// Problems kept for each device.
const PROBLEMS: usize = 6;

/// One refusal, as an operator may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAttempt {
    /// When it last happened.
    pub at: Timestamp,
    /// From where.
    pub source: IpAddr,
    /// Why.
    pub refusal: Refusal,
    /// How often in a row.
    pub count: u64,
    /// The exact mistake, where it could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One more clause about the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Detail,
}

/// Something that went wrong after a device was let in, as an operator may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionProblem {
    /// When it last happened.
    pub at: Timestamp,
    /// From where.
    pub source: IpAddr,
    /// The exact mistake.
    pub cause: Cause,
    /// One more clause about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Detail,
    /// How often.
    pub count: u64,
}

/// A precise cause with its clause.
pub(in crate::provision) type Finding = (Cause, Detail);

#[derive(Debug, Default)]
struct Failures {
    refused: Vec<RefusedAttempt>,
    problems: Vec<SessionProblem>,
}

type Recent = Arc<Mutex<Failures>>;

pub(in crate::provision) struct Attempts {
    recent: Cache<FeedId, Recent>,
    /// Codes that nobody has, which came without a serial.
    codes: Cache<CodeDigest, Recent>,
    /// Serials that no device has.
    strangers: Cache<DeviceName, Recent>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            recent: Cache::new(DEVICES),
            codes: Cache::new(CODES),
            strangers: Cache::new(STRANGERS),
        }
    }
}

impl Attempts {
    /// Keeps a refusal; one that repeats the last is counted, not added.
    pub(in crate::provision) fn keep(
        &self,
        feed: FeedId,
        source: IpAddr,
        refusal: Refusal,
        at: Timestamp,
    ) {
        let Ok(recent) = self.recent.get_or_insert_with(&feed, empty);
        lock(&recent).refuse(source, refusal, None, at);
    }

    /// Keeps a refusal whose exact cause was found out. One of the same kind
    /// that was kept without a cause when it happened is this one.
    pub(in crate::provision) fn explain(
        &self,
        feed: FeedId,
        source: IpAddr,
        refusal: Refusal,
        found: Finding,
        at: Timestamp,
    ) {
        let Ok(recent) = self.recent.get_or_insert_with(&feed, empty);
        let mut recent = lock(&recent);
        recent.forget_one(source, refusal);
        recent.refuse(source, refusal, Some(found), at);
    }

    /// Keeps what went wrong in a device's session, folded by source and cause.
    pub(in crate::provision) fn keep_problem(
        &self,
        feed: FeedId,
        source: IpAddr,
        (cause, detail): Finding,
        at: Timestamp,
    ) {
        let Ok(recent) = self.recent.get_or_insert_with(&feed, empty);
        let mut recent = lock(&recent);
        let problems = &mut recent.problems;
        let same = |it: &SessionProblem| it.source == source && it.cause == cause;
        // The latest stands last.
        let count = match problems.iter().position(same) {
            Some(index) => problems.remove(index).count,
            None if problems.len() == PROBLEMS => {
                problems.remove(0);
                0
            }
            None => 0,
        };
        problems.push(SessionProblem {
            at,
            source,
            cause,
            detail,
            count: count + 1,
        });
    }

    /// Keeps that a code was shown which nobody has.
    pub(in crate::provision) fn keep_code(&self, code: CodeDigest, source: IpAddr, at: Timestamp) {
        let Ok(recent) = self.codes.get_or_insert_with(&code, empty);
        // What it would be, if a device turns out to be meant.
        lock(&recent).refuse(source, Refusal::CodeFromTextSecret, None, at);
    }

    /// Keeps that a serial was tried which no device has.
    pub(in crate::provision) fn keep_stranger(
        &self,
        name: &DeviceName,
        source: IpAddr,
        refusal: Refusal,
        at: Timestamp,
    ) {
        let Ok(recent) = self.strangers.get_or_insert_with(name, empty);
        lock(&recent).refuse(source, refusal, None, at);
    }

    /// What is remembered of a serial that no device has.
    pub(in crate::provision) fn of_stranger(&self, name: &DeviceName) -> Vec<RefusedAttempt> {
        let found = self.strangers.get(name);
        found.map_or_else(Vec::new, |it| lock(&it).refused.clone())
    }

    /// What is remembered of a code that nobody has.
    pub(in crate::provision) fn of_code(&self, code: &CodeDigest) -> Vec<RefusedAttempt> {
        let found = self.codes.get(code);
        found.map_or_else(Vec::new, |it| lock(&it).refused.clone())
    }

    /// What is remembered of a device's refusals, the oldest first.
    pub(in crate::provision) fn of(&self, feed: FeedId) -> Vec<RefusedAttempt> {
        let found = self.recent.get(&feed);
        found.map_or_else(Vec::new, |it| lock(&it).refused.clone())
    }

    /// What is remembered of a device's sessions, the oldest first.
    pub(in crate::provision) fn problems_of(&self, feed: FeedId) -> Vec<SessionProblem> {
        let found = self.recent.get(&feed);
        found.map_or_else(Vec::new, |it| lock(&it).problems.clone())
    }
}

fn empty() -> Result<Recent, Infallible> {
    Ok(Recent::default())
}

fn lock(recent: &Recent) -> std::sync::MutexGuard<'_, Failures> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Failures {
    fn refuse(&mut self, source: IpAddr, refusal: Refusal, found: Option<Finding>, at: Timestamp) {
        let (cause, detail) = found.map_or((None, None), |(cause, detail)| (Some(cause), detail));
        match self.refused.last_mut() {
            Some(last) if (last.source, last.refusal, last.cause) == (source, refusal, cause) => {
                last.at = at;
                last.count += 1;
                last.detail = detail;
            }
            _ => {
                if self.refused.len() == EACH {
                    self.refused.remove(0);
                }
                self.refused.push(RefusedAttempt {
                    at,
                    source,
                    refusal,
                    count: 1,
                    cause,
                    detail,
                });
            }
        }
    }

    /// Takes back one refusal that was kept without its cause.
    fn forget_one(&mut self, source: IpAddr, refusal: Refusal) {
        let plain =
            |it: &RefusedAttempt| (it.source, it.refusal, it.cause) == (source, refusal, None);
        if let Some(index) = self.refused.iter().rposition(plain) {
            self.refused[index].count -= 1;
            if self.refused[index].count == 0 {
                self.refused.remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn keeps_the_last_few_and_counts_repeats() {
        let attempts = Attempts::default();
        let feed = FeedId::new(1).expect("valid");
        for n in 0..3 {
            attempts.keep(feed, HERE, Refusal::WrongCode, at(n));
        }
        let kept = attempts.of(feed);
        assert_eq!((kept.len(), kept[0].count), (1, 3));
        assert_eq!(kept[0].at, at(2));

        for n in 0..20 {
            let refusal = Refusal::ALL[n % 2];
            attempts.keep(feed, HERE, refusal, at(100 + n as u64));
        }
        let kept = attempts.of(feed);
        assert_eq!(kept.len(), EACH);
        assert_eq!(kept[EACH - 1].at, at(119));
        assert!(attempts.of(FeedId::new(2).expect("valid")).is_empty());
    }

    #[test]
    fn a_cause_replaces_the_refusal_without_one() {
        let attempts = Attempts::default();
        let feed = FeedId::new(1).expect("valid");
        for n in 0..2 {
            attempts.keep(feed, HERE, Refusal::WrongCode, at(n));
        }
        for n in 0..2 {
            let found = (Cause::CodeOfOtherSpelling, None);
            attempts.explain(feed, HERE, Refusal::WrongCode, found, at(n));
        }
        let kept = attempts.of(feed);
        assert_eq!((kept.len(), kept[0].count), (1, 2));
        assert_eq!(kept[0].cause, Some(Cause::CodeOfOtherSpelling));
    }

    #[test]
    fn problems_are_folded_and_bounded() {
        let attempts = Attempts::default();
        let feed = FeedId::new(1).expect("valid");
        for n in 0..30 {
            let cause = Cause::ALL[n % 3];
            attempts.keep_problem(feed, HERE, (cause, None), at(n as u64));
        }
        let kept = attempts.problems_of(feed);
        assert_eq!(kept.iter().map(|it| it.count).collect::<Vec<_>>(), [10; 3]);
        assert_eq!(kept[2].at, at(29), "the latest stands last");
        for cause in Cause::ALL {
            attempts.keep_problem(feed, HERE, (*cause, None), at(40));
        }
        assert_eq!(attempts.problems_of(feed).len(), PROBLEMS);
    }
}
