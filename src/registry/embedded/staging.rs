//! One batch in the making: what its writes have changed so far, laid over
//! what is on disk, so that a later write in the batch sees the earlier ones.
//!
//! Nothing here touches the store but to read; [`Staging::commit`] hands the
//! whole batch over at once.

use std::collections::HashMap;

use super::super::{Batch, Commit, Registration, RegistryError, Write};
use super::layout::Row;
use super::rows::{self, COUNTERS_KEY, Counters, Rows, Table};
use crate::ban::{Ban, Network};
use crate::device::Device;
use crate::event::{EventKind, NewEvent};
use crate::identity::FeedId;
use crate::mailbox::{self, Change, Mailbox, Outcome};
use crate::operator::Operator;
use crate::product::{DatastreamId, Product};
use crate::secret::KeyDigest;

/// A batch that has not been written.
pub(super) struct Staging<'a> {
    rows: &'a Rows,
    pub(super) counters: Counters,
    /// `None` is a removal.
    changes: HashMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// A row that could not be read while a write was half staged: the batch
    /// must not be written.
    spoiled: Option<RegistryError>,
}

impl<'a> Staging<'a> {
    pub(super) fn new(rows: &'a Rows, counters: Counters) -> Self {
        Self {
            rows,
            counters,
            changes: HashMap::new(),
            spoiled: None,
        }
    }

    /// Stages a write with its events, unless somebody was faster.
    pub(super) fn write(
        &mut self,
        write: Write,
        events: &[NewEvent],
    ) -> Result<Commit, RegistryError> {
        let staged = self.stage_write(write, events);
        self.note_failure(staged)
    }

    /// Stages the registration of what is new in the batch.
    pub(super) fn register(&mut self, batch: &Batch) -> Result<Vec<Registration>, RegistryError> {
        let room = u64::from(FeedId::MAX - self.counters.newest_feed);
        if batch.serials.len() as u64 > room {
            return Err(RegistryError::FeedsExhausted);
        }
        let staged = self.stage_registrations(batch);
        self.note_failure(staged)
    }

    /// Stages a change of a device's session.
    pub(super) fn change_mailbox(
        &mut self,
        feed: FeedId,
        change: Change,
    ) -> Result<Outcome, RegistryError> {
        let staged = self.stage_mailbox(feed, change);
        self.note_failure(staged)
    }

    /// Hands the batch to the store; it is durable when this returns.
    pub(super) fn commit(self) -> Result<Counters, RegistryError> {
        if let Some(error) = self.spoiled {
            return Err(error);
        }
        if self.changes.is_empty() {
            return Ok(self.counters);
        }
        let mut batch = self.rows.batch();
        for ((table, key), change) in self.changes {
            match change {
                Some(value) => self.rows.insert(&mut batch, table, &key, value),
                None => self.rows.remove(&mut batch, table, &key),
            }
        }
        let counters = rows::encode(&self.counters);
        self.rows
            .insert(&mut batch, Table::Meta, COUNTERS_KEY, counters);
        batch.commit().map_err(rows::unavailable)?;
        Ok(self.counters)
    }

    fn note_failure<T>(&mut self, staged: Result<T, RegistryError>) -> Result<T, RegistryError> {
        if let Err(error) = &staged {
            self.spoiled.get_or_insert_with(|| error.clone());
        }
        staged
    }

    fn stage_write(&mut self, write: Write, events: &[NewEvent]) -> Result<Commit, RegistryError> {
        let outcome = match write {
            Write::Device(next) => self.replace_device(next)?,
            Write::Product(next) => self.replace_product(next)?,
            Write::Operator(next) => self.replace_operator(next)?,
            Write::RemoveOperator(name) => {
                let key = rows::operator_key(&name);
                match self.read::<Operator>(Table::Meta, &key)? {
                    Some(_) => {
                        self.changes.insert((Table::Meta, key), None);
                        Commit::Done
                    }
                    None => Commit::Lost,
                }
            }
            Write::Ban(ban) => {
                self.put(Table::Meta, rows::ban_key(&ban.network), &ban);
                Commit::Done
            }
            Write::RemoveBan(network) => self.remove_ban(&network, |_| true)?,
            Write::DropBan(ban) => self.remove_ban(&ban.network, |found| *found == ban)?,
            Write::Datastream {
                feed,
                datastream,
                most,
            } => self.add_datastream(feed, datastream, most)?,
            Write::Note => Commit::Done,
        };
        if outcome == Commit::Done {
            for event in events {
                self.append(event);
            }
        }
        Ok(outcome)
    }

    fn stage_registrations(&mut self, batch: &Batch) -> Result<Vec<Registration>, RegistryError> {
        let mut outcome = Vec::with_capacity(batch.serials.len());
        for (serial, codes) in &batch.serials {
            let member = rows::member_key(&batch.product, serial.as_str());
            if let Some(feed) = self.read(Table::Index, &member)? {
                outcome.push(Registration::Known(feed));
                continue;
            }
            let feed = FeedId::new(self.counters.newest_feed + 1)
                .map_err(|_| RegistryError::FeedsExhausted)?;
            self.counters.newest_feed = feed.as_u32();
            let device = Device::registered(batch.product.clone(), serial.clone(), feed, batch.at);
            self.counters.census.add(device.lifecycle());
            self.put(Table::Devices, rows::device_key(feed).to_vec(), &device);
            self.put(Table::Index, member, &feed);
            self.add_feed(rows::serial_key(serial), feed)?;
            for code in codes {
                self.add_feed(rows::code_key(code), feed)?;
            }
            self.append(&device.event(EventKind::DeviceRegistered, batch.at));
            outcome.push(Registration::New(feed));
        }
        Ok(outcome)
    }

