//! The database: one `fjall` with a keyspace for each table, because each costs
//! memory and a file set of its own.

mod guarded;
mod opening;

use fjall::{Database, Keyspace, PersistMode, Readable, Snapshot};

use super::super::RegistryError;
use super::super::check::Changed;
use super::super::rows::{
    COUNTERS_KEY, Counters, MAILBOXES, Row, Table, decode, device_key, event_key, mail_key,
    mailbox_key, member_key, serial_key,
};
use super::super::staging::{Changes, Ground, Rows};
use super::at_hand::{self, AtHand};
use crate::device::Device;
use crate::event::{Event, NewEvent};
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::{Mail, Mailbox};

/// Bytes of rows that may wait in memory before registrations have to; they
/// take some four times as much there.
const IN_MEMORY: u64 = 128 * 1024 * 1024;

/// An open store.
pub(super) struct Store {
    database: Database,
    meta: Keyspace,
    devices: Keyspace,
    index: Keyspace,
    events: Keyspace,
    mail: Keyspace,
    at_hand: AtHand,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(…)")
    }
}

impl Store {
    /// Writes a batch; it is on disk when this returns.
    pub(super) fn write(&self, changes: Changes) -> Result<Counters, RegistryError> {
        self.write_rows(changes.rows)?;
        Ok(changes.counters)
    }

    /// Writes rows, all of them or none; they are on disk when this returns.
    pub(super) fn write_rows(&self, rows: Changed) -> Result<(), RegistryError> {
        if rows.is_empty() {
            return Ok(());
        }
        // In their order: a table takes neighbours in at half the price.
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut batch = self.batch();
        let mut devices = Vec::new();
        for ((table, key), change) in rows {
            devices.extend(key_at_hand(table, &key));
            match change {
                Some(row) => self.insert(&mut batch, table, &key, row),
                None => batch.remove(self.keyspace(table), key),
            }
        }
        let written = batch.commit().map_err(unavailable);
        devices.into_iter().for_each(|key| self.at_hand.forget(key));
        written
    }

