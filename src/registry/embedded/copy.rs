//! Copies of the database: made from one snapshot while it serves, and put
//! into the place of one that is lost.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Readable, Snapshot};

use super::super::RegistryError;
use super::super::backup::{self, Draft, Inventory, NotBackedUp, NotRestored};
use super::super::rows::{COUNTERS_KEY, Counters, Table, decode, encode};
use super::store::{Store, unavailable};
use crate::clock::Timestamp;
use crate::identity::FeedId;

/// Feeds that are left out behind those of a backup, so that none is given out
/// twice that was given out after it.
const LEAP: u32 = 1_000_000;
/// Rows between two looks at whether anybody still wants the copy.
const STRIDE: u64 = 1000;

/// Cancels a copy that nobody waits for any more.
#[derive(Debug, Default)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(super) fn watch(&self) -> Unwanted {
        Unwanted(Arc::clone(&self.0))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells whether nobody waits.
pub(super) struct Unwanted(Arc<AtomicBool>);

/// Copies the store into a new directory, as it is now.
pub(super) fn back_up(
    store: &Store,
    place: &Path,
    now: Timestamp,
    unwanted: &Unwanted,
) -> Result<Inventory, NotBackedUp> {
    let draft = Draft::begin(place)?;
    let instant = store.instant();
    let counters = counters_in(store, &instant)?;
    let mut inventory = Inventory::new(now);
    inventory.devices = counters.census.total();
    inventory.newest_event = counters.newest_event;
    inventory.newest_feed = counters.newest_feed;
    let copy = Store::open_tables(&draft.store()).map_err(unavailable)?;
    for table in Table::ALL {
        let rows = copy_table(store, &instant, &copy, table, unwanted)?;
        inventory.rows.insert(table.as_str().to_owned(), rows);
    }
    drop(copy);
    // It has to open, and be what the list says.
    let (copy, found) = Store::open(&draft.store())?;
    if found != counters {
        let damaged = "the copy's counters are not the registry's".to_owned();
        return Err(RegistryError::Damaged(damaged).into());
    }
    drop(copy);
    draft.keep(&mut inventory)?;
    Ok(inventory)
}

fn counters_in(store: &Store, instant: &Snapshot) -> Result<Counters, RegistryError> {
    let row = instant.get(store.keyspace(Table::Meta), COUNTERS_KEY);
    let row = row.map_err(unavailable)?;
    let missing = || RegistryError::Damaged("its counters are missing".to_owned());
    decode(&row.ok_or_else(missing)?)
}

/// Copies a table in the order of its keys, past the copy's journal.
fn copy_table(
    store: &Store,
    instant: &Snapshot,
    copy: &Store,
    table: Table,
    unwanted: &Unwanted,
) -> Result<u64, NotBackedUp> {
    let mut copied = 0;
    let mut into = copy
        .keyspace(table)
        .start_ingestion()
        .map_err(unavailable)?;
    for item in instant.range::<&[u8], _>(store.keyspace(table), ..) {
        let (key, row) = item.into_inner().map_err(unavailable)?;
        into.write(key, row).map_err(unavailable)?;
        copied += 1;
        if copied % STRIDE == 0 && unwanted.0.load(Ordering::Relaxed) {
            return Err(NotBackedUp::GivenUp);
        }
    }
    into.finish().map_err(unavailable)?;
    Ok(copied)
}

/// Puts a backup's store into a place where none is.
pub(super) fn restore(
    from: &Path,
    place: &Path,
    feeds_after: Option<FeedId>,
) -> Result<(Inventory, FeedId), NotRestored> {
    let inventory = Inventory::read(from)?;
    let beside = backup::fetch(from, &inventory, place)?;
    let restored = examine(&beside, &inventory, feeds_after).and_then(|newest| {
        backup::settle(&beside, place).map_err(|error| NotRestored::File {
            path: place.to_owned(),
            error,
        })?;
        Ok(newest)
    });
    if restored.is_err() {
        // What is wrong with the copy is what matters.
        drop(fs::remove_dir_all(&beside));
    }
    Ok((inventory, restored?))
}

/// Reads every row of a copy, and has it go on with feeds that nobody has.
fn examine(
    path: &Path,
    inventory: &Inventory,
    feeds_after: Option<FeedId>,
) -> Result<FeedId, NotRestored> {
    let (store, mut counters) = Store::open(path)?;
    let instant = store.instant();
    for table in Table::ALL {
        let mut found: u64 = 0;
        for item in instant.range::<&[u8], _>(store.keyspace(table), ..) {
            item.into_inner().map_err(unavailable)?;
            found += 1;
        }
        let listed = inventory.rows.get(table.as_str()).copied().unwrap_or(0);
        if found != listed {
            return Err(NotRestored::Rows {
                table: table.as_str(),
                listed,
                found,
            });
        }
    }
    // What people and commands are told is what the list says.
    for (table, listed, found) in [
        ("devices", inventory.devices, counters.census.total()),
        ("events", inventory.newest_event, counters.newest_event),
        (
            "feeds",
            inventory.newest_feed.into(),
            counters.newest_feed.into(),
        ),
    ] {
        if listed != found {
            return Err(NotRestored::Rows {
                table,
                listed,
                found,
            });
        }
    }
    let newest = counters.newest_feed;
    let next = match feeds_after {
        Some(feed) => feed.as_u32().max(newest),
        None => newest.saturating_add(LEAP),
    };
    let feed = FeedId::new(next).map_err(|_| NotRestored::NoFeeds(u64::from(next)))?;
    counters.newest_feed = feed.as_u32();
    let row = (Table::Meta, COUNTERS_KEY.to_vec());
    store.write_rows([(row, Some(encode(&counters)))].into())?;
    Ok(feed)
}
