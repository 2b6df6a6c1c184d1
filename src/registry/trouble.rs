//! Writes that fail, in few lines of the log.
//!
//! While a disk is full every write fails, and there may be thousands a second.
//! The first one is told, then each time that there are ten times as many.

use super::RegistryError;

/// Writes in a row that end it.
const WELL: u64 = 8;

/// What a writer has had of it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failed: u64,
    well: u64,
}

impl Trouble {
    /// A write has failed. Returns whether that was logged.
    pub(super) fn failed(&mut self, error: &RegistryError) -> bool {
        self.well = 0;
        self.failed += 1;
        let is_told = self.failed == 10_u64.pow(self.failed.ilog10());
        if is_told {
            tracing::error!(%error, failed = self.failed, "the registry could not write");
        }
        is_told
    }

    /// A write is on disk. Returns whether it was logged that there is no
    /// trouble any more.
    pub(super) fn wrote(&mut self) -> bool {
        if self.failed == 0 {
            return false;
        }
        self.well += 1;
        let is_over = self.well == WELL;
        if is_over {
            tracing::info!(failed = self.failed, "the registry writes again");
            *self = Self::default();
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_failures_are_a_few_lines() {
        let error = RegistryError::Unavailable("no space".to_owned());
        let mut trouble = Trouble::default();
        assert!(!trouble.wrote(), "there was none");
        let told = (0..5000).filter(|_| trouble.failed(&error)).count();
        assert_eq!(told, 4, "1, 10, 100, 1000");
        // A write that found room in between ends nothing.
        assert!(!trouble.wrote());
        assert!(!trouble.failed(&error));
        let over = (0..100).filter(|_| trouble.wrote()).count();
        assert_eq!(over, 1);
        assert!(trouble.failed(&error), "the next trouble is told again");
    }
}
