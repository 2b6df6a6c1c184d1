//! Passing hints on to other servers, and taking in theirs.
//!
//! Hints are gathered for a moment and sent as notifications, outside of any
//! batch: a queue of notifications that somebody has filled, or locked, keeps
//! no write from being committed.

mod exchange;
mod letter;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::future::{self, Either};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

pub(super) use self::exchange::Exchange;
use self::exchange::{Arrival, Wish};
use super::lease::{Lease, said, unavailable, within};
use super::{HINTS_CHANNEL, Shared, place};
use crate::registry::{Hint, RegistryError};

/// How many hints may wait to be sent; those behind are lost.
const QUEUE: usize = 8192;
/// How long hints wait for others, if some were sent just before.
const GATHER: Duration = Duration::from_millis(4);
/// How often the database is asked what is newest, whatever was heard.
const POLL: Duration = Duration::from_millis(500);
/// How often it is asked at most.
const PACE: Duration = Duration::from_millis(5);
/// Regular looks between two complaints about notifications that were dropped.
const QUIET: u32 = 120;

/// Where hints are put that are to be sent.
#[derive(Debug)]
pub(super) struct Teller {
    queue: mpsc::Sender<Hint>,
    lost: Arc<AtomicBool>,
}

impl Teller {
    /// Starts the task that sends them. It ends with the teller.
    pub(super) fn spawn(shared: Arc<Shared>) -> Self {
        let (queue, hints) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        tokio::spawn(pass_on(shared, hints, Arc::clone(&lost)));
        Self { queue, lost }
    }