    pub(super) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Meta => &self.meta,
            Table::Devices => &self.devices,
            Table::Index => &self.index,
            Table::Events => &self.events,
            Table::Mail => &self.mail,
        }
    }

    /// Whether so little waits in memory to be put into tables that devices may
    /// be registered by the thousand.
    pub(super) fn has_room(&self) -> bool {
        self.database.write_buffer_size() < IN_MEMORY
    }

    /// A batch that is on disk when its commit returns.
    pub(super) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.database
            .batch()
            .durability(Some(PersistMode::SyncData))
    }

    pub(super) fn insert(
        &self,
        batch: &mut fjall::OwnedWriteBatch,
        table: Table,
        key: &[u8],
        value: Vec<u8>,
    ) {
        batch.insert(self.keyspace(table), key, value);
    }

    /// One row.
    pub(super) fn read<T: Row>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, RegistryError> {
        self.row(table, key)?
            .map(|row| decode(row.as_ref()))
            .transpose()
    }

    pub(super) fn counters(&self) -> Result<Counters, RegistryError> {
        self.read(Table::Meta, COUNTERS_KEY)?
            .ok_or_else(|| RegistryError::Damaged("its counters are missing".to_owned()))
    }

    pub(super) fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        self.read(Table::Devices, &device_key(feed))
    }

    /// The devices of a serial. Each row is as it is when it is read, which may
    /// be later than the one that names it: whose serial is another by then is
    /// none of them.
    pub(super) fn by_serial(&self, serial: &Serial) -> Result<Vec<Device>, RegistryError> {
        let feeds: Option<Vec<FeedId>> = self.read(Table::Index, &serial_key(serial))?;
        let mut devices = Vec::new();
        for feed in feeds.unwrap_or_default() {
            let device = self.device(feed)?;
            devices.extend(device.filter(|device| device.serial == *serial));
        }
        Ok(devices)
    }

    /// A batch reaches the tables row by row: whoever reads more than one row
    /// has to look at one instant.
    pub(super) fn instant(&self) -> Snapshot {
        self.database.snapshot()
    }

    fn device_at(&self, instant: &Snapshot, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        let row = instant.get(&self.devices, device_key(feed));
        row.map_err(unavailable)?
            .map(|row| decode(&row))
            .transpose()
    }

    /// The devices that an index row names.
    pub(super) fn devices_at(&self, key: &[u8]) -> Result<Vec<Device>, RegistryError> {
        let instant = self.instant();
        let Some(row) = instant.get(&self.index, key).map_err(unavailable)? else {
            return Ok(Vec::new());
        };
        let feeds: Vec<FeedId> = decode(&row)?;
        feeds
            .into_iter()
            .filter_map(|feed| self.device_at(&instant, feed).transpose())
            .collect()
    }

    /// A product's devices in the order of their serials.
    pub(super) fn page(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
    ) -> Result<Vec<Device>, RegistryError> {
        let prefix = member_key(product, "");
        let start = after.map_or_else(
            || prefix.clone(),
            |serial| {
                // The smallest key behind this one: no serial holds a NUL.
                let mut key = member_key(product, serial.as_str());
                key.push(0);
                key
            },
        );
        let instant = self.instant();
        let mut devices = Vec::new();
        for item in instant.range(&self.index, start..) {
            let (key, row) = item.into_inner().map_err(unavailable)?;
            if devices.len() == limit || !key.starts_with(&prefix) {
                break;
            }
            devices.extend(self.device_at(&instant, decode(&row)?)?);
        }
        Ok(devices)
    }

    /// All rows of one kind in the meta table.
    pub(super) fn all<T: Row>(&self, kind: u8) -> Result<Vec<T>, RegistryError> {
        self.instant()
            .prefix(&self.meta, [kind])
            .map(|item| decode(&item.value().map_err(unavailable)?))
            .collect()
    }

    /// What waits for a device behind a number. Its mailbox says what that is.
    pub(super) fn mail(
        &self,
        feed: FeedId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Mail)>, RegistryError> {
        let instant = self.instant();
        let row = instant.get(&self.mail, mailbox_key(feed));
        let Some(row) = row.map_err(unavailable)? else {
            return Ok(Vec::new());
        };
        let mailbox: Mailbox = decode(&row)?;
        let mut waiting = Vec::new();
        for number in mailbox.waiting(after).take(limit) {
            let row = instant.get(&self.mail, mail_key(feed, number));
            if let Some(row) = row.map_err(unavailable)? {
                waiting.push((number, decode(&row)?));
            }
        }
        Ok(waiting)
    }

    /// Mailboxes in the order of their feeds.
    pub(super) fn mailboxes(
        &self,
        after: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<(FeedId, Mailbox)>, RegistryError> {
        let start = match after {
            Some(feed) => [mailbox_key(feed).as_slice(), &[0]].concat(),
            None => vec![MAILBOXES],
        };
        let mut mailboxes = Vec::new();
        for item in self.instant().range(&self.mail, start..) {
            let (key, row) = item.into_inner().map_err(unavailable)?;
            let Some((&MAILBOXES, number)) = key.split_first() else {
                break;
            };
            if mailboxes.len() == limit {
                break;
            }
            let feed = <[u8; 4]>::try_from(number)
                .ok()
                .and_then(|bytes| FeedId::new(u32::from_be_bytes(bytes)).ok())
                .ok_or_else(|| RegistryError::Damaged("a mailbox's feed".to_owned()))?;
            mailboxes.push((feed, decode(&row)?));
        }
        Ok(mailboxes)
    }

    pub(super) fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, RegistryError> {
        let mut events = Vec::new();
        let start = event_key(after.saturating_add(1));
        for item in self.instant().range(&self.events, start..) {
            if events.len() == limit {
                break;
            }
            let (key, row) = item.into_inner().map_err(unavailable)?;
            let number = <[u8; 8]>::try_from(&*key)
                .map_err(|_| RegistryError::Damaged("an event's number".to_owned()))?;
            events.push(Event {
                seq: u64::from_be_bytes(number),
                body: decode::<NewEvent>(&row)?,
            });
        }
        Ok(events)
    }
}

impl Ground for Store {
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<impl AsRef<[u8]>>, RegistryError> {
        let read = || self.keyspace(table).get(key).map_err(unavailable);
        match key_at_hand(table, key) {
            Some(key) => self.at_hand.row(key, read),
            None => read(),
        }
    }

    fn under(&self, table: Table, prefix: &[u8]) -> Result<Rows, RegistryError> {
        let rows = self.instant().prefix(self.keyspace(table), prefix);
        rows.map(|item| {
            let (key, row) = item.into_inner().map_err(unavailable)?;
            Ok((key.to_vec(), row.to_vec()))
        })
        .collect()
    }
}

/// The key of a row that is kept at hand, if it is a device's.
fn key_at_hand(table: Table, key: &[u8]) -> Option<at_hand::Key> {
    match table {
        Table::Devices => key.try_into().ok(),
        _ => None,
    }
}

/// What went wrong, for people, and what is to be done if it will not pass.
fn told(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            error.to_string()
        }
        fjall::Error::Poisoned => "a write has failed before".to_owned(),
        fjall::Error::JournalRecovery(_) | fjall::Error::Storage(_) => {
            format!("its files are damaged, so restore a backup ({error})")
        }
        fjall::Error::Locked => "another process has it open".to_owned(),
        _ => error.to_string(),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(super) fn unavailable(error: fjall::Error) -> RegistryError {
    RegistryError::Unavailable(told(&error))
}
