//! The default store: one `fjall` database in the data directory.
//!
//! Reads come from any task. Writes go to one thread that gathers whoever is
//! waiting into one batch and syncs it once; nothing is visible before it is
//! on disk, because durability is asked for in the batch itself.

mod at_hand;
mod copy;
mod double;
mod faults;
mod journal;
mod lists;
mod mark;
mod open_error;
mod shelves;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};

use self::double::Double;
use self::faults::Faults;
use self::mark::Mark;
use self::store::Store;
use self::writer::{Request, Writer};
use super::backup::{Inventory, NotBackedUp, NotRestored};
use super::check::{self, Progress, Repair, Terms, Verdict};
use super::rows::{self, Table};
use super::staging::Ground;
use super::{Batch, Census, Commit, ProductCensus, Registration, Registry, RegistryError, Write};
use crate::ban::Ban;
use crate::clock::Timestamp;
use crate::device::Device;
use crate::event::{Event, NewEvent};
use crate::feed::CurrentValue;
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::{Change, Mail, Mailbox, Outcome};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName};
use crate::product::{DatastreamId, Product};
use crate::sealing::SealedSecret;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};
use crate::token::Token;

pub use self::open_error::{NotChecked, OpenError};

/// The registry in a directory of its own.
///
/// Whoever opens it has made sure that nobody else does; the store's own lock
/// stands behind that.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Writer,
}

/// What readers and the writer share. While the writer reopens the store after
/// an I/O error there is none, and readers say why.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    store: RwLock<Result<Arc<Store>, RegistryError>>,
    mark: Mark,
    newest: watch::Sender<u64>,
    faults: Faults,
}

impl Shared {
    fn store(&self) -> Result<Arc<Store>, RegistryError> {
        self.store
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, store: Result<Arc<Store>, RegistryError>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
    }
}

