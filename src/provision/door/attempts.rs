//! The last refusals of each known device, for `device explain`.
//!
//! Bounded memory: a fixed number of devices, a few attempts each; what is
//! used least is forgotten first. Successes are not kept here, the registry
//! has them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::FeedId;
use crate::refusal::Refusal;
use crate::secret::CodeDigest;

/// Devices that attempts are kept for.
const DEVICES: usize = 16_384;
/// Codes that nobody has which are remembered.
const CODES: usize = 4096;
/// Attempts kept for each.
const EACH: usize = 8;

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
}

type Recent = Arc<Mutex<Vec<RefusedAttempt>>>;

pub(in crate::provision) struct Attempts {
    recent: Cache<FeedId, Recent>,
    /// Codes that nobody has, which came without a serial.
    codes: Cache<CodeDigest, Recent>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            recent: Cache::new(DEVICES),
            codes: Cache::new(CODES),
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
        note(&recent, source, refusal, at);
    }

    /// Keeps that a code was shown which nobody has.
    pub(in crate::provision) fn keep_code(&self, code: CodeDigest, source: IpAddr, at: Timestamp) {
        let Ok(recent) = self.codes.get_or_insert_with(&code, empty);
        // What it would be, if a device turns out to be meant.
        note(&recent, source, Refusal::CodeFromTextSecret, at);
    }

    /// What is remembered of a code that nobody has.
    pub(in crate::provision) fn of_code(&self, code: &CodeDigest) -> Vec<RefusedAttempt> {
        self.codes.get(code).map_or_else(Vec::new, |it| copy(&it))
    }

    /// What is remembered of a device, the oldest first.
    pub(in crate::provision) fn of(&self, feed: FeedId) -> Vec<RefusedAttempt> {
        self.recent.get(&feed).map_or_else(Vec::new, |it| copy(&it))
    }
}

fn empty() -> Result<Recent, Infallible> {
    Ok(Recent::default())
}

fn copy(recent: &Recent) -> Vec<RefusedAttempt> {
    let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
    recent.clone()
}

fn note(recent: &Recent, source: IpAddr, refusal: Refusal, at: Timestamp) {
    let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
    match recent.last_mut() {
        Some(last) if (last.source, last.refusal) == (source, refusal) => {
            last.at = at;
            last.count += 1;
        }
        _ => {
            if recent.len() == EACH {
                recent.remove(0);
            }
            recent.push(RefusedAttempt {
                at,
                source,
                refusal,
                count: 1,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_few_and_counts_repeats() {
        let attempts = Attempts::default();
        let feed = FeedId::new(1).expect("valid");
        let here = IpAddr::from([127, 0, 0, 1]);
        for n in 0..3 {
            attempts.keep(feed, here, Refusal::WrongCode, Timestamp::from_millis(n));
        }
        let kept = attempts.of(feed);
        assert_eq!((kept.len(), kept[0].count), (1, 3));
        assert_eq!(kept[0].at, Timestamp::from_millis(2));

        for n in 0..20 {
            let refusal = Refusal::ALL[n % 2];
            attempts.keep(feed, here, refusal, Timestamp::from_millis(100 + n as u64));
        }
        let kept = attempts.of(feed);
        assert_eq!(kept.len(), EACH);
        assert_eq!(kept[EACH - 1].at, Timestamp::from_millis(119));
        assert!(attempts.of(FeedId::new(2).expect("valid")).is_empty());
    }
}
