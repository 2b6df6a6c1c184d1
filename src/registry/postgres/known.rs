//! The rows that one batch has read so far.
//!
//! A batch is staged over what is known of the database, again and again,
//! until it has asked for nothing that is not known: staging reads rows one by
//! one, and the database is asked for all of them at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::RegistryError;
use super::super::rows::{self, COUNTERS_KEY, Counters, Table};
use super::super::staging::{Changes, Ground, Rows};
use super::tables::{Pair, TableChanges};

/// What is known, and what was asked for and is not.
#[derive(Debug, Default)]
pub(super) struct Known {
    tables: [KnownTable; 5],
    wanted: RefCell<Wanted>,
}

#[derive(Debug, Default)]
struct KnownTable {
    /// `None`: there is no such row.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Everything under these is known.
    prefixes: BTreeSet<Vec<u8>>,
}

/// What has to be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By table.
    pub(super) keys: [BTreeSet<Vec<u8>>; 5],
    /// The same for prefixes.
    pub(super) prefixes: [BTreeSet<Vec<u8>>; 5],
    /// Counts of products, which every server changes all the time: they are
    /// read last.
    pub(super) hot: BTreeSet<Vec<u8>>,
}

impl Wanted {
    /// Whether everything but what comes last is known.
    pub(super) fn is_settled(&self) -> bool {
        self.keys.iter().all(BTreeSet::is_empty) && self.prefixes.iter().all(BTreeSet::is_empty)
    }
}

impl Known {
    /// What was asked for since this was last called.
    pub(super) fn take_wanted(&mut self) -> Wanted {
        self.wanted.take()
    }

    /// Notes rows that were read: those of `keys` that are not among them are
    /// not there.
    pub(super) fn note_rows<'k>(
        &mut self,
        table: Table,
        keys: impl Iterator<Item = &'k Vec<u8>>,
        found: Vec<Pair>,
    ) {
        let known = &mut self.tables[table as usize];
        known.rows.extend(keys.map(|key| (key.clone(), None)));
        let found = found.into_iter();
        known.rows.extend(found.map(|(key, row)| (key, Some(row))));
    }

    /// Notes all rows under a prefix.
    pub(super) fn note_under(&mut self, table: Table, prefix: Vec<u8>, found: Vec<Pair>) {
        let known = &mut self.tables[table as usize];
        known.prefixes.insert(prefix);
        let found = found.into_iter();
        known.rows.extend(found.map(|(key, row)| (key, Some(row))));
    }

    /// Has those rows read, too, that a batch changes without having asked for
    /// them: whether they are there has to be known, and nobody else may touch
    /// them any more before the last rows are locked.
    pub(super) fn want_changed(&self, before: Counters, changes: &Changes) {
        let mut wanted = self.wanted.borrow_mut();
        for (table, key) in changes.rows.keys() {
            let known = self.tables[*table as usize].rows.contains_key(key);
            if !known && !is_new(before, *table, key) && !is_hot(*table, key) {
                wanted.keys[*table as usize].insert(key.clone());
            }
        }
    }

    /// The counters, once they are known.
    pub(super) fn counters(&self) -> Result<Counters, RegistryError> {
        let row = self.tables[Table::Meta as usize].rows.get(COUNTERS_KEY);
        decode_counters(row.and_then(Option::as_ref))
    }

    /// Sorts what a batch changes by what has to be done to the tables.
    pub(super) fn sort(&self, changes: Changes) -> [TableChanges; 5] {
        let mut sorted: [TableChanges; 5] = Default::default();
        let ordered: BTreeMap<_, _> = changes
            .rows
            .into_iter()
            .map(|((table, key), change)| ((table as usize, key), change))
            .collect();
        for ((table, key), change) in ordered {
            let is_there = matches!(self.tables[table].rows.get(&key), Some(Some(_)));
            let to = &mut sorted[table];
            match change {
                Some(row) if is_there => to.updated.push((key, row)),
                Some(row) => to.inserted.push((key, row)),
                None if is_there => to.deleted.push(key),
                None => {}
            }
        }
        sorted
    }
}

/// What was found under the counters' key.
pub(super) fn decode_counters(row: Option<&Vec<u8>>) -> Result<Counters, RegistryError> {
    match row {
        Some(row) => rows::decode(row),
        None => Err(RegistryError::Damaged("there are no counters".to_owned())),
    }
}

/// Rows that nobody else can have: their numbers are given out by this batch.
/// Which numbers these are is settled last, so they are not looked for.
fn is_new(before: Counters, table: Table, key: &[u8]) -> bool {
    match table {
        Table::Events => true,
        Table::Devices => key > before.newest_feed.to_be_bytes().as_slice(),
        Table::Meta | Table::Index | Table::Mail => false,
    }
}

/// Rows that every batch of every server wants.
fn is_hot(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && (key == COUNTERS_KEY || rows::is_product_census(key))
}

impl Ground for Known {
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<impl AsRef<[u8]>>, RegistryError> {
        match self.tables[table as usize].rows.get(key) {
            Some(row) => Ok(row.as_deref()),
            None => {
                let mut wanted = self.wanted.borrow_mut();
                match is_hot(table, key) {
                    true => wanted.hot.insert(key.to_vec()),
                    false => wanted.keys[table as usize].insert(key.to_vec()),
                };
                Ok(None)
            }
        }
    }

    fn under(&self, table: Table, prefix: &[u8]) -> Result<Rows, RegistryError> {
        let known = &self.tables[table as usize];
        if !known.prefixes.contains(prefix) {
            let mut wanted = self.wanted.borrow_mut();
            wanted.prefixes[table as usize].insert(prefix.to_vec());
        }
        let from = known.rows.range(prefix.to_vec()..);
        let within = from.take_while(|(key, _)| key.starts_with(prefix));
        Ok(within
            .filter_map(|(key, row)| Some((key.clone(), row.clone()?)))
            .collect())
    }
}
