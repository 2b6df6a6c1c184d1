//! Whether a store fits together: every index row against every device, every
//! count against what is counted, the log's numbers, and whether each row can
//! be read at all.
//!
//! One checker for every store that keeps rows: it reads `Shelves`. It goes
//! through the tables in pages and holds a page at a time, so that its memory
//! does not grow with the fleet. What can be computed from devices and
//! products, an index row or a count, it mends if it is told to; it never
//! touches a device, a product, an event, or anything else that is said
//! nowhere twice.
//!
//! Nobody else may write meanwhile.

mod counts;
mod devices;
mod index;
mod log;
mod mail;
mod products;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use async_trait::async_trait;

use self::products::Known;
use super::rows::{self, Counters, Name, Row, Table};
use super::{Census, RegistryError};
use crate::clock::Timestamp;
use crate::device::Device;
use crate::identity::{FeedId, ProductId};
use crate::sealing::SealingKey;

/// Rows read at once.
const PAGE: usize = 1000;

/// A store whose rows can be read in order, and written beside the one writer
/// that it has while it serves.
#[async_trait]
pub(super) trait Shelves: Send + Sync {
    /// Rows of a table with their keys, in the order of the keys, behind one.
    async fn page(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError>;

    /// A row for each key, in their order.
    async fn rows(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, RegistryError>;

    /// Writes rows, all of them or none; `None` is a removal.
    async fn put(&self, rows: Changed) -> Result<(), RegistryError>;
}

/// Rows that are to be written.
pub(super) type Changed = HashMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// What is to be done about what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    Report,
    /// Index rows and counts are put right.
    Mend,
    /// The same, and what a damaged or shortened store has lost is given up
    /// first, so that it opens.
    AcceptLoss,
}

/// What a check is given.
pub struct Terms<'a> {
    /// Opens the product secrets, which codes are computed with. Without it
    /// codes are left alone.
    pub sealing: Option<&'a SealingKey>,
    /// Which secrets are accepted depends on it.
    pub now: Timestamp,
    /// What is to be done.
    pub repair: Repair,
}

/// What a check says while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A row, or what should be one, is not as it should be.
    Found(Finding),
    /// So many rows have been read.
    Read {
        /// Of this table.
        table: &'static str,
        /// Since the check began.
        rows: u64,
    },
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table it is in.
    pub table: &'static str,
    /// The row's key, for people.
    pub row: String,
    /// What is wrong with it.
    pub fault: String,
    /// What becomes of it.
    pub remedy: Remedy,
}

/// What becomes of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A check that mends puts it right.
    Mendable,
    /// It was put right.
    Mended,
    /// It can be put right by nobody but people, and perhaps a backup.
    Lasting,
    /// It belongs to a device that is gone, and does no harm.
    LeftOver,
}

impl Remedy {
    /// The word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mendable => "mendable",
            Self::Mended => "mended",
            Self::Lasting => "lasting",
            Self::LeftOver => "left over",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            row,
            fault,
            remedy,
        } = self;
        write!(f, "{table}: {row}: {fault} ({})", remedy.as_str())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that were read.
    pub rows: u64,
    /// Devices among them.
    pub devices: u64,
    /// The number of the newest event.
    pub newest_event: u64,
    /// Findings that a check which mends would put right.
    pub mendable: u64,
    /// Findings that were put right.
    pub mended: u64,
    /// Findings that stay.
    pub lasting: u64,
    /// Rows of devices that are gone.
    pub left_over: u64,
}

impl Verdict {
    /// Whether everything fits now.
    pub fn is_sound(&self) -> bool {
        self.mendable == 0 && self.lasting == 0
    }
}

/// Goes through the whole store.
pub(super) async fn check(
    shelves: &dyn Shelves,
    terms: Terms<'_>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Verdict, RegistryError> {
    let mut check = Check {
        shelves,
        terms,
        tell,
        verdict: Verdict::default(),
        pending: Changed::new(),
        products: BTreeMap::new(),
        census: Census::default(),
        lost_devices: 0,
        newest_feed: 0,
        given_out: given_out(shelves).await?,
    };
    check.read_products().await?;
    check.read_devices().await?;
    check.read_index().await?;
    check.read_events().await?;
    check.read_mail().await?;
    check.read_meta().await?;
    Ok(check.verdict)
}

