//! Waiting to have an operator's password checked.
//!
//! A check takes 19 MiB and tens of milliseconds, so strangers must not be
//! able to ask for many. Two run at once, one of each source, and a source may
//! have some waiting: one address alone can neither hold both places nor fill
//! the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::source::Source;

/// Checks at once.
const RUNNING: usize = 2;
/// Checks that run or wait, in all.
const QUEUE: usize = 64;
/// The same of one source.
const QUEUE_PER_SOURCE: usize = 16;

/// The two places, and the queue before them.
pub(in crate::provision) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    total: usize,
    sources: HashMap<Source, Line>,
}

/// One source's part of the queue.
struct Line {
    turn: Arc<Semaphore>,
    length: usize,
}

/// A place in the queue.
pub(in crate::provision) struct Queued {
    running: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
    source: Source,
}

/// The right to check one password now.
pub(in crate::provision) struct Turn {
    _permits: [OwnedSemaphorePermit; 2],
    _queued: Queued,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING)),
            waiting: Arc::default(),
        }
    }
}

impl Passwords {
    /// A place in the queue, unless it is full or this source has its share.
    pub(in crate::provision) fn enter(&self, source: Source) -> Option<Queued> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.total >= QUEUE {
            return None;
        }
        let line = waiting.sources.entry(source).or_insert_with(|| Line {
            turn: Arc::new(Semaphore::new(1)),
            length: 0,
        });
        if line.length >= QUEUE_PER_SOURCE {
            return None;
        }
        line.length += 1;
        let turn = Arc::clone(&line.turn);
        waiting.total += 1;
        Some(Queued {
            running: Arc::clone(&self.running),
            turn,
            waiting: Arc::clone(&self.waiting),
            source,
        })
    }
}

impl Queued {
    /// Waits for its source's turn, then for one of the places.
    pub(in crate::provision) async fn turn(self) -> Option<Turn> {
        let own = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let place = Arc::clone(&self.running).acquire_owned().await.ok()?;
        Some(Turn {
            _permits: [own, place],
            _queued: self,
        })
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.total -= 1;
        if let Some(line) = waiting.sources.get_mut(&self.source) {
            line.length -= 1;
            if line.length == 0 {
                waiting.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn source(n: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, n]))
    }

    #[tokio::test]
    async fn one_source_takes_one_place_and_a_share_of_the_queue() {
        let passwords = Passwords::default();
        let mut line: Vec<Queued> = (0..QUEUE_PER_SOURCE)
            .map(|_| passwords.enter(source(1)).expect("a place"))
            .collect();
        assert!(passwords.enter(source(1)).is_none());
        let running = line.remove(0).turn().await.expect("its turn");
        assert_eq!(passwords.running.available_permits(), 1);
        assert_eq!(line[0].turn.available_permits(), 0, "its others wait");
        let other = passwords.enter(source(2)).expect("a place");
        drop(other.turn().await.expect("at once"));
        drop((running, line));
        let waiting = passwords.waiting.lock().expect("not poisoned");
        assert_eq!((waiting.total, waiting.sources.len()), (0, 0));
    }

    #[test]
    fn the_whole_queue_is_bounded() {
        let passwords = Passwords::default();
        let all: Vec<_> = (0..=255)
            .filter_map(|n| passwords.enter(source(n)))
            .collect();
        assert_eq!(all.len(), QUEUE);
    }
}