    fn replace_device(&mut self, mut next: Device) -> Result<Commit, RegistryError> {
        let key = rows::device_key(next.feed).to_vec();
        let found = match self.read::<Device>(Table::Devices, &key)? {
            Some(found) if found.version == next.version => found,
            _ => return Ok(Commit::Lost),
        };
        let before: Vec<KeyDigest> = found.key_digests().collect();
        let after: Vec<KeyDigest> = next.key_digests().collect();
        for digest in before.iter().filter(|digest| !after.contains(digest)) {
            self.changes
                .insert((Table::Index, rows::api_key_key(digest)), None);
        }
        for digest in after.iter().filter(|digest| !before.contains(digest)) {
            self.put(Table::Index, rows::api_key_key(digest), &vec![next.feed]);
        }
        self.counters.census.remove(found.lifecycle());
        self.counters.census.add(next.lifecycle());
        if found.keeps_mailbox() && !next.keeps_mailbox() {
            self.remove_mailbox(next.feed)?;
        }
        next.version += 1;
        self.put(Table::Devices, key, &next);
        Ok(Commit::Done)
    }

    fn stage_mailbox(&mut self, feed: FeedId, change: Change) -> Result<Outcome, RegistryError> {
        let key = rows::mailbox_key(feed);
        let found: Option<Mailbox> = self.read(Table::Mail, &key)?;
        let configuration = match change.wants_configuration() {
            true => self.read(Table::Mail, &rows::configuration_key(feed))?,
            false => None,
        };
        let applied = mailbox::apply(found.clone(), configuration, change);
        if applied.mailbox != found {
            match &applied.mailbox {
                Some(mailbox) => self.put(Table::Mail, key, mailbox),
                None => drop(self.changes.insert((Table::Mail, key), None)),
            }
        }
        for number in applied.removed {
            let key = rows::mail_key(feed, number);
            self.changes.insert((Table::Mail, key), None);
        }
        if let Some((number, mail)) = &applied.added {
            self.put(Table::Mail, rows::mail_key(feed, *number), mail);
        }
        let key = rows::configuration_key(feed);
        match &applied.configuration {
            Some(Some(mail)) => self.put(Table::Mail, key, mail),
            Some(None) => drop(self.changes.insert((Table::Mail, key), None)),
            None => {}
        }
        Ok(applied.outcome)
    }

    /// Takes away a device's session and what waits in it.
    fn remove_mailbox(&mut self, feed: FeedId) -> Result<(), RegistryError> {
        let key = rows::mailbox_key(feed);
        if let Some(mailbox) = self.read::<Mailbox>(Table::Mail, &key)? {
            for number in mailbox.waiting(0) {
                let key = rows::mail_key(feed, number);
                self.changes.insert((Table::Mail, key), None);
            }
            self.changes.insert((Table::Mail, key), None);
        }
        Ok(())
    }

    fn replace_product(&mut self, mut next: Product) -> Result<Commit, RegistryError> {
        let key = rows::product_key(&next.id);
        let found: Option<Product> = self.read(Table::Meta, &key)?;
        if found.map_or(0, |found| found.version) != next.version {
            return Ok(Commit::Lost);
        }
        next.version += 1;
        self.put(Table::Meta, key, &next);
        Ok(Commit::Done)
    }

    fn replace_operator(&mut self, mut next: Operator) -> Result<Commit, RegistryError> {
        let key = rows::operator_key(&next.name);
        let found: Option<Operator> = self.read(Table::Meta, &key)?;
        if found.map_or(0, |found| found.version) != next.version {
            return Ok(Commit::Lost);
        }
        next.version += 1;
        self.put(Table::Meta, key, &next);
        Ok(Commit::Done)
    }

    fn remove_ban(
        &mut self,
        network: &Network,
        fits: impl Fn(&Ban) -> bool,
    ) -> Result<Commit, RegistryError> {
        let key = rows::ban_key(network);
        match self.read::<Ban>(Table::Meta, &key)? {
            Some(found) if fits(&found) => {
                self.changes.insert((Table::Meta, key), None);
                Ok(Commit::Done)
            }
            _ => Ok(Commit::Lost),
        }
    }

    fn add_datastream(
        &mut self,
        feed: FeedId,
        datastream: DatastreamId,
        most: u32,
    ) -> Result<Commit, RegistryError> {
        let key = rows::datastreams_key(feed);
        let mut names: Vec<DatastreamId> = self.read(Table::Index, &key)?.unwrap_or_default();
        if names.contains(&datastream) {
            return Ok(Commit::Done);
        }
        if names.len() as u64 >= u64::from(most) {
            return Ok(Commit::Lost);
        }
        names.push(datastream);
        self.put(Table::Index, key, &names);
        Ok(Commit::Done)
    }

    fn add_feed(&mut self, key: Vec<u8>, feed: FeedId) -> Result<(), RegistryError> {
        let mut feeds: Vec<FeedId> = self.read(Table::Index, &key)?.unwrap_or_default();
        feeds.push(feed);
        self.put(Table::Index, key, &feeds);
        Ok(())
    }

    fn append(&mut self, event: &NewEvent) {
        self.counters.newest_event += 1;
        let key = rows::event_key(self.counters.newest_event).to_vec();
        self.put(Table::Events, key, event);
    }

    fn put<T: Row>(&mut self, table: Table, key: Vec<u8>, value: &T) {
        self.changes.insert((table, key), Some(rows::encode(value)));
    }

    fn read<T: Row>(&self, table: Table, key: &[u8]) -> Result<Option<T>, RegistryError> {
        match self.changes.get(&(table, key.to_vec())) {
            Some(Some(row)) => rows::decode(row).map(Some),
            Some(None) => Ok(None),
            None => self.rows.read(table, key),
        }
    }
}
