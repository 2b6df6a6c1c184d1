//! How things lie in the store: tables, keys and the encoding of a row.
//!
//! Five keyspaces, because each costs memory and a file set of its own. A row
//! is one format byte and then `postcard`; a reader of a later format can tell
//! the old rows from the new.

use std::collections::BTreeMap;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use serde::{Deserialize, Serialize};

use super::super::{Census, RegistryError};
use super::OpenError;
use super::layout::Row;
use crate::ban::Network;
use crate::device::Device;
use crate::event::{Event, NewEvent};
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::{Mail, Mailbox};
use crate::once::OccasionId;
use crate::operator::OperatorName;
use crate::product::DatastreamId;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};

/// The layout of the whole store.
const FORMAT: u32 = 1;

const FORMAT_KEY: &[u8] = b"format";
pub(super) const COUNTERS_KEY: &[u8] = b"counters";
pub(super) const PRODUCTS: u8 = b'P';
pub(super) const OPERATORS: u8 = b'O';
const MAILBOXES: u8 = b'b';
pub(super) const BANS: u8 = b'B';
pub(super) const TOKENS: u8 = b'T';
pub(super) const OCCASIONS: u8 = b'I';
const PRODUCT_CENSUS: u8 = b'N';
pub(super) const LICENCE_KEY_KEY: &[u8] = b"licence key";
/// Stands in the meta table once devices have been counted by product.
const COUNTED_KEY: &[u8] = b"counted";

/// A keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    /// Format, counters, products, operators, tokens, bans, the licence key, and
    /// requests that are carried out once.
    Meta,
    /// Feed → device.
    Devices,
    /// Serial, code and key → feeds; product and serial → feed; feed → its own
    /// datastreams, and the counters of its requests.
    Index,
    /// Number → event.
    Events,
    /// Feed → session and configuration; feed and number → mail; feed and
    /// datastream → current value.
    Mail,
}

/// What must never go backwards, written with every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) newest_event: u64,
    pub(super) newest_feed: u32,
    pub(super) census: Census,
}

impl Row for Counters {}

