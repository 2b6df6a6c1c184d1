//! The closed loop: a number of slots, each of which takes the next turn as
//! soon as its last one is done.
//!
//! A slow broker therefore slows the load, and the time a device waits for its
//! turn is in no figure. Reports say so.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

/// Turns from 0 on, each dealt once.
#[derive(Clone)]
pub(crate) struct Turns {
    dealt: Arc<AtomicUsize>,
    end: usize,
}

impl Turns {
    /// The next turn, until there are no more.
    pub(crate) fn take(&self) -> Option<usize> {
        let turn = self.dealt.fetch_add(1, Ordering::Relaxed);
        (turn < self.end).then_some(turn)
    }
}

/// Runs `slots` slots, or fewer if there are fewer turns, and gathers what each
/// brings home.
pub(crate) async fn run<Haul, Slot>(
    turns: usize,
    slots: NonZeroUsize,
    slot: impl Fn(Turns) -> Slot,
) -> Vec<Haul>
where
    Haul: Send + 'static,
    Slot: Future<Output = Haul> + Send + 'static,
{
    let dealt = Turns {
        dealt: Arc::default(),
        end: turns,
    };
    let mut tasks = JoinSet::new();
    for _ in 0..slots.get().min(turns) {
        tasks.spawn(slot(dealt.clone()));
    }
    let mut hauls = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(haul) => hauls.push(haul),
            // Nobody cancels a slot, so it panicked: a bug, and not a result.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    hauls
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turns(turns: usize, slots: usize) -> (usize, Vec<usize>) {
        let slots = NonZeroUsize::new(slots).expect("not zero");
        let hauls = run(turns, slots, |turns| async move {
            std::iter::from_fn(|| turns.take()).collect::<Vec<_>>()
        });
        let hauls = hauls.await;
        let count = hauls.len();
        let mut all = hauls.concat();
        all.sort_unstable();
        (count, all)
    }

    #[tokio::test]
    async fn every_turn_is_taken_once() {
        assert_eq!(turns(7, 3).await, (3, (0..7).collect()));
        assert_eq!(turns(2, 3).await, (2, vec![0, 1]));
        assert_eq!(turns(0, 3).await, (0, vec![]));
    }
}