impl Embedded {
    /// Opens the store in `path`, making it if it is not there. One that has
    /// lost something is refused, and left as it is.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Double::clear(path);
        Store::make_if_empty(path)?;
        let (store, counters, mark) = Store::open_marked(path)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            store: RwLock::new(Ok(Arc::new(store))),
            mark,
            newest: watch::Sender::new(counters.newest_event),
            faults: Faults::default(),
        });
        let writer =
            Writer::spawn(Arc::clone(&shared), counters).map_err(|error| OpenError::Store {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self { shared, writer })
    }

    /// Puts a backup into `path`, where no store is. Every row of it is read.
    /// Feeds go on behind `feeds_after`, or far behind those of the backup:
    /// the one named is the last that is not given out.
    pub fn restore(
        backup: &Path,
        path: &Path,
        feeds_after: Option<FeedId>,
    ) -> Result<(Inventory, FeedId), NotRestored> {
        copy::restore(backup, path, feeds_after)
    }

    /// Checks the store in `path`, which nothing has open. Findings are reported,
    /// and are no error; a store that has lost something is one. Without a repair
    /// the store's files stay as they are: a double of it is opened.
    pub async fn check(
        path: &Path,
        terms: Terms<'_>,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, NotChecked> {
        if terms.repair == Repair::Report {
            Store::look(path)?;
            let double = Double::of(path)?;
            let opened = Store::open_marked(double.path());
            let (store, _, _mark) = opened.map_err(|error| error.of(path))?;
            return Ok(check::check(&store, terms, tell).await?);
        }
        if terms.repair == Repair::AcceptLoss {
            Store::accept_loss(path)?;
        }
        let (store, _, _mark) = Store::open_marked(path)?;
        Ok(check::check(&store, terms, tell).await?)
    }

    /// The rows themselves.
    #[cfg(test)]
    pub(in crate::registry) fn shelves(&self) -> Arc<dyn super::check::Shelves> {
        self.shared.store().expect("it is open")
    }

    /// The open store. While it is closed after an error, asking for it is what
    /// has it opened again.
    fn store(&self) -> Result<Arc<Store>, RegistryError> {
        self.shared.faults.read()?;
        self.shared.store().inspect_err(|_| self.writer.nudge())
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, RegistryError>>) -> Request,
    ) -> Result<T, RegistryError> {
        let (answer, asked) = oneshot::channel();
        let gone = || RegistryError::Unavailable("its writer has ended".to_owned());
        self.writer
            .send(request(answer))
            .await
            .map_err(|()| gone())?;
        asked.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Registry for Embedded {
    async fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        self.store()?.device(feed)
    }

    async fn by_serial(&self, serial: &Serial) -> Result<Vec<Device>, RegistryError> {
        self.store()?.by_serial(serial)
    }

    async fn by_code(&self, code: &CodeDigest) -> Result<Vec<Device>, RegistryError> {
        let store = self.store()?;
        store.devices_at(&rows::code_key(code))
    }

    async fn by_key(&self, key: &KeyDigest) -> Result<Option<Device>, RegistryError> {
        let rows = self.store()?;
        Ok(rows.devices_at(&rows::api_key_key(key))?.pop())
    }

    async fn devices(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
    ) -> Result<Vec<Device>, RegistryError> {
        self.store()?.page(product, after, limit)
    }

    async fn product(&self, id: &ProductId) -> Result<Option<Product>, RegistryError> {
        self.store()?.read(Table::Meta, &rows::product_key(id))
    }

    async fn products(&self) -> Result<Vec<Product>, RegistryError> {
        self.store()?.all(rows::PRODUCTS)
    }

    async fn operator(&self, name: &OperatorName) -> Result<Option<Operator>, RegistryError> {
        self.store()?.read(Table::Meta, &rows::operator_key(name))
    }

    async fn operators(&self) -> Result<Vec<Operator>, RegistryError> {
        self.store()?.all(rows::OPERATORS)
    }

    async fn bans(&self) -> Result<Vec<Ban>, RegistryError> {
        self.store()?.all(rows::BANS)
    }

    async fn datastreams(&self, feed: FeedId) -> Result<Vec<DatastreamId>, RegistryError> {
        let row = self
            .store()?
            .read(Table::Index, &rows::datastreams_key(feed))?;
        Ok(row.unwrap_or_default())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, RegistryError> {
        self.store()?.events(after, limit)
    }

    async fn census(&self) -> Result<Census, RegistryError> {
        Ok(self.store()?.counters()?.census)
    }

    async fn product_census(&self, id: &ProductId) -> Result<ProductCensus, RegistryError> {
        let key = rows::product_census_key(id);
        Ok(self.store()?.read(Table::Meta, &key)?.unwrap_or_default())
    }

    async fn values(&self, feed: FeedId) -> Result<Vec<CurrentValue>, RegistryError> {
        let found = self.store()?.under(Table::Mail, &rows::values_key(feed))?;
        found.into_values().map(|row| rows::decode(&row)).collect()
    }

    async fn token(&self, digest: &TokenDigest) -> Result<Option<Token>, RegistryError> {
        self.store()?.read(Table::Meta, &rows::token_key(digest))
    }

    async fn tokens(&self) -> Result<Vec<Token>, RegistryError> {
        self.store()?.all(rows::TOKENS)
    }

    async fn licence_key(&self) -> Result<Option<SealedSecret>, RegistryError> {
        self.store()?.read(Table::Meta, rows::LICENCE_KEY_KEY)
    }

    async fn sealing_proof(&self) -> Result<Option<SealedSecret>, RegistryError> {
        self.store()?.read(Table::Meta, rows::SEALING_PROOF_KEY)
    }

    async fn occasion(&self, id: &OccasionId) -> Result<Option<Occasion>, RegistryError> {
        self.store()?.read(Table::Meta, &rows::occasion_key(id))
    }

    async fn occasions(&self) -> Result<Vec<(OccasionId, Timestamp)>, RegistryError> {
        let found = self.store()?.under(Table::Meta, &[rows::OCCASIONS])?;
        let each = found.iter();
        each.map(|(key, row)| rows::occasion_in(key, row)).collect()
    }

    async fn commit(&self, write: Write, events: Vec<NewEvent>) -> Result<Commit, RegistryError> {
        self.ask(|answer| Request::Commit {
            write: Box::new(write),
            events,
            answer,
        })
        .await
    }

    async fn register(&self, batch: Batch) -> Result<Vec<Registration>, RegistryError> {
        self.ask(|answer| Request::Register { batch, answer }).await
    }

    async fn mailbox(&self, feed: FeedId) -> Result<Option<Mailbox>, RegistryError> {
        self.store()?.read(Table::Mail, &rows::mailbox_key(feed))
    }

    async fn mail(
        &self,
        feed: FeedId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Mail)>, RegistryError> {
        self.store()?.mail(feed, after, limit)
    }

    async fn configuration(&self, feed: FeedId) -> Result<Option<Mail>, RegistryError> {
        let key = rows::configuration_key(feed);
        self.store()?.read(Table::Mail, &key)
    }

    async fn mailboxes(
        &self,
        after: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<(FeedId, Mailbox)>, RegistryError> {
        self.store()?.mailboxes(after, limit)
    }

    async fn change_mailbox(&self, feed: FeedId, change: Change) -> Result<Outcome, RegistryError> {
        self.ask(|answer| Request::Mailbox {
            feed,
            change,
            answer,
        })
        .await
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    async fn back_up(&self, into: &Path, now: Timestamp) -> Result<Inventory, NotBackedUp> {
        if into.starts_with(&self.shared.path) {
            return Err(NotBackedUp::NotEmpty(self.shared.path.clone()));
        }
        let (store, into) = (self.store()?, into.to_owned());
        let wanted = copy::Wanted::default();
        let unwanted = wanted.watch();
        let copying =
            tokio::task::spawn_blocking(move || copy::back_up(&store, &into, now, &unwanted));
        let copied = copying.await;
        drop(wanted);
        copied.map_err(|_| NotBackedUp::GivenUp)?
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod damage_tests;