/// An open store.
pub(super) struct Rows {
    database: Database,
    meta: Keyspace,
    devices: Keyspace,
    index: Keyspace,
    events: Keyspace,
    mail: Keyspace,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows(…)")
    }
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<(Self, Counters), OpenError> {
        let store = |reason: String| OpenError::Store {
            path: path.to_owned(),
            reason,
        };
        let rows = Self::open_tables(path).map_err(|error| store(error.to_string()))?;
        let damaged = |error: RegistryError| store(error.to_string());
        match rows.read::<u32>(Table::Meta, FORMAT_KEY).map_err(damaged)? {
            Some(FORMAT) => {}
            Some(found) => {
                return Err(OpenError::NewerFormat {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            None => {
                let mut batch = rows.batch();
                rows.insert(&mut batch, Table::Meta, FORMAT_KEY, encode(&FORMAT));
                let fresh = encode(&Counters::default());
                rows.insert(&mut batch, Table::Meta, COUNTERS_KEY, fresh);
                batch.commit().map_err(|error| store(error.to_string()))?;
            }
        }
        rows.count_by_product().map_err(damaged)?;
        let counters = rows.counters().map_err(damaged)?;
        Ok((rows, counters))
    }

    fn open_tables(path: &Path) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .max_journaling_size(128 * 1024 * 1024)
            .cache_size(64 * 1024 * 1024)
            .open()?;
        let table = |name: &str| {
            database.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(16 * 1024 * 1024)
            })
        };
        Ok(Self {
            meta: table("meta")?,
            devices: table("devices")?,
            index: table("index")?,
            events: table("events")?,
            mail: table("mail")?,
            database,
        })
    }

    /// Counts devices by product in a store that was written before that was
    /// done with every batch.
    fn count_by_product(&self) -> Result<(), RegistryError> {
        if self.read::<u32>(Table::Meta, COUNTED_KEY)?.is_some() {
            return Ok(());
        }
        let mut by_product: BTreeMap<ProductId, Census> = BTreeMap::new();
        for item in self.instant().range::<&[u8], _>(&self.devices, ..) {
            let device: Device = decode(&item.value().map_err(unavailable)?)?;
            let lifecycle = device.lifecycle();
            by_product.entry(device.product).or_default().add(lifecycle);
        }
        let mut batch = self.batch();
        for (product, census) in by_product {
            let key = product_census_key(&product);
            self.insert(&mut batch, Table::Meta, &key, encode(&census));
        }
        self.insert(&mut batch, Table::Meta, COUNTED_KEY, encode(&1u32));
        batch.commit().map_err(unavailable)
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Meta => &self.meta,
            Table::Devices => &self.devices,
            Table::Index => &self.index,
            Table::Events => &self.events,
            Table::Mail => &self.mail,
        }
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

    pub(super) fn remove(&self, batch: &mut fjall::OwnedWriteBatch, table: Table, key: &[u8]) {
        batch.remove(self.keyspace(table), key);
    }

    /// One row's bytes.
    pub(super) fn bytes(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<fjall::Slice>, RegistryError> {
        self.keyspace(table).get(key).map_err(unavailable)
    }

    /// One row.
    pub(super) fn read<T: Row>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, RegistryError> {
        self.bytes(table, key)?.map(|row| decode(&row)).transpose()
    }

    pub(super) fn counters(&self) -> Result<Counters, RegistryError> {
        self.read(Table::Meta, COUNTERS_KEY)?
            .ok_or_else(|| RegistryError::Damaged("its counters are missing".to_owned()))
    }

    pub(super) fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        self.read(Table::Devices, &device_key(feed))
    }

    /// A batch reaches the tables row by row: whoever reads more than one row
    /// has to look at one instant.
    fn instant(&self) -> Snapshot {
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

    /// All rows whose keys begin so, with their keys.
    pub(super) fn under(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, RegistryError> {
        let rows = self.instant().prefix(self.keyspace(table), prefix);
        rows.map(|item| {
            let (key, row) = item.into_inner().map_err(unavailable)?;
            Ok((key.to_vec(), row.to_vec()))
        })
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

pub(super) fn device_key(feed: FeedId) -> [u8; 4] {
    feed.as_u32().to_be_bytes()
}

pub(super) fn mailbox_key(feed: FeedId) -> Vec<u8> {
    tagged(MAILBOXES, &device_key(feed))
}

pub(super) fn configuration_key(feed: FeedId) -> Vec<u8> {
    tagged(b'c', &device_key(feed))
}

pub(super) fn mail_key(feed: FeedId, number: u64) -> Vec<u8> {
    let mut key = tagged(b'm', &device_key(feed));
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn event_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

pub(super) fn serial_key(serial: &Serial) -> Vec<u8> {
    tagged(b's', serial.as_str().as_bytes())
}

pub(super) fn code_key(code: &CodeDigest) -> Vec<u8> {
    tagged(b'c', code.as_bytes())
}

pub(super) fn api_key_key(key: &KeyDigest) -> Vec<u8> {
    tagged(b'k', key.as_bytes())
}

/// Product ids have one length, so what follows is the serial.
pub(super) fn member_key(product: &ProductId, serial: &str) -> Vec<u8> {
    let mut key = tagged(b'p', product.as_str().as_bytes());
    key.extend_from_slice(serial.as_bytes());
    key
}

pub(super) fn product_key(id: &ProductId) -> Vec<u8> {
    tagged(PRODUCTS, id.as_str().as_bytes())
}

pub(super) fn operator_key(name: &OperatorName) -> Vec<u8> {
    tagged(OPERATORS, name.as_str().as_bytes())
}

pub(super) fn ban_key(network: &Network) -> Vec<u8> {
    tagged(BANS, network.to_string().as_bytes())
}

pub(super) fn token_key(digest: &TokenDigest) -> Vec<u8> {
    tagged(TOKENS, digest.as_bytes())
}

pub(super) fn occasion_key(id: &OccasionId) -> Vec<u8> {
    tagged(OCCASIONS, id.as_bytes())
}

pub(super) fn product_census_key(product: &ProductId) -> Vec<u8> {
    tagged(PRODUCT_CENSUS, product.as_str().as_bytes())
}

/// Where a feed's values begin.
pub(super) fn values_key(feed: FeedId) -> Vec<u8> {
    tagged(b'v', &device_key(feed))
}

pub(super) fn value_key(feed: FeedId, datastream: &DatastreamId) -> Vec<u8> {
    let mut key = values_key(feed);
    key.extend_from_slice(datastream.as_str().as_bytes());
    key
}

pub(super) fn datastreams_key(feed: FeedId) -> Vec<u8> {
    tagged(b'd', &device_key(feed))
}

pub(super) fn window_key(feed: FeedId) -> Vec<u8> {
    tagged(b'w', &device_key(feed))
}

fn tagged(tag: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(tag);
    key.extend_from_slice(name);
    key
}

pub(super) fn encode<T: Row>(value: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "our rows hold nothing that postcard cannot write to memory"
    )]
    postcard::to_extend(value, vec![T::LAYOUT]).expect("a row can be encoded")
}

pub(super) fn decode<T: Row>(row: &[u8]) -> Result<T, RegistryError> {
    let unknown = || RegistryError::Damaged("a row of an unknown layout".to_owned());
    let (layout, body) = row.split_first().ok_or_else(unknown)?;
    let read = match *layout {
        current if current == T::LAYOUT => postcard::from_bytes(body),
        earlier => T::read_earlier(earlier, body).ok_or_else(unknown)?,
    };
    read.map_err(|error| RegistryError::Damaged(format!("a row does not decode: {error}")))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(super) fn unavailable(error: fjall::Error) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}