    pub(super) fn tell(&self, hint: Hint) {
        if self.queue.try_send(hint).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

async fn pass_on(shared: Arc<Shared>, mut queue: mpsc::Receiver<Hint>, lost: Arc<AtomicBool>) {
    // The first goes at once; those that follow it closely wait for each other.
    let mut pace = paced(GATHER);
    loop {
        let news = pin!(shared.news.notified());
        let first = match future::select(pin!(queue.recv()), news).await {
            Either::Left((Some(hint), _)) => Some(hint),
            Either::Left((None, _)) => return,
            Either::Right(_) => None,
        };
        pace.tick().await;
        let mut gathered = Gathered::default();
        if lost.swap(false, Ordering::Relaxed) {
            gathered.add(&Hint::Missed);
        }
        first.iter().for_each(|hint| gathered.add(hint));
        for _ in 1..QUEUE {
            let Ok(hint) = queue.try_recv() else { break };
            gathered.add(&hint);
        }
        let mut events = shared.has_news.swap(false, Ordering::AcqRel);
        if events && gathered.chunks.is_empty() {
            gathered.chunks.push(Vec::new());
        }
        for chunk in gathered.chunks {
            let Some(letter) = shared.exchange.seal(events, chunk) else {
                continue;
            };
            events = false;
            if let Err(error) = send(&shared.pool, &letter).await {
                tracing::debug!(%error, "hints for other servers are lost");
                lost.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Ticks at once, and then not more often than this.
fn paced(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Hints in as many chunks as they need, one behind the other in each.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Vec<u8>>,
    seen: HashSet<Vec<u8>>,
}

impl Gathered {
    /// Adds one. What was said is not said again, but for messages: each is
    /// one of its own.
    fn add(&mut self, hint: &Hint) {
        let Ok(bytes) = postcard::to_allocvec(hint) else {
            return;
        };
        if bytes.len() > letter::ROOM {
            tracing::debug!(bytes = bytes.len(), "a hint for other servers is too long");
            return;
        }
        match self.chunks.last_mut() {
            _ if !matches!(hint, Hint::Message { .. }) && !self.seen.insert(bytes.clone()) => {}
            Some(chunk) if chunk.len() + bytes.len() <= letter::ROOM => chunk.extend(bytes),
            _ => self.chunks.push(bytes),
        }
    }
}

async fn send(pool: &Pool, letter: &str) -> Result<(), RegistryError> {
    let lease = Lease::take(pool).await?;
    let told = async {
        let notify = lease.prepare_cached("SELECT pg_notify($1, $2)").await?;
        lease.query(&notify, &[&HINTS_CHANNEL, &letter]).await
    };
    let told = within(told).await?;
    told.map_err(|error| unavailable(&said(&error)))?;
    lease.give_back();
    Ok(())
}

/// Takes in a notification, whoever it is of.
pub(super) fn take_in(payload: &str, shared: &Shared) {
    match shared.exchange.open(payload) {
        Arrival::Nothing => {}
        Arrival::Unknown => {
            // Whoever repeats old letters makes nobody look all the time.
            if !shared.is_curious.swap(true, Ordering::AcqRel) {
                shared.look.notify_one();
            }
        }
        Arrival::Letter { events, hints } => {
            if events {
                shared.look.notify_one();
            }
            // Nobody may be listening.
            hints
                .into_iter()
                .for_each(|hint| drop(shared.hints.send(hint)));
        }
    }
}

/// Asks the database what is newest for as long as the registry is open, now
/// and then, and when another server says that there is something.
pub(super) async fn look(shared: Arc<Shared>) {
    let (mut regular, mut pace) = (paced(POLL), paced(PACE));
    let mut complaints = Complaints::default();
    loop {
        let woken = pin!(shared.look.notified());
        let is_regular = match future::select(pin!(regular.tick()), woken).await {
            Either::Left(_) => true,
            Either::Right(_) => false,
        };
        pace.tick().await;
        look_once(&shared).await;
        if is_regular {
            shared.exchange.settle();
            shared.is_curious.store(false, Ordering::Release);
            complaints.consider(shared.exchange.dropped());
        }
    }
}

async fn look_once(shared: &Shared) {
    let before = *shared.newest.borrow();
    let wish = shared
        .exchange
        .wants_epoch()
        .filter(|_| shared.is_present());
    let read = match wish {
        Some(_) => place::renew(&shared.pool).await,
        None => place::read(&shared.pool).await,
    };
    let (counters, place) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%error, "what is newest is not known");
            return;
        }
    };
    match wish {
        Some(wish) => begin(shared, wish, place),
        None if shared.exchange.learn(place) => drop(shared.hints.send(Hint::Missed)),
        None => {}
    }
    if counters.newest_event < before {
        let now = counters.newest_event;
        tracing::error!(before, now, "the database has lost what was committed");
        shared.newest.send_replace(now);
    } else {
        shared.advance(counters.newest_event);
    }
}

/// The others learn of the epoch from a letter that names it. What they said
/// before was not taken.
fn begin(shared: &Shared, wish: Wish, place: place::Place) {
    if shared.exchange.begin(wish, place) {
        shared.announce();
        drop(shared.hints.send(Hint::Missed));
    }
}

/// One line of the log for many notifications that were dropped.
#[derive(Default)]
struct Complaints {
    told: u64,
    quiet: u32,
}

impl Complaints {
    fn consider(&mut self, dropped: u64) {
        self.quiet = self.quiet.saturating_sub(1);
        if self.quiet == 0 && dropped > self.told {
            tracing::warn!(
                count = dropped - self.told,
                channel = HINTS_CHANNEL,
                "notifications that no server of this registry has sent were dropped: another \
                 role may connect to the database"
            );
            (self.told, self.quiet) = (dropped, QUIET);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clones::Peer;
    use crate::identity::FeedId;
    use crate::mailbox::{Mail, Resume};
    use crate::topic::{Limits, TopicName};

    fn count(chunks: &[Vec<u8>]) -> usize {
        let each = chunks.iter().map(|chunk| {
            assert!(chunk.len() <= letter::ROOM, "{}", chunk.len());
            let (mut rest, mut count) = (chunk.as_slice(), 0);
            while !rest.is_empty() {
                rest = postcard::take_from_bytes::<Hint>(rest).expect("whole").1;
                count += 1;
            }
            count
        });
        each.sum()
    }

    #[test]
    fn many_hints_go_into_several_notifications() {
        let mut gathered = Gathered::default();
        for number in 1..=2000 {
            gathered.add(&Hint::Session {
                feed: FeedId::new(FeedId::MAX - number).expect("valid"),
                began: u64::MAX,
                resume: Resume::Yes,
                peer: Peer {
                    source: [0xff; 16].into(),
                    client_id: "x".repeat(64),
                },
            });
        }
        assert!(gathered.chunks.len() > 1);
        assert_eq!(count(&gathered.chunks), 2000);
    }

    #[test]
    fn a_hint_is_said_once_and_a_message_each_time() {
        let feed = FeedId::new(1).expect("valid");
        let topic = TopicName::parse("feeds/1/commands/x", Limits::DEVICE).expect("valid");
        let message = |bytes| Hint::Message {
            feed,
            mail: Mail {
                topic: topic.clone(),
                expires_at: None,
                retained: false,
                content: vec![0; bytes],
            },
        };
        let mail = Hint::Mail { feed };
        let (fits, too_long) = (message(Hint::CONTENT), message(letter::ROOM));
        let mut gathered = Gathered::default();
        for hint in [&mail, &fits, &mail, &too_long, &fits] {
            gathered.add(hint);
        }
        assert_eq!(count(&gathered.chunks), 3);
    }

    #[test]
    fn complaints_are_folded() {
        let mut complaints = Complaints::default();
        complaints.consider(0);
        assert_eq!((complaints.told, complaints.quiet), (0, 0));
        complaints.consider(7);
        assert_eq!((complaints.told, complaints.quiet), (7, QUIET));
        for dropped in 8..7 + u64::from(QUIET) {
            complaints.consider(dropped);
            assert_eq!(complaints.told, 7);
        }
        complaints.consider(500);
        assert_eq!(complaints.told, 500);
    }
}
