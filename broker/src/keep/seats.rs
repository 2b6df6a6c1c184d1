//! Who runs a session: one at a time, and whoever wants it next waits in line.
//!
//! The one who holds a [`Seat`] has the session to itself. Leaving, it puts
//! down what the next one goes on with, or nothing. A newcomer has the holder
//! ended through the table of sessions and then waits here, so nothing is
//! touched by two.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firstwake::OperatorName;
use tokio::sync::OwnedMutexGuard;

use super::Kept;
use crate::mqtt::packet::Farewell;
use crate::sessions::Handle;

/// Whose session it is: the operator's, under this client id.
pub(crate) type Key = (OperatorName, String);

type Place = tokio::sync::Mutex<Option<Box<Kept>>>;

/// One seat for each session.
#[derive(Default)]
pub(crate) struct Seats {
    seats: Mutex<HashMap<Key, Arc<Place>>>,
    /// Sessions without a connection, the longest away first.
    away: Mutex<VecDeque<(Key, Arc<Handle>)>>,
}

/// How many sessions may wait for their peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) in_all: usize,
    pub(crate) of_one_operator: usize,
}

/// The right to run a session.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    key: Key,
    kept: OwnedMutexGuard<Option<Box<Kept>>>,
}

impl Seats {
    /// Waits until the seat is free, and takes it.
    pub(crate) async fn take(self: &Arc<Self>, key: Key) -> Seat {
        let place = Arc::clone(lock(&self.seats).entry(key.clone()).or_default());
        Seat {
            seats: Arc::clone(self),
            key,
            kept: place.lock_owned().await,
        }
    }

    /// Notes a session whose peer is away. The longest away ends, where there
    /// are too many.
    pub(crate) fn note_away(&self, key: &Key, handle: &Arc<Handle>, bound: Bound) {
        let mut away = lock(&self.away);
        away.push_back((key.clone(), Arc::clone(handle)));
        let of_operator = away.iter().filter(|((name, _), _)| *name == key.0).count();
        let first = if of_operator > bound.of_one_operator {
            away.iter().position(|((name, _), _)| *name == key.0)
        } else {
            (away.len() > bound.in_all).then_some(0)
        };
        if let Some((_, longest)) = first.and_then(|at| away.remove(at)) {
            longest.end(Farewell::QuotaExceeded);
        }
    }

    /// It is not away any more, or over.
    pub(crate) fn forget_away(&self, handle: &Arc<Handle>) {
        lock(&self.away).retain(|(_, found)| !Arc::ptr_eq(found, handle));
    }
}

impl Seat {
    /// Whose it is.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// What the one before has left.
    pub(crate) fn pick_up(&mut self) -> Option<Box<Kept>> {
        self.kept.take()
    }

    /// Leaves a session to whoever waits in line.
    pub(crate) fn put_down(mut self, kept: Box<Kept>) {
        *self.kept = Some(kept);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.seats.seats);
        // Two: the table's and this one's. Nobody waits in line, and nobody
        // can come while the table is locked.
        let last = seats
            .get(&self.key)
            .is_some_and(|place| Arc::strong_count(place) == 2);
        if last && self.kept.is_none() {
            seats.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: &str) -> Key {
        let name = OperatorName::parse("ops").expect("valid");
        (name, client.to_owned())
    }

    #[tokio::test]
    async fn one_at_a_time_and_nothing_stays_behind() {
        let seats = Arc::new(Seats::default());
        let first = seats.take(key("a")).await;
        let other = seats.take(key("b")).await;
        let mut second = tokio_test_poll(seats.take(key("a")));
        assert!(second.poll().is_none(), "somebody has it");
        drop(first);
        let second = second.poll().expect("it is free");
        drop((second, other));
        assert!(lock(&seats.seats).is_empty());
    }

    /// Polls a future by hand.
    struct ByHand<F>(std::pin::Pin<Box<F>>);

    fn tokio_test_poll<F: Future>(future: F) -> ByHand<F> {
        ByHand(Box::pin(future))
    }

    impl<F: Future> ByHand<F> {
        fn poll(&mut self) -> Option<F::Output> {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match self.0.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }

    #[test]
    fn the_longest_away_goes_first() {
        let seats = Seats::default();
        let bound = Bound {
            in_all: 3,
            of_one_operator: 2,
        };
        let ended = |handle: &Arc<Handle>| handle.ended().is_some();
        let other = (OperatorName::parse("other").expect("valid"), String::new());
        let handles: Vec<Arc<Handle>> = (0..5).map(|_| Handle::unplaced()).collect();
        seats.note_away(&other, &handles[0], bound);
        seats.note_away(&key("1"), &handles[1], bound);
        seats.note_away(&key("2"), &handles[2], bound);
        assert!(!handles.iter().any(ended));
        // Three of one operator are one too many, whoever is away longer.
        seats.note_away(&key("3"), &handles[3], bound);
        assert!(ended(&handles[1]) && !ended(&handles[0]));
        seats.forget_away(&handles[2]);
        seats.note_away(&other, &handles[4], bound);
        assert!(!ended(&handles[0]));
    }
}
