//! How things lie in a store, whichever it is: tables, keys, and the encoding
//! of a row.
//!
//! A row is one byte that tells its layout, and then `postcard`; a reader of a
//! later layout can tell the old rows from the new. Keys are ordered as bytes,
//! so that whatever is paged lies in one stretch.

mod layout;
mod name;

use serde::{Deserialize, Serialize};

use super::{Census, RegistryError};
use crate::ban::Network;
use crate::clock::Timestamp;
use crate::identity::{FeedId, ProductId, Serial};
use crate::once::{Occasion, OccasionId};
use crate::operator::OperatorName;
use crate::product::DatastreamId;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};

pub(super) use self::layout::Row;
pub(super) use self::name::Name;

/// The layout of the whole store: raised with that of any row, so that an
/// older program does not stop at the first row it cannot read.
pub(super) const FORMAT: u32 = 2;

pub(super) const FORMAT_KEY: &[u8] = b"format";
pub(super) const COUNTERS_KEY: &[u8] = b"counters";
pub(super) const PRODUCTS: u8 = b'P';
pub(super) const OPERATORS: u8 = b'O';
pub(super) const MAILBOXES: u8 = b'b';
pub(super) const BANS: u8 = b'B';
pub(super) const TOKENS: u8 = b'T';
pub(super) const OCCASIONS: u8 = b'I';
const PRODUCT_CENSUS: u8 = b'N';
const SERIALS: u8 = b's';
pub(super) const CODES: u8 = b'c';
const KEYS: u8 = b'k';
const MEMBERS: u8 = b'p';
const DATASTREAMS: u8 = b'd';
const WINDOWS: u8 = b'w';
const CONFIGURATIONS: u8 = b'c';
const MAIL: u8 = b'm';
const VALUES: u8 = b'v';
pub(super) const LICENCE_KEY_KEY: &[u8] = b"licence key";
pub(super) const SEALING_PROOF_KEY: &[u8] = b"sealing proof";

/// Bytes that most rows fit into.
const USUAL: usize = 128;

/// A keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    /// Format, counters, products, operators, tokens, bans, the licence key, what
    /// the sealing key is known by, and requests that are carried out once.
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

impl Table {
    /// Each there is, in an order in which a copy of them can be made.
    pub(super) const ALL: [Self; 5] = [
        Self::Meta,
        Self::Devices,
        Self::Index,
        Self::Events,
        Self::Mail,
    ];

    /// What people and a copy's list call it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Devices => "devices",
            Self::Index => "index",
            Self::Events => "events",
            Self::Mail => "mail",
        }
    }
}

/// What must never go backwards, written with every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) newest_event: u64,
    pub(super) newest_feed: u32,
    pub(super) census: Census,
    /// The newest signed login of a device that was removed or renamed while its
    /// token could still be shown.
    pub(super) signed_until: Option<Timestamp>,
}

impl Counters {
    /// Takes in that a device which signed until then is gone, or has left its
    /// serial.
    pub(super) fn note_signed(&mut self, until: Option<Timestamp>) {
        self.signed_until = self.signed_until.max(until);
    }
}

pub(super) fn device_key(feed: FeedId) -> [u8; 4] {
    feed.as_u32().to_be_bytes()
}

pub(super) fn mailbox_key(feed: FeedId) -> Vec<u8> {
    tagged(MAILBOXES, &device_key(feed))
}

pub(super) fn configuration_key(feed: FeedId) -> Vec<u8> {
    tagged(CONFIGURATIONS, &device_key(feed))
}

pub(super) fn mail_key(feed: FeedId, number: u64) -> Vec<u8> {
    let mut key = tagged(MAIL, &device_key(feed));
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn event_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

pub(super) fn serial_key(serial: &Serial) -> Vec<u8> {
    tagged(SERIALS, serial.as_str().as_bytes())
}

pub(super) fn code_key(code: &CodeDigest) -> Vec<u8> {
    tagged(CODES, code.as_bytes())
}

pub(super) fn api_key_key(key: &KeyDigest) -> Vec<u8> {
    tagged(KEYS, key.as_bytes())
}

/// Product ids have one length, so what follows is the serial.
pub(super) fn member_key(product: &ProductId, serial: &str) -> Vec<u8> {
    let mut key = tagged(MEMBERS, product.as_str().as_bytes());
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

/// A request that is remembered, read back, and since when it is.
pub(super) fn occasion_in(
    key: &[u8],
    row: &[u8],
) -> Result<(OccasionId, Timestamp), RegistryError> {
    let id = key.get(1..).and_then(|id| id.try_into().ok());
    let damaged = || RegistryError::Damaged("a request's name".to_owned());
    let id = OccasionId::from_bytes(id.ok_or_else(damaged)?);
    Ok((id, decode::<Occasion>(row)?.at))
}

pub(super) fn product_census_key(product: &ProductId) -> Vec<u8> {
    tagged(PRODUCT_CENSUS, product.as_str().as_bytes())
}

/// Whether a row of the meta table counts a product's devices.
#[cfg(feature = "postgres")]
pub(super) fn is_product_census(key: &[u8]) -> bool {
    key.first() == Some(&PRODUCT_CENSUS)
}

/// Where a feed's values begin.
pub(super) fn values_key(feed: FeedId) -> Vec<u8> {
    tagged(VALUES, &device_key(feed))
}

pub(super) fn value_key(feed: FeedId, datastream: &DatastreamId) -> Vec<u8> {
    let mut key = values_key(feed);
    key.extend_from_slice(datastream.as_str().as_bytes());
    key
}

pub(super) fn datastreams_key(feed: FeedId) -> Vec<u8> {
    tagged(DATASTREAMS, &device_key(feed))
}

pub(super) fn window_key(feed: FeedId) -> Vec<u8> {
    tagged(WINDOWS, &device_key(feed))
}

fn tagged(tag: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(tag);
    key.extend_from_slice(name);
    key
}

pub(super) fn encode<T: Row>(value: &T) -> Vec<u8> {
    let mut row = Vec::with_capacity(USUAL);
    row.push(T::LAYOUT);
    #[expect(
        clippy::expect_used,
        reason = "our rows hold nothing that postcard cannot write to memory"
    )]
    postcard::to_extend(value, row).expect("a row can be encoded")
}

pub(super) fn decode<T: Row>(row: &[u8]) -> Result<T, RegistryError> {
    let unknown = || RegistryError::Damaged("a row of an unknown layout".to_owned());
    let (layout, body) = row.split_first().ok_or_else(unknown)?;
    let read = match *layout {
        current if current == T::LAYOUT => match postcard::take_from_bytes(body) {
            Ok((_, rest)) if !rest.is_empty() => {
                return Err(RegistryError::Damaged(
                    "a row goes on behind its end".to_owned(),
                ));
            }
            read => read.map(|(value, _)| value),
        },
        earlier => T::read_earlier(earlier, body).ok_or_else(unknown)?,
    };
    read.map_err(|error| RegistryError::Damaged(format!("a row does not decode: {error}")))
}
