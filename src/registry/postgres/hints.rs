//! Telling other servers, and reading what they told.
//!
//! Hints are gathered for a moment and sent as notifications, each with the
//! name of its server, because the database sends them to their sender, too.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use deadpool_postgres::Pool;
use tokio::sync::mpsc;

use super::HINTS_CHANNEL;
use super::lease::{Lease, said, unavailable, within};
use crate::registry::{Hint, RegistryError};

/// How many hints may wait to be sent; those behind are lost.
const QUEUE: usize = 8192;
/// How long hints wait for others.
const GATHER: Duration = Duration::from_millis(4);
/// So many go into one notification, which is 8,000 bytes at most: a hint is
/// 16 bytes or fewer, a third more as text.
const CHUNK: usize = 256;

/// Where hints are put that are to be sent.
#[derive(Debug)]
pub(super) struct Teller {
    queue: mpsc::Sender<Hint>,
    lost: Arc<AtomicBool>,
}

impl Teller {
    /// Starts the task that sends them. It ends with the teller.
    pub(super) fn spawn(pool: Pool, id: Arc<str>) -> Self {
        let (queue, hints) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        tokio::spawn(pass_on(pool, id, hints, Arc::clone(&lost)));
        Self { queue, lost }
    }

    pub(super) fn tell(&self, hint: Hint) {
        if self.queue.try_send(hint).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

async fn pass_on(pool: Pool, id: Arc<str>, mut queue: mpsc::Receiver<Hint>, lost: Arc<AtomicBool>) {
    while let Some(first) = queue.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut seen = HashSet::from([first]);
        let mut hints = vec![first];
        while hints.len() < QUEUE {
            let Ok(hint) = queue.try_recv() else { break };
            if seen.insert(hint) {
                hints.push(hint);
            }
        }
        if lost.swap(false, Ordering::Relaxed) {
            hints.insert(0, Hint::Missed);
        }
        for chunk in hints.chunks(CHUNK) {
            if let Err(error) = send(&pool, &id, chunk).await {
                tracing::debug!(%error, "hints for other servers are lost");
                lost.store(true, Ordering::Relaxed);
            }
        }
    }
}

async fn send(pool: &Pool, id: &str, hints: &[Hint]) -> Result<(), RegistryError> {
    let payload = write(id, hints)?;
    let lease = Lease::take(pool).await?;
    let told = async {
        let notify = lease.prepare_cached("SELECT pg_notify($1, $2)").await?;
        lease.query(&notify, &[&HINTS_CHANNEL, &payload]).await
    };
    let told = within(told).await?;
    told.map_err(|error| unavailable(&said(&error)))?;
    lease.give_back();
    Ok(())
}

fn write(id: &str, hints: &[Hint]) -> Result<String, RegistryError> {
    let bytes = postcard::to_allocvec(hints).map_err(|error| unavailable(&error.to_string()))?;
    Ok(format!("{id} {}", BASE64_STANDARD_NO_PAD.encode(bytes)))
}

/// What a notification says to the server of this name. One that another
/// version wrote says at least that something was missed.
pub(super) fn read(own: &str, payload: &str) -> impl Iterator<Item = Hint> + use<> {
    let said = match payload.split_once(' ') {
        Some((id, _)) if id == own => Vec::new(),
        Some((_, body)) => decode(body).unwrap_or_else(|| vec![Hint::Missed]),
        None => vec![Hint::Missed],
    };
    said.into_iter()
}

fn decode(body: &str) -> Option<Vec<Hint>> {
    let bytes = BASE64_STANDARD_NO_PAD.decode(body).ok()?;
    postcard::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::identity::FeedId;

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    #[test]
    fn notifications_are_short_and_read_by_others() {
        let feed = FeedId::new(FeedId::MAX).expect("valid");
        let largest = Hint::Session {
            feed,
            began: Timestamp::from_millis(u64::MAX),
        };
        let hints = vec![largest; CHUNK];
        let payload = write(ID, &hints).expect("written");
        assert!(payload.len() < 8000, "{}", payload.len());
        assert_eq!(read("another", &payload).collect::<Vec<_>>(), hints);
        assert_eq!(read(ID, &payload).count(), 0, "it is its own");
    }

    #[test]
    fn what_cannot_be_read_was_missed() {
        for payload in ["", "x", "x !", "x AAAA BBBB", "x /////w"] {
            let heard: Vec<Hint> = read(ID, payload).collect();
            assert_eq!(heard, [Hint::Missed], "{payload:?}");
        }
    }
}