async fn given_out(shelves: &dyn Shelves) -> Result<u32, RegistryError> {
    let key = [rows::COUNTERS_KEY.to_vec()];
    let found = shelves.rows(Table::Meta, &key).await?.pop().flatten();
    // Counters that cannot be read are told of later.
    let counters = found.and_then(|row| rows::decode::<Counters>(&row).ok());
    Ok(counters.map_or(0, |counters| counters.newest_feed))
}

/// A check that is under way.
struct Check<'a> {
    shelves: &'a dyn Shelves,
    terms: Terms<'a>,
    tell: &'a mut (dyn FnMut(Progress) + Send),
    verdict: Verdict,
    /// What the page in hand has put right.
    pending: Changed,
    products: BTreeMap<ProductId, Known>,
    /// Of the devices that were read.
    census: Census,
    /// While there are some, nothing that counts devices can be judged.
    lost_devices: u64,
    newest_feed: u32,
    /// The last feed that was given out, as the counters say.
    given_out: u32,
}

impl Check<'_> {
    /// The next page of a table; empty at its end.
    async fn page(
        &mut self,
        table: Table,
        after: Option<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError> {
        let page = self.shelves.page(table, after, PAGE).await?;
        self.verdict.rows += page.len() as u64;
        (self.tell)(Progress::Read {
            table: table.as_str(),
            rows: self.verdict.rows,
        });
        Ok(page)
    }

    /// What a row holds, what is pending included; `Err` if it cannot be read.
    fn read<T: Row>(&self, table: Table, key: &[u8], row: Option<&[u8]>) -> Found<T> {
        let pending = self.pending.get(&(table, key.to_vec()));
        let row = pending.map_or(row, |pending| pending.as_deref());
        match row.map(rows::decode::<T>) {
            None => Found::Nothing,
            Some(Ok(value)) => Found::Row(value),
            Some(Err(_)) => Found::Unreadable,
        }
    }

    /// Notes what the page has to write: only a check that mends does.
    fn mend(&mut self, table: Table, key: &[u8], row: Option<Vec<u8>>) {
        self.pending.insert((table, key.to_vec()), row);
    }

    /// Writes what the page has put right.
    async fn settle(&mut self) -> Result<(), RegistryError> {
        let pending = std::mem::take(&mut self.pending);
        if self.terms.repair != Repair::Report && !pending.is_empty() {
            self.shelves.put(pending).await?;
        }
        Ok(())
    }

    fn mendable(&mut self, table: Table, key: &[u8], fault: impl Into<String>) {
        let remedy = match self.terms.repair {
            Repair::Report => Remedy::Mendable,
            Repair::Mend | Repair::AcceptLoss => Remedy::Mended,
        };
        self.found(table, key, fault.into(), remedy);
    }

    fn lasting(&mut self, table: Table, key: &[u8], fault: impl Into<String>) {
        self.found(table, key, fault.into(), Remedy::Lasting);
    }

    fn left_over(&mut self, table: Table, key: &[u8], fault: impl Into<String>) {
        self.found(table, key, fault.into(), Remedy::LeftOver);
    }

    fn found(&mut self, table: Table, key: &[u8], fault: String, remedy: Remedy) {
        *match remedy {
            Remedy::Mendable => &mut self.verdict.mendable,
            Remedy::Mended => &mut self.verdict.mended,
            Remedy::Lasting => &mut self.verdict.lasting,
            Remedy::LeftOver => &mut self.verdict.left_over,
        } += 1;
        (self.tell)(Progress::Found(Finding {
            table: table.as_str(),
            row: Name::read(table, key).to_string(),
            fault,
            remedy,
        }));
    }

    /// The devices of these feeds; each is read once.
    async fn devices_of(
        &self,
        mut feeds: Vec<FeedId>,
    ) -> Result<HashMap<FeedId, Found<Device>>, RegistryError> {
        feeds.sort_unstable();
        feeds.dedup();
        let keys: Vec<Vec<u8>> = feeds
            .iter()
            .map(|feed| rows::device_key(*feed).to_vec())
            .collect();
        let found = self.shelves.rows(Table::Devices, &keys).await?;
        let read = |row: Option<Vec<u8>>| match row.map(|row| rows::decode(&row)) {
            None => Found::Nothing,
            Some(Ok(device)) => Found::Row(device),
            Some(Err(_)) => Found::Unreadable,
        };
        Ok(feeds.into_iter().zip(found.into_iter().map(read)).collect())
    }
}

/// What lies where a row should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found<T> {
    Nothing,
    Row(T),
    Unreadable,
}

#[cfg(test)]
mod tests;
