//! Counters that are used once each, in nearly any order: the sliding window
//! of IPsec (RFC 4303, 3.4.3).
//!
//! Requests that a device sends at the same time overtake each other. The
//! newest counter and which of the 128 up to it were used is all that has to
//! be kept: what is older than the window counts as used.

use serde::{Deserialize, Serialize};

/// Which counters were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The highest that was used; 0 before the first.
    newest: u64,
    /// Bit `n` tells whether `newest - n` was used.
    used: u128,
}

impl Window {
    /// The window after this counter was used; `None` if it was used before, is
    /// too old to tell, or is 0, which is none.
    #[must_use]
    pub(crate) fn take(self, counter: u64) -> Option<Self> {
        if counter > self.newest {
            let shift = u32::try_from(counter - self.newest).unwrap_or(u32::MAX);
            let used = self.used.checked_shl(shift).unwrap_or(0) | 1;
            return Some(Self {
                newest: counter,
                used,
            });
        }
        let bit = 1_u128.checked_shl(u32::try_from(self.newest - counter).ok()?)?;
        (counter > 0 && self.used & bit == 0).then_some(Self {
            used: self.used | bit,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_counter_is_used_once() {
        let mut window = Window::default();
        let mut check = |counter, fits| {
            let next = window.take(counter);
            assert_eq!(next.is_some(), fits, "{counter}");
            window = next.unwrap_or(window);
        };
        check(0, false);
        check(3, true);
        check(3, false);
        check(1, true);
        check(2, true);
        check(1, false);
        check(130, true);
        check(3, false);
        check(4, true);
        check(4, false);
        check(u64::MAX, true);
        check(131, false);
        check(u64::MAX - 127, true);
        check(u64::MAX - 128, false);
    }

    proptest! {
        /// Against the set of all counters that were ever used.
        #[test]
        fn it_agrees_with_remembering_all(counters in prop::collection::vec(0_u64..600, 1..200)) {
            let mut window = Window::default();
            let mut all = BTreeSet::new();
            for counter in counters {
                let newest = all.last().copied().unwrap_or(0);
                let recent = counter + 128 > newest;
                let expected = counter > 0 && recent && !all.contains(&counter);
                prop_assert_eq!(window.take(counter).is_some(), expected);
                if expected {
                    window = window.take(counter).expect("just asked");
                    all.insert(counter);
                }
            }
        }
    }
}
