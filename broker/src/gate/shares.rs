//! A few places that no source may have all of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firstwake::Source;

/// Places with a bound in all and one for each source.
#[derive(Debug)]
pub(super) struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    /// An entry for each source that has a place now.
    by_source: HashMap<Source, usize>,
}

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    source: Source,
}

impl Shares {
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        let taken = Mutex::default();
        Arc::new(Self { all, each, taken })
    }

    /// A place, unless all are taken or as many by this source as it may have.
    pub(super) fn take(self: &Arc<Self>, source: Source) -> Option<Share> {
        let mut taken = self.lock();
        let here = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.count >= self.all || here >= self.each {
            return None;
        }
        taken.by_source.insert(source, here + 1);
        taken.count += 1;
        drop(taken);
        let shares = Arc::clone(self);
        Some(Share { shares, source })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.count -= 1;
        if let Some(here) = taken.by_source.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let source = |n: u8| Source::from(IpAddr::from([10, 0, 0, n]));
        let shares = Shares::new(5, 2);
        let mut first: Vec<_> = (0..3).map(|_| shares.take(source(1))).collect();
        assert!(first[1].is_some() && first[2].is_none(), "two of a source");
        let others: Vec<_> = (2..9).filter_map(|n| shares.take(source(n))).collect();
        assert_eq!(others.len(), 3, "five in all");
        first[0] = None;
        assert!(shares.take(source(9)).is_some(), "one is free again");
        drop((first, others));
        let taken = shares.lock();
        assert!(taken.count == 0 && taken.by_source.is_empty());
    }
}
