//! One batch in the making: what its writes have changed so far, laid over
//! what is on disk, so that a later write in the batch sees the earlier ones.
//!
//! What each write does to the rows is said here and nowhere else, for every
//! store that keeps rows. Nothing here touches a store but to read from it;
//! [`Staging::finish`] gives the whole batch to whoever writes it at once.

mod codes;
mod devices;
mod sealed;
mod values;

use std::collections::{BTreeMap, HashMap};

use super::rows::{self, COUNTERS_KEY, Counters, Row, Table};
use super::{Batch, Commit, ProductCensus, Registration, RegistryError, Write};
use crate::ban::{Ban, Network};
use crate::event::NewEvent;
use crate::identity::{FeedId, ProductId};
use crate::mailbox::{self, Change, Mailbox, Outcome};
use crate::once::Occasion;
use crate::operator::{Operator, OperatorName};
use crate::product::Product;
use crate::token::Token;

/// What a batch is laid over: a store, read as it was before the batch.
pub(super) trait Ground {
    /// One row.
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<impl AsRef<[u8]>>, RegistryError>;

    /// All rows whose keys begin so, with their keys.
    fn under(&self, table: Table, prefix: &[u8]) -> Result<Rows, RegistryError>;
}

/// Rows by their keys.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a batch makes of the rows.
#[derive(Debug)]
pub(super) struct Changes {
    /// `None` is a removal. Empty if nothing is to be written.
    pub(super) rows: HashMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// As they are behind the batch; they are among the rows.
    pub(super) counters: Counters,
}

impl Changes {
    /// Has something written where nothing has changed.
    pub(super) fn rewrite_counters(&mut self) {
        let row = rows::encode(&self.counters);
        let key = (Table::Meta, COUNTERS_KEY.to_vec());
        self.rows.insert(key, Some(row));
    }
}

/// A batch that has not been written.
pub(super) struct Staging<'a, G> {
    ground: &'a G,
    counters: Counters,
    /// Of products whose devices changed: a storm changes one of them with
    /// every write, so it becomes a row only once.
    censuses: HashMap<ProductId, ProductCensus>,
    /// `None` is a removal.
    changes: HashMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// A row that could not be read while a write was half staged: the batch
    /// must not be written.
    spoiled: Option<RegistryError>,
}

impl<'a, G: Ground> Staging<'a, G> {
    pub(super) fn new(ground: &'a G, counters: Counters) -> Self {
        Self {
            ground,
            counters,
            censuses: HashMap::new(),
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
        if batch.devices.len() as u64 > room {
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

    /// What has to be written now, all of it or nothing.
    pub(super) fn finish(mut self) -> Result<Changes, RegistryError> {
        if let Some(error) = self.spoiled {
            return Err(error);
        }
        for (product, census) in std::mem::take(&mut self.censuses) {
            self.put(Table::Meta, rows::product_census_key(&product), &census);
        }
        let counters = self.counters;
        if !self.changes.is_empty() {
            self.put(Table::Meta, COUNTERS_KEY.to_vec(), &counters);
        }
        Ok(Changes {
            rows: self.changes,
            counters,
        })
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
            Write::Seated { device, seats } => self.seat_device(device, seats)?,
            Write::Counted { feed, counter } => self.count_request(feed, counter)?,
            Write::LicenceKey(sealed) => self.keep_sealed(rows::LICENCE_KEY_KEY, &sealed)?,
            Write::SealingProof(sealed) => self.keep_sealed(rows::SEALING_PROOF_KEY, &sealed)?,
            Write::Reseal(reseal) => self.reseal(*reseal)?,
            Write::Product(next) => self.replace_product(*next)?,
            Write::Operator(next) => self.replace_operator(next)?,
            Write::RemoveOperator(name) => self.remove_operator(&name)?,
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
            } => self.add_datastreams(feed, vec![datastream], most)?,
            Write::Values {
                feed,
                values,
                names,
                most,
            } => self.put_values(feed, &values, names, most)?,
            Write::Codes { product, members } => self.recode(*product, &members)?,
            Write::RemoveDevice {
                device,
                generation,
                codes,
                signed_until,
            } => match self.knows_secrets(&device.product, generation)? {
                true => self.remove_device(&device, &codes, signed_until)?,
                false => Commit::Lost,
            },
            Write::RenameDevice {
                device,
                serial,
                generation,
                ended,
                codes,
                signed_until,
            } => match self.knows_secrets(&device.product, generation)? {
                true => match self.rename_device(&device, serial, &ended, &codes)? {
                    Commit::Done => {
                        self.counters.note_signed(signed_until);
                        Commit::Done
                    }
                    Commit::Lost => Commit::Lost,
                },
                false => Commit::Lost,
            },
            Write::RemoveProduct(product) => self.remove_product(&product)?,
            Write::Token(token) => {
                self.put(Table::Meta, rows::token_key(&token.digest), &token);
                Commit::Done
            }
            Write::RemoveToken(digest) => {
                self.take::<Token>(Table::Meta, rows::token_key(&digest))?
            }
            Write::Begin(id, occasion) => {
                let key = rows::occasion_key(&id);
                match self.read::<Occasion>(Table::Meta, &key)? {
                    Some(_) => Commit::Lost,
                    None => {
                        self.put(Table::Meta, key, &occasion);
                        Commit::Done
                    }
                }
            }
            Write::End(id, occasion) => {
                self.put(Table::Meta, rows::occasion_key(&id), &occasion);
                Commit::Done
            }
            Write::Forget(id) => self.take::<Occasion>(Table::Meta, rows::occasion_key(&id))?,
            Write::Note => Commit::Done,
        };
        if outcome == Commit::Done {
            for event in events {
                self.append(event);
            }
        }
        Ok(outcome)
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
                None => self.drop_row(Table::Mail, key),
            }
        }
        for number in applied.removed {
            self.drop_row(Table::Mail, rows::mail_key(feed, number));
        }
        if let Some((number, mail)) = &applied.added {
            self.put(Table::Mail, rows::mail_key(feed, *number), mail);
        }
        let key = rows::configuration_key(feed);
        match &applied.configuration {
            Some(Some(mail)) => self.put(Table::Mail, key, mail),
            Some(None) => self.drop_row(Table::Mail, key),
            None => {}
        }
        Ok(applied.outcome)
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

