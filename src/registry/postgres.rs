//! The store for several servers: a PostgreSQL database that all of them share.
//!
//! It keeps the very rows that the store in a directory keeps, under the very
//! keys, and what a write does to them is said once for both (`staging`). So
//! there is one set of rules and one of layouts, and a property test can hold
//! one store against another. The database gives what a directory cannot: one
//! truth for several servers, replicas, and its own backups.
//!
//! Each server gathers its writes into batches, one transaction each; how
//! several write at once is told in `batch`. Nothing is answered before its
//! commit has returned, on disk whatever the database's settings are. Servers
//! hear of each other's events by sealed notifications, with a poll behind them;
//! each holds a lock on a table of the registry while it is open, so that one
//! that needs the registry for itself can tell. Nothing here depends on what a
//! role without rights on the registry's tables may do: notify, listen, and take
//! advisory locks.
//!
//! Nothing here makes a connection: the pool and the [`Dial`] are handed in.
//! Nothing here knows what time it is, either; how long to wait is all that is
//! said.

mod batch;
mod dial;
mod hints;
mod known;
mod lease;
mod line;
mod migrations;
mod open_error;
mod place;
mod reading;
mod request;
mod shelves;
mod tables;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

pub use self::dial::{Dial, Line};
use self::hints::{Exchange, Teller};
pub use self::open_error::OpenError;
use self::request::Request;
use self::shelves::Tables;
use self::tables::{Pair, Select};
use super::check::{self, Progress, Terms, Verdict};
use super::rows::{self, MAILBOXES, Row, Table};
use super::{
    Batch, Census, Commit, Hint, HintCredentials, ProductCensus, Registration, Registry,
    RegistryError, Write,
};
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

/// Where servers tell each other hints.
const HINTS_CHANNEL: &str = "firstwake_hints";
/// How many hints are kept for whoever reads them slowly.
const HINTS_KEPT: usize = 8192;

/// The registry in a database, which other servers may have open, too.
#[derive(Debug)]
pub struct Postgres {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    teller: Teller,
    tasks: [AbortHandle; 2],
}

/// Who else may have the registry open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Anybody.
    AmongOthers,
    /// Nobody.
    Alone,
}

/// What the tasks of one server share.
struct Shared {
    pool: Pool,
    presence: Presence,
    newest: watch::Sender<u64>,
    /// Those of the others.
    hints: broadcast::Sender<Hint>,
    exchange: Exchange,
    /// Wakes whoever asks the database what is newest.
    look: Notify,
    /// Whether a letter of an unknown epoch has woken it since it last woke by
    /// itself.
    is_curious: AtomicBool,
    /// Wakes whoever sends hints.
    news: Notify,
    /// Whether the others have to hear that there is something new.
    has_news: AtomicBool,
    /// Whether the others can tell that this server is there.
    present: AtomicBool,
    /// What the sealing key is known again by, as this server first read it.
    proof: Mutex<Option<Vec<u8>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(…)")
    }
}

impl Shared {
    /// Events up to this number can be read. What comes late is old news.
    fn advance(&self, newest: u64) {
        self.newest.send_if_modified(|known| {
            let is_newer = newest > *known;
            *known = newest.max(*known);
            is_newer
        });
    }

    /// The registry may have been sealed anew while nobody could tell that this
    /// server was there: it seals with another key, and must write no more.
    fn check_proof(&self, found: Option<&Vec<u8>>) -> Result<(), RegistryError> {
        let Some(found) = found else { return Ok(()) };
        let mut known = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_or_insert_with(|| found.clone()) == found {
            true => Ok(()),
            false => Err(RegistryError::Unavailable(
                "it was sealed with another key meanwhile: put that sealing.key in place of the \
                 one before, and start again"
                    .to_owned(),
            )),
        }
    }

    /// It was this server that sealed the registry.
    fn note_proof(&self, written: Vec<u8>) {
        let mut known = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(written);
    }

    /// The others are to look what is newest.
    fn announce(&self) {
        self.has_news.store(true, Ordering::Release);
        self.news.notify_one();
    }

