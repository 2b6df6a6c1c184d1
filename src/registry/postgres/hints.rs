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
/// Bytes of hints that go into one notification, which is 8,000 at most: they
/// are a third more as text, and the server's name is before them.
const CHUNK: usize = 5900;

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
        let mut gathered = Gathered::default();
        if lost.swap(false, Ordering::Relaxed) {
            gathered.add(&Hint::Missed);
        }
        gathered.add(&first);
        for _ in 1..QUEUE {
            let Ok(hint) = queue.try_recv() else { break };
            gathered.add(&hint);
        }
        for chunk in gathered.chunks {
            if let Err(error) = send(&pool, &id, &chunk).await {
                tracing::debug!(%error, "hints for other servers are lost");
                lost.store(true, Ordering::Relaxed);
            }
        }
    }
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
        if bytes.len() > CHUNK {
            tracing::debug!(bytes = bytes.len(), "a hint for other servers is too long");
            return;
        }
        match self.chunks.last_mut() {
            _ if !matches!(hint, Hint::Message { .. }) && !self.seen.insert(bytes.clone()) => {}
            Some(chunk) if chunk.len() + bytes.len() <= CHUNK => chunk.extend(bytes),
            _ => self.chunks.push(bytes),
        }
    }
}

async fn send(pool: &Pool, id: &str, chunk: &[u8]) -> Result<(), RegistryError> {
    let payload = write(id, chunk);
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

fn write(id: &str, chunk: &[u8]) -> String {
    format!("{id} {}", BASE64_STANDARD_NO_PAD.encode(chunk))
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
    let mut rest = bytes.as_slice();
    let mut hints = Vec::new();
    while !rest.is_empty() {
        let (hint, behind) = postcard::take_from_bytes(rest).ok()?;
        hints.push(hint);
        rest = behind;
    }
    Some(hints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clones::Peer;
    use crate::identity::FeedId;
    use crate::mailbox::{Mail, Resume};
    use crate::topic::{Limits, TopicName};

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    fn read_all(chunks: &[Vec<u8>]) -> Vec<Hint> {
        let payloads = chunks.iter().map(|chunk| write(ID, chunk));
        let told = payloads.inspect(|payload| assert!(payload.len() < 8000, "{}", payload.len()));
        told.flat_map(|payload| read("another", &payload)).collect()
    }

    #[test]
    fn notifications_are_short_and_read_by_others() {
        let hints: Vec<Hint> = (1..=2000)
            .map(|number| Hint::Session {
                feed: FeedId::new(FeedId::MAX - number).expect("valid"),
                began: u64::MAX,
                resume: Resume::Yes,
                peer: Peer {
                    source: [0xff; 16].into(),
                    client_id: "x".repeat(64),
                },
            })
            .collect();
        let mut gathered = Gathered::default();
        hints.iter().for_each(|hint| gathered.add(hint));
        assert!(gathered.chunks.len() > 1);
        assert_eq!(read_all(&gathered.chunks), hints);
        let own = write(ID, &gathered.chunks[0]);
        assert_eq!(read(ID, &own).count(), 0, "it is its own");
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
        let (fits, too_long) = (message(Hint::CONTENT), message(CHUNK));
        let mut gathered = Gathered::default();
        for hint in [&mail, &fits, &mail, &too_long, &fits] {
            gathered.add(hint);
        }
        assert_eq!(read_all(&gathered.chunks), [mail, fits.clone(), fits]);
    }

    #[test]
    fn what_cannot_be_read_was_missed() {
        for payload in ["", "x", "x !", "x AAAA BBBB", "x /////w"] {
            let heard: Vec<Hint> = read(ID, payload).collect();
            assert_eq!(heard, [Hint::Missed], "{payload:?}");
        }
    }
}