    /// Removes an operator, and its tokens with it.
    fn remove_operator(&mut self, name: &OperatorName) -> Result<Commit, RegistryError> {
        let taken = self.take::<Operator>(Table::Meta, rows::operator_key(name))?;
        if taken == Commit::Done {
            for (key, row) in self.under(Table::Meta, &[rows::TOKENS])? {
                if rows::decode::<Token>(&row)?.operator == *name {
                    self.drop_row(Table::Meta, key);
                }
            }
        }
        Ok(taken)
    }

    fn remove_product(&mut self, product: &Product) -> Result<Commit, RegistryError> {
        let key = rows::product_key(&product.id);
        let found: Option<Product> = self.read(Table::Meta, &key)?;
        let unchanged = found.is_some_and(|found| found.version == product.version);
        if !unchanged || self.product_census(&product.id)?.lifecycles.total() > 0 {
            return Ok(Commit::Lost);
        }
        self.drop_row(Table::Meta, key);
        self.censuses.remove(&product.id);
        self.drop_row(Table::Meta, rows::product_census_key(&product.id));
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

    fn append(&mut self, event: &NewEvent) {
        self.counters.newest_event += 1;
        let key = rows::event_key(self.counters.newest_event).to_vec();
        self.put(Table::Events, key, event);
    }

    fn put<T: Row>(&mut self, table: Table, key: Vec<u8>, value: &T) {
        self.changes.insert((table, key), Some(rows::encode(value)));
    }

    fn drop_row(&mut self, table: Table, key: Vec<u8>) {
        self.changes.insert((table, key), None);
    }

    /// Removes a row; lost if there is none.
    fn take<T: Row>(&mut self, table: Table, key: Vec<u8>) -> Result<Commit, RegistryError> {
        Ok(match self.read::<T>(table, &key)? {
            Some(_) => {
                self.drop_row(table, key);
                Commit::Done
            }
            None => Commit::Lost,
        })
    }

    /// All rows whose keys begin so, this batch's changes included.
    fn under(&self, table: Table, prefix: &[u8]) -> Result<Rows, RegistryError> {
        let mut found = self.ground.under(table, prefix)?;
        for ((changed, key), change) in &self.changes {
            if *changed == table && key.starts_with(prefix) {
                match change {
                    Some(row) => found.insert(key.clone(), row.clone()),
                    None => found.remove(key),
                };
            }
        }
        Ok(found)
    }

    fn read<T: Row>(&self, table: Table, key: &[u8]) -> Result<Option<T>, RegistryError> {
        match self.changes.get(&(table, key.to_vec())) {
            Some(Some(row)) => rows::decode(row).map(Some),
            Some(None) => Ok(None),
            None => {
                let row = self.ground.row(table, key)?;
                row.map(|row| rows::decode(row.as_ref())).transpose()
            }
        }
    }
}