    fn enter(&self) {
        self.present.store(true, Ordering::Release);
        // An epoch may have to be drawn.
        self.look.notify_one();
    }

    /// Says whether it was present.
    fn leave(&self) -> bool {
        self.exchange.lose();
        self.present.swap(false, Ordering::AcqRel)
    }

    fn is_present(&self) -> bool {
        self.present.load(Ordering::Acquire)
    }
}

impl Postgres {
    /// Opens the registry beside others, making its tables if there are none.
    /// Pool and dial lead to the same database, of PostgreSQL 13 or newer, as a
    /// role that may create a schema in it or owns the schema `firstwake`; and
    /// they lead there themselves: something in between that hands connections
    /// from one to another loses notifications and locks.
    pub async fn open(pool: Pool, dial: Arc<dyn Dial>) -> Result<Self, OpenError> {
        Self::open_as(Presence::AmongOthers, pool, dial).await
    }

    /// The same for a registry that was there before: one that is not there any
    /// more is trouble, and not an empty one.
    pub async fn open_existing(pool: Pool, dial: Arc<dyn Dial>) -> Result<Self, OpenError> {
        migrations::require(&pool).await?;
        Self::open(pool, dial).await
    }

    /// Opens a registry that is there if nobody else has it open, and keeps
    /// others out.
    pub async fn open_alone(pool: Pool, dial: Arc<dyn Dial>) -> Result<Self, OpenError> {
        migrations::require(&pool).await?;
        Self::open_as(Presence::Alone, pool, dial).await
    }

    /// Checks every index and count. The registry is this server's alone.
    pub async fn check(
        &self,
        terms: Terms<'_>,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict, RegistryError> {
        check::check(&Tables(&self.shared.pool), terms, tell).await
    }

    async fn open_as(
        presence: Presence,
        pool: Pool,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, OpenError> {
        migrations::apply(&pool).await?;
        let (counters, place) = place::read(&pool).await?;
        let exchange = Exchange::default();
        exchange.learn(place);
        let shared = Arc::new(Shared {
            pool,
            presence,
            newest: watch::Sender::new(counters.newest_event),
            hints: broadcast::Sender::new(HINTS_KEPT),
            exchange,
            look: Notify::new(),
            is_curious: AtomicBool::new(false),
            news: Notify::new(),
            has_news: AtomicBool::new(false),
            present: AtomicBool::new(false),
            proof: Mutex::default(),
        });
        let (first, opened) = oneshot::channel();
        let line = tokio::spawn(line::run(dial, Arc::clone(&shared), first));
        let ended = |_| OpenError::Database("the connection has ended".to_owned());
        opened.await.map_err(ended)??;
        let look = tokio::spawn(hints::look(Arc::clone(&shared)));
        Ok(Self {
            requests: writer::spawn(Arc::clone(&shared)),
            teller: Teller::spawn(Arc::clone(&shared)),
            tasks: [line.abort_handle(), look.abort_handle()],
            shared,
        })
    }

    async fn read<T: Row>(&self, table: Table, key: &[u8]) -> Result<Option<T>, RegistryError> {
        reading::row(&self.shared.pool, table, key).await
    }

    async fn select(&self, select: Select) -> Result<Vec<Pair>, RegistryError> {
        reading::all(&self.shared.pool, &select).await
    }

    /// All rows of one kind in the meta table.
    async fn all<T: Row>(&self, kind: u8) -> Result<Vec<T>, RegistryError> {
        let found = self.select(Select::under(Table::Meta, &[kind])).await?;
        found.iter().map(|(_, row)| rows::decode(row)).collect()
    }

    /// The devices that an index row names, in its order.
    async fn devices_at(&self, key: Vec<u8>) -> Result<Vec<Device>, RegistryError> {
        let index = Select::Row(Table::Index, key);
        let then = |found: Vec<Pair>| {
            let feeds: Vec<FeedId> = match found.first() {
                Some((_, row)) => rows::decode(row)?,
                None => Vec::new(),
            };
            Ok(devices_of(feeds))
        };
        let found = reading::all_then(&self.shared.pool, &index, then).await?;
        found.iter().map(|(_, row)| rows::decode(row)).collect()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, RegistryError>>) -> Request,
    ) -> Result<T, RegistryError> {
        let (answer, asked) = oneshot::channel();
        let gone = || RegistryError::Unavailable("its writer has ended".to_owned());
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| gone())?;
        asked.await.map_err(|_| gone())?
    }
}

