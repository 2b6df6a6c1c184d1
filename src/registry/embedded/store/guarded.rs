//! Opening a store only if nothing of it is lost.
//!
//! The journals are read, and compared with the mark, before `fjall` touches
//! them. A store that has lost something is refused as it is: what `fjall`
//! would make of it is a whole store of an earlier time, in which a revoked
//! device is active and feeds are given out again.

use std::io;
use std::path::Path;

use super::super::super::rows::{COUNTERS_KEY, Counters, Table, encode};
use super::super::OpenError;
use super::super::journal::{self, Damage, Scan};
use super::super::lists;
use super::super::mark::{self, Mark, Position};
use super::Store;

impl Store {
    /// Opens the store in `path` if it has not lost anything that the mark in
    /// its directory knows of.
    pub(in super::super) fn open_marked(path: &Path) -> Result<(Self, Counters, Mark), OpenError> {
        let known = mark::read(path).map_err(|error| failed(path, &error))?;
        let (store, counters, position) = Self::open_behind(path, known)?;
        let mark = Mark::take_up(path, position).map_err(|error| failed(path, &error))?;
        Ok((store, counters, mark))
    }

    /// Opens the store in `path` if it is at this position, or behind it in
    /// time; returns where it is.
    pub(in super::super) fn open_behind(
        path: &Path,
        known: Option<Position>,
    ) -> Result<(Self, Counters, Position), OpenError> {
        Self::look(path)?;
        let trouble = |error: io::Error| failed(path, &error);
        let scan = match journal::scan(path).map_err(trouble)? {
            Some(scan) => {
                intact(path)?;
                scan
            }
            // Of a version that is not known here: the mark alone is held
            // against what opens.
            None => Scan::default(),
        };
        if let Some(damage) = &scan.damage {
            return Err(damaged(path, damage));
        }
        let Some(known) = known else {
            let (store, counters) = Self::open(path)?;
            let position = Position::new(scan.newest.unwrap_or(0), counters);
            return Ok((store, counters, position));
        };
        if scan.newest.is_some_and(|newest| newest < known.batch) {
            return Err(behind(path, known, scan.counters));
        }
        if let Some(damage) = scan.number_far_beyond(known.batch) {
            return Err(damaged(path, &damage));
        }
        if let (Some(tail), Some(_)) = (&scan.tail, scan.newest) {
            // Everything that was acknowledged lies before it.
            tail.cut().map_err(|error| failed(path, &error))?;
        }
        let (store, counters) = Self::open(path)?;
        // Journals that hold no batch do not say how far the store is.
        let is_there = scan.newest.is_some() || store.database.seqno() > known.batch;
        if !is_there
            || counters.newest_event < known.newest_event
            || counters.newest_feed < known.newest_feed
        {
            drop(store);
            if let (Some(tail), None) = (&scan.tail, scan.newest) {
                tail.put_back().map_err(|error| failed(path, &error))?;
            }
            return Err(behind(path, known, Some(counters)));
        }
        let batch = scan.newest.unwrap_or(0).max(known.batch);
        Ok((store, counters, Position::new(batch, counters)))
    }

    /// Gives up what is damaged or lost, so that the store in `path` opens. The
    /// next feed is behind every one that the mark knows of.
    pub(in super::super) fn accept_loss(path: &Path) -> Result<(), OpenError> {
        let trouble = |error: io::Error| failed(path, &error);
        let scan = journal::scan(path).map_err(trouble)?.unwrap_or_default();
        if let Some(damage) = scan.damage.filter(|damage| damage.is_order) {
            // Every write is there, and nothing says in which order.
            return Err(damaged(path, &damage));
        }
        let known = mark::read(path).map_err(trouble)?;
        journal::cut_out_damage(path).map_err(trouble)?;
        let (store, mut counters) = Self::open(path)?;
        if let Some(known) = known
            && counters.newest_feed < known.newest_feed
        {
            counters.newest_feed = known.newest_feed;
            let row = (Table::Meta, COUNTERS_KEY.to_vec());
            let written = store.write_rows([(row, Some(encode(&counters)))].into());
            written.map_err(|error| failed(path, &error))?;
        }
        drop(store);
        mark::remove(path).map_err(trouble)
    }

    /// The number that the next batch has at least.
    pub(in super::super) fn next_batch(&self) -> u64 {
        self.database.seqno()
    }

    /// Has everything put into tables.
    #[cfg(test)]
    pub(in super::super) fn flush(&self) {
        for table in Table::ALL {
            let flushed = self.keyspace(table).rotate_memtable_and_wait();
            flushed.expect("flushed");
        }
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::Store {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Refuses a store whose lists of files are not as they were written.
fn intact(path: &Path) -> Result<(), OpenError> {
    match lists::damaged(path).map_err(|error| failed(path, &error))? {
        None => Ok(()),
        Some(list) => {
            let sentence = format!(
                "its files are damaged, so restore a backup ({} is not as it was written)",
                list.display()
            );
            Err(failed(path, &sentence))
        }
    }
}

fn damaged(path: &Path, damage: &Damage) -> OpenError {
    let lost = match (damage.before, damage.behind) {
        _ if damage.is_order => "no event is lost, but the order of its writes".to_owned(),
        (Some(before), Some(behind)) => events(before, behind),
        (None, Some(behind)) => events(0, behind),
        (_, None) => "which events are lost cannot be said".to_owned(),
    };
    OpenError::Damaged {
        path: path.to_owned(),
        journal: (damage.journal.file_name().unwrap_or_default())
            .to_string_lossy()
            .into_owned(),
        at: damage.at,
        lost,
    }
}

fn behind(path: &Path, known: Position, found: Option<Counters>) -> OpenError {
    let found = found.map_or(0, |counters| counters.newest_event);
    OpenError::Behind {
        path: path.to_owned(),
        lost: events(found, known.newest_event),
    }
}

/// The events behind one and up to another, as those that may be lost.
fn events(before: u64, newest: u64) -> String {
    match newest.saturating_sub(before) {
        0 => format!("what is lost has no event, and came behind event {before}"),
        1 => format!("event {newest} would be lost, with what was written with it"),
        _ => format!(
            "events {} to {newest} would be lost, or some of them, with what was written with them",
            before + 1
        ),
    }
}
