//! Devices' rows that were read a moment ago.
//!
//! A device that wakes is looked at four times within milliseconds: at the
//! door, once its session can be found, when its credentials are made, and by
//! the writer. Among millions of devices each look goes through tables, and
//! the first one to a disk; the others find the row here.
//!
//! It must never keep a row that the store has no more. Whoever reads one
//! takes its place here first; whoever has written one clears that place,
//! filled or only taken, before anybody is told. So a row that was read before
//! a write finds its place gone, and is not kept.

use fjall::Slice;
use quick_cache::sync::{Cache, GuardResult};

use super::super::RegistryError;

/// Rows that are kept: of as many devices as may be on their way in at once.
/// Those who have arrived are not looked at, and are to cost little.
const ROWS: usize = 1024;

/// A device's key in its table.
pub(super) type Key = [u8; 4];

/// The rows, by their keys.
pub(super) struct AtHand(Cache<Key, Slice>);

impl AtHand {
    pub(super) fn nothing() -> Self {
        Self(Cache::new(ROWS))
    }

    /// The row of this key; it is read if it is not here. Whoever else asks for
    /// it meanwhile waits for that.
    pub(super) fn row(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Option<Slice>, RegistryError>,
    ) -> Result<Option<Slice>, RegistryError> {
        let place = match self.0.get_value_or_guard(&key, None) {
            GuardResult::Value(row) => return Ok(Some(row)),
            GuardResult::Guard(place) => place,
            // Waiting has no limit here, so it never ends like this.
            GuardResult::Timeout => return read(),
        };
        let found = read()?;
        if let Some(row) = &found {
            // A copy: the row as it was read holds on to a block of its table.
            drop(place.insert(Slice::new(row)));
        }
        Ok(found)
    }

    /// What is kept of this key, or is being read, is out of date.
    pub(super) fn forget(&self, key: Key) {
        self.0.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [0, 0, 0, 1];

    fn found(row: &str) -> Result<Option<Slice>, RegistryError> {
        Ok(Some(Slice::new(row.as_bytes())))
    }

    fn kept(rows: &AtHand) -> Option<Slice> {
        rows.row(KEY, || Ok(None)).expect("nothing fails")
    }

    #[test]
    fn a_row_is_read_once() {
        let rows = AtHand::nothing();
        assert_eq!(rows.row(KEY, || found("one")), found("one"));
        assert_eq!(rows.row(KEY, || found("two")), found("one"));
        rows.forget(KEY);
        assert_eq!(rows.row(KEY, || found("two")), found("two"));
    }

    #[test]
    fn a_row_that_was_read_before_a_write_is_not_kept() {
        let rows = AtHand::nothing();
        let overtaken = rows.row(KEY, || {
            rows.forget(KEY);
            found("as it was before")
        });
        assert_eq!(overtaken, found("as it was before"));
        assert_eq!(kept(&rows), None);
    }

    #[test]
    fn what_was_not_found_or_not_read_is_asked_for_again() {
        let rows = AtHand::nothing();
        assert_eq!(kept(&rows), None);
        let error = RegistryError::Unavailable("a disk is gone".to_owned());
        assert_eq!(rows.row(KEY, || Err(error.clone())), Err(error));
        assert_eq!(rows.row(KEY, || found("one")), found("one"));
    }
}