impl Drop for Postgres {
    /// What was accepted is still written: the writer ends behind it.
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn devices_of(feeds: Vec<FeedId>) -> Select {
    let keys = feeds.into_iter();
    let keys = keys.map(|feed| rows::device_key(feed).to_vec());
    Select::Rows(Table::Devices, keys.collect())
}

fn damaged(what: &str) -> RegistryError {
    RegistryError::Damaged(what.to_owned())
}

#[async_trait]
impl Registry for Postgres {
    async fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        self.read(Table::Devices, &rows::device_key(feed)).await
    }

    async fn by_serial(&self, serial: &Serial) -> Result<Vec<Device>, RegistryError> {
        self.devices_at(rows::serial_key(serial)).await
    }

    async fn by_code(&self, code: &CodeDigest) -> Result<Vec<Device>, RegistryError> {
        self.devices_at(rows::code_key(code)).await
    }

    async fn by_key(&self, key: &KeyDigest) -> Result<Option<Device>, RegistryError> {
        Ok(self.devices_at(rows::api_key_key(key)).await?.pop())
    }

    async fn devices(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
    ) -> Result<Vec<Device>, RegistryError> {
        let prefix = rows::member_key(product, "");
        let members = Select::Range {
            table: Table::Index,
            until: tables::behind(&prefix),
            from: match after {
                // The smallest key behind this one: no serial holds a NUL.
                Some(serial) => [&*rows::member_key(product, serial.as_str()), &[0]].concat(),
                None => prefix,
            },
            limit,
        };
        let then = |found: Vec<Pair>| {
            let feeds = found.iter().map(|(_, row)| rows::decode(row));
            Ok(devices_of(feeds.collect::<Result<_, _>>()?))
        };
        let found = reading::all_then(&self.shared.pool, &members, then).await?;
        let devices = found.iter().map(|(_, row)| rows::decode(row));
        let mut devices: Vec<Device> = devices.collect::<Result<_, _>>()?;
        // They came in the order of their feeds.
        devices.sort_by(|one, two| one.serial.cmp(&two.serial));
        Ok(devices)
    }

    async fn product(&self, id: &ProductId) -> Result<Option<Product>, RegistryError> {
        self.read(Table::Meta, &rows::product_key(id)).await
    }

    async fn products(&self) -> Result<Vec<Product>, RegistryError> {
        self.all(rows::PRODUCTS).await
    }

    async fn operator(&self, name: &OperatorName) -> Result<Option<Operator>, RegistryError> {
        self.read(Table::Meta, &rows::operator_key(name)).await
    }

    async fn operators(&self) -> Result<Vec<Operator>, RegistryError> {
        self.all(rows::OPERATORS).await
    }

    async fn bans(&self) -> Result<Vec<Ban>, RegistryError> {
        self.all(rows::BANS).await
    }

