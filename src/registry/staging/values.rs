//! A feed's current values, and the names that its device came up with.

use super::super::rows::{self, Table};
use super::super::{Commit, RegistryError};
use super::{Ground, Staging};
use crate::feed::CurrentValue;
use crate::identity::FeedId;
use crate::product::DatastreamId;

impl<G: Ground> Staging<'_, G> {
    /// Takes in values, each unless a newer one is there.
    pub(super) fn put_values(
        &mut self,
        feed: FeedId,
        values: &[CurrentValue],
        names: Vec<DatastreamId>,
        most: u32,
    ) -> Result<Commit, RegistryError> {
        if self.add_datastreams(feed, names, most)? == Commit::Lost {
            return Ok(Commit::Lost);
        }
        for value in values {
            let key = rows::value_key(feed, &value.datastream);
            let known: Option<CurrentValue> = self.read(Table::Mail, &key)?;
            if known.is_none_or(|known| known.at <= value.at) {
                self.put(Table::Mail, key, value);
            }
        }
        Ok(Commit::Done)
    }

    /// Adds names to those that the device came up with itself: all of them,
    /// or none.
    pub(super) fn add_datastreams(
        &mut self,
        feed: FeedId,
        mut names: Vec<DatastreamId>,
        most: u32,
    ) -> Result<Commit, RegistryError> {
        if names.is_empty() {
            return Ok(Commit::Done);
        }
        let key = rows::datastreams_key(feed);
        let mut known: Vec<DatastreamId> = self.read(Table::Index, &key)?.unwrap_or_default();
        names.retain(|name| !known.contains(name));
        if names.is_empty() {
            return Ok(Commit::Done);
        }
        known.append(&mut names);
        if known.len() as u64 > u64::from(most) {
            return Ok(Commit::Lost);
        }
        self.put(Table::Index, key, &known);
        Ok(Commit::Done)
    }
}
