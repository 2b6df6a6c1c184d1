//! Whether two take one identity from each other.
//!
//! A device that roams comes from a new address and does not return to the old
//! one; a device that restarts may call itself anew. Only one that was
//! displaced, and takes its place back at once, was there all along.

use std::net::IpAddr;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use super::{CloneSignal, Evidence};
use crate::clock::Timestamp;
use crate::hardware::FactSet;
use crate::identity::FeedId;

/// Devices that somebody was displaced from lately; beyond that the longest
/// unheard of is forgotten.
const DEVICES: usize = 16_384;
/// Who comes back later than that may have had another reason.
const AT_ONCE: Duration = Duration::from_secs(60);
/// Over this time returns are counted.
const MEMORY: Duration = Duration::from_secs(600);
/// Returns to an address that are no accident of roaming.
const REPEATEDLY: usize = 2;
/// Displaced peers that are remembered of a device.
const DISPLACED: usize = 4;

/// One end of a connection with a device's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where it comes from.
    pub source: IpAddr,
    /// What it calls itself.
    pub client_id: String,
}

/// A session of a device that ended an older one that was still open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The one whose session was ended.
    pub from: Peer,
    /// The one that took its place.
    pub to: Peer,
}

/// What is remembered of takeovers, for as many devices as fit.
#[derive(Debug)]
pub(crate) struct Rivals(Cache<FeedId, Rivalry>);

impl Default for Rivals {
    fn default() -> Self {
        Self(Cache::new(DEVICES))
    }
}

#[derive(Clone, Debug, Default)]
struct Rivalry {
    /// The newest last.
    displaced: Vec<(Peer, Timestamp)>,
    /// When somebody came back to its address.
    returns: Vec<Timestamp>,
}

impl Rivals {
    /// Takes in a takeover, and says what it looks like.
    pub(crate) fn judge(
        &self,
        feed: FeedId,
        takeover: &Takeover,
        now: Timestamp,
    ) -> Option<(CloneSignal, Evidence)> {
        let mut rivalry = self.0.get(&feed).unwrap_or_default();
        let signal = rivalry.judge(takeover, now);
        self.0.insert(feed, rivalry);
        let Takeover { from, to } = takeover;
        let evidence = Evidence {
            source: to.source,
            other: Some(from.source),
            facts: FactSet::default(),
            client_ids: vec![from.client_id.clone(), to.client_id.clone()],
        };
        signal.map(|signal| (signal, evidence))
    }
}

impl Rivalry {
    fn judge(&mut self, takeover: &Takeover, now: Timestamp) -> Option<CloneSignal> {
        let Takeover { from, to } = takeover;
        self.displaced
            .retain(|(_, when)| now.apart(*when) <= AT_ONCE);
        self.returns.retain(|when| now.apart(*when) <= MEMORY);
        let displaced = |is_it: fn(&Peer, &Peer) -> bool| {
            self.displaced.iter().any(|(peer, _)| is_it(peer, to))
        };
        let client_returned =
            from.client_id != to.client_id && displaced(|peer, to| peer.client_id == to.client_id);
        let address_returned =
            from.source != to.source && displaced(|peer, to| peer.source == to.source);
        if self.displaced.len() == DISPLACED {
            self.displaced.remove(0);
        }
        self.displaced.push((from.clone(), now));
        if address_returned {
            self.returns.push(now);
        }
        if client_returned {
            return Some(CloneSignal::TwoClientIds);
        }
        let fought = address_returned && self.returns.len() >= REPEATEDLY;
        fought.then_some(CloneSignal::TwoAddresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId::FIRST;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    /// Each step: when, and who takes over from the one before.
    fn check(steps: &[(u64, u8, &str)], expected: Option<CloneSignal>) {
        let rivals = Rivals::default();
        let peer = |last: u8, client_id: &str| Peer {
            source: IpAddr::from([10, 0, 0, last]),
            client_id: client_id.to_owned(),
        };
        let mut found = None;
        for pair in steps.windows(2) {
            let [(_, from, from_id), (when, to, to_id)] = pair else {
                unreachable!("windows of two");
            };
            let takeover = Takeover {
                from: peer(*from, from_id),
                to: peer(*to, to_id),
            };
            let judged = rivals.judge(FEED, &takeover, at(*when));
            found = found.or(judged.map(|(signal, _)| signal));
        }
        assert_eq!(found, expected, "{steps:?}");
    }

    #[test]
    fn roaming_raises_nothing() {
        check(&[(0, 1, "d"), (10, 2, "d"), (20, 3, "d")], None);
        check(&[(0, 1, "d"), (5, 2, "d"), (10, 1, "d")], None);
        // Home and out again, over a day.
        check(
            &[
                (0, 1, "d"),
                (3000, 2, "d"),
                (6000, 1, "d"),
                (9000, 2, "d"),
                (12_000, 1, "d"),
            ],
            None,
        );
    }

    #[test]
    fn restarting_raises_nothing() {
        check(&[(0, 1, "d"), (1, 1, "d"), (2, 1, "d"), (3, 1, "d")], None);
        // Libraries that make up a client id each time.
        check(&[(0, 1, "a"), (1, 1, "b"), (2, 1, "c"), (3, 1, "d")], None);
    }

    #[test]
    fn two_addresses_that_fight_are_seen() {
        check(
            &[(0, 1, "d"), (1, 2, "d"), (2, 1, "d"), (3, 2, "d")],
            Some(CloneSignal::TwoAddresses),
        );
        // Under new names each time.
        check(
            &[(0, 1, "a"), (1, 2, "b"), (2, 1, "c"), (3, 2, "e")],
            Some(CloneSignal::TwoAddresses),
        );
    }

    #[test]
    fn two_client_ids_at_once_are_seen() {
        check(
            &[(0, 1, "app"), (1, 1, "agent"), (2, 1, "app")],
            Some(CloneSignal::TwoClientIds),
        );
        check(&[(0, 1, "app"), (1, 1, "agent"), (100, 1, "app")], None);
    }

    #[test]
    fn the_evidence_names_both() {
        let rivals = Rivals::default();
        let (a, b) = (
            Peer {
                source: IpAddr::from([10, 0, 0, 1]),
                client_id: "app".to_owned(),
            },
            Peer {
                source: IpAddr::from([10, 0, 0, 2]),
                client_id: "agent".to_owned(),
            },
        );
        let there = Takeover {
            from: a.clone(),
            to: b.clone(),
        };
        let back = Takeover { from: b, to: a };
        assert!(rivals.judge(FEED, &there, at(0)).is_none());
        let (signal, evidence) = rivals.judge(FEED, &back, at(1)).expect("a sign");
        assert_eq!(signal, CloneSignal::TwoClientIds);
        assert_eq!(evidence.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(evidence.other, Some(IpAddr::from([10, 0, 0, 2])));
        assert_eq!(evidence.client_ids, ["agent", "app"]);
    }
}