    async fn datastreams(&self, feed: FeedId) -> Result<Vec<DatastreamId>, RegistryError> {
        let row = self.read(Table::Index, &rows::datastreams_key(feed)).await;
        Ok(row?.unwrap_or_default())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, RegistryError> {
        let later = Select::Range {
            table: Table::Events,
            from: rows::event_key(after.saturating_add(1)).to_vec(),
            until: tables::END.to_vec(),
            limit,
        };
        let found = self.select(later).await?;
        let events = found.into_iter().map(|(key, row)| {
            let number = <[u8; 8]>::try_from(key.as_slice());
            let number = number.map_err(|_| damaged("an event's number"))?;
            Ok(Event {
                seq: u64::from_be_bytes(number),
                body: rows::decode::<NewEvent>(&row)?,
            })
        });
        events.collect()
    }

    async fn census(&self) -> Result<Census, RegistryError> {
        Ok(place::read(&self.shared.pool).await?.0.census)
    }

    async fn product_census(&self, id: &ProductId) -> Result<ProductCensus, RegistryError> {
        let row = self.read(Table::Meta, &rows::product_census_key(id)).await;
        Ok(row?.unwrap_or_default())
    }

    async fn values(&self, feed: FeedId) -> Result<Vec<CurrentValue>, RegistryError> {
        let values = Select::under(Table::Mail, &rows::values_key(feed));
        let found = self.select(values).await?;
        found.iter().map(|(_, row)| rows::decode(row)).collect()
    }

    async fn token(&self, digest: &TokenDigest) -> Result<Option<Token>, RegistryError> {
        self.read(Table::Meta, &rows::token_key(digest)).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, RegistryError> {
        self.all(rows::TOKENS).await
    }

    async fn licence_key(&self) -> Result<Option<SealedSecret>, RegistryError> {
        self.read(Table::Meta, rows::LICENCE_KEY_KEY).await
    }

    async fn sealing_proof(&self) -> Result<Option<SealedSecret>, RegistryError> {
        let key = rows::SEALING_PROOF_KEY.to_vec();
        let found = self.select(Select::Row(Table::Meta, key)).await?;
        let row = found.first().map(|(_, row)| row);
        self.shared.check_proof(row)?;
        row.map(|row| rows::decode(row)).transpose()
    }

    async fn occasion(&self, id: &OccasionId) -> Result<Option<Occasion>, RegistryError> {
        self.read(Table::Meta, &rows::occasion_key(id)).await
    }

    async fn occasions(&self) -> Result<Vec<(OccasionId, Timestamp)>, RegistryError> {
        let all = Select::under(Table::Meta, &[rows::OCCASIONS]);
        let found = self.select(all).await?;
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
        self.read(Table::Mail, &rows::mailbox_key(feed)).await
    }

    async fn mail(
        &self,
        feed: FeedId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Mail)>, RegistryError> {
        // Mail goes when its mailbox says so, so what lies there waits.
        let behind = Select::Range {
            table: Table::Mail,
            from: rows::mail_key(feed, after.saturating_add(1)),
            until: [rows::mail_key(feed, u64::MAX), vec![0]].concat(),
            limit,
        };
        let each = self.select(behind).await?.into_iter().map(|(key, row)| {
            let number = key.get(5..).and_then(|number| number.try_into().ok());
            let number = number.ok_or_else(|| damaged("a message's number"))?;
            Ok((u64::from_be_bytes(number), rows::decode(&row)?))
        });
        each.collect()
    }

    async fn configuration(&self, feed: FeedId) -> Result<Option<Mail>, RegistryError> {
        let key = rows::configuration_key(feed);
        self.read(Table::Mail, &key).await
    }

    async fn mailboxes(
        &self,
        after: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<(FeedId, Mailbox)>, RegistryError> {
        let behind = Select::Range {
            table: Table::Mail,
            from: match after {
                Some(feed) => [rows::mailbox_key(feed).as_slice(), &[0]].concat(),
                None => vec![MAILBOXES],
            },
            until: tables::behind(&[MAILBOXES]),
            limit,
        };
        let each = self.select(behind).await?.into_iter().map(|(key, row)| {
            let number = key.get(1..).and_then(|number| number.try_into().ok());
            let feed = number.map(u32::from_be_bytes);
            let feed = feed.and_then(|number| FeedId::new(number).ok());
            let feed = feed.ok_or_else(|| damaged("a mailbox's feed"))?;
            Ok((feed, rows::decode(&row)?))
        });
        each.collect()
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

    fn is_shared(&self) -> bool {
        true
    }

    fn seal_hints(&self, with: HintCredentials) {
        self.shared.exchange.introduce(with);
        self.shared.look.notify_one();
    }

    fn tell(&self, hint: Hint) {
        self.teller.tell(hint);
    }

    fn hints(&self) -> Option<broadcast::Receiver<Hint>> {
        let hints = self.shared.hints.subscribe();
        self.shared.exchange.listen();
        self.shared.look.notify_one();
        Some(hints)
    }
}

#[cfg(test)]
pub(crate) mod tests;
