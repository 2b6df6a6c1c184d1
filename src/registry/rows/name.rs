//! What a key says, read back: for whoever goes through a whole table and has
//! to tell people which row is meant.
//!
//! Digests are shown by their beginning: enough to find a row, and nothing
//! that opens a door.

use std::fmt;

use super::{
    BANS, CODES, CONFIGURATIONS, COUNTERS_KEY, DATASTREAMS, FORMAT_KEY, KEYS, LICENCE_KEY_KEY,
    MAIL, MAILBOXES, MEMBERS, OCCASIONS, OPERATORS, PRODUCT_CENSUS, PRODUCTS, SEALING_PROOF_KEY,
    SERIALS, TOKENS, Table, VALUES, WINDOWS,
};
use crate::identity::{FeedId, ProductId, Serial};

/// What a row is about, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Name {
    Format,
    Counters,
    LicenceKey,
    SealingProof,
    Product(ProductId),
    ProductCensus(ProductId),
    Operator(String),
    Ban(String),
    Token(String),
    Occasion(String),
    Device(FeedId),
    Serial(Serial),
    Member(ProductId, Serial),
    Code(String),
    ApiKey(String),
    Datastreams(FeedId),
    Window(FeedId),
    Event(u64),
    Mailbox(FeedId),
    Configuration(FeedId),
    Mail(FeedId, u64),
    Value(FeedId, String),
    /// No key of ours.
    Unknown(String),
}

impl Name {
    pub(in crate::registry) fn read(table: Table, key: &[u8]) -> Self {
        let read = match table {
            Table::Meta => meta(key),
            Table::Devices => feed(key).map(Self::Device),
            Table::Index => index(key),
            Table::Events => number(key).map(Self::Event),
            Table::Mail => mail(key),
        };
        read.unwrap_or_else(|| Self::Unknown(hex::encode(key)))
    }
}

fn meta(key: &[u8]) -> Option<Name> {
    match key {
        FORMAT_KEY => return Some(Name::Format),
        COUNTERS_KEY => return Some(Name::Counters),
        LICENCE_KEY_KEY => return Some(Name::LicenceKey),
        SEALING_PROOF_KEY => return Some(Name::SealingProof),
        _ => {}
    }
    let (tag, rest) = key.split_first()?;
    Some(match *tag {
        PRODUCTS => Name::Product(product(rest)?),
        PRODUCT_CENSUS => Name::ProductCensus(product(rest)?),
        OPERATORS => Name::Operator(text(rest)?.to_owned()),
        BANS => Name::Ban(text(rest)?.to_owned()),
        TOKENS => Name::Token(digest(rest)),
        OCCASIONS => Name::Occasion(digest(rest)),
        _ => return None,
    })
}

fn index(key: &[u8]) -> Option<Name> {
    let (tag, rest) = key.split_first()?;
    Some(match *tag {
        SERIALS => Name::Serial(serial(rest)?),
        MEMBERS => {
            let (of, rest) = rest.split_at_checked(ProductId::LENGTH)?;
            Name::Member(product(of)?, serial(rest)?)
        }
        CODES => Name::Code(digest(rest)),
        KEYS => Name::ApiKey(digest(rest)),
        DATASTREAMS => Name::Datastreams(feed(rest)?),
        WINDOWS => Name::Window(feed(rest)?),
        _ => return None,
    })
}

fn mail(key: &[u8]) -> Option<Name> {
    let (tag, rest) = key.split_first()?;
    let (of, rest) = rest.split_at_checked(4)?;
    let of = feed(of)?;
    Some(match (*tag, rest) {
        (MAILBOXES, []) => Name::Mailbox(of),
        (CONFIGURATIONS, []) => Name::Configuration(of),
        (MAIL, rest) => Name::Mail(of, number(rest)?),
        (VALUES, rest) => Name::Value(of, text(rest)?.to_owned()),
        _ => return None,
    })
}

fn feed(bytes: &[u8]) -> Option<FeedId> {
    let bytes = <[u8; 4]>::try_from(bytes).ok()?;
    FeedId::new(u32::from_be_bytes(bytes)).ok()
}

fn number(bytes: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(bytes).ok().map(u64::from_be_bytes)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn product(bytes: &[u8]) -> Option<ProductId> {
    ProductId::parse(text(bytes)?).ok()
}

fn serial(bytes: &[u8]) -> Option<Serial> {
    Serial::parse(text(bytes)?).ok()
}

fn digest(bytes: &[u8]) -> String {
    let start = bytes.get(..8).unwrap_or(bytes);
    format!("{}…", hex::encode(start))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("format"),
            Self::Counters => f.write_str("counters"),
            Self::LicenceKey => f.write_str("licence key"),
            Self::SealingProof => f.write_str("proof of the sealing key"),
            Self::Product(id) => write!(f, "product {id}"),
            Self::ProductCensus(id) => write!(f, "counts of product {id}"),
            Self::Operator(name) => write!(f, "operator {name}"),
            Self::Ban(network) => write!(f, "ban {network}"),
            Self::Token(digest) => write!(f, "token {digest}"),
            Self::Occasion(id) => write!(f, "request {id}"),
            Self::Device(feed) => write!(f, "feed {feed}"),
            Self::Serial(serial) => write!(f, "serial {serial}"),
            Self::Member(product, serial) => write!(f, "device {product}/{serial}"),
            Self::Code(digest) => write!(f, "code {digest}"),
            Self::ApiKey(digest) => write!(f, "key {digest}"),
            Self::Datastreams(feed) => write!(f, "datastreams of feed {feed}"),
            Self::Window(feed) => write!(f, "request counters of feed {feed}"),
            Self::Event(number) => write!(f, "event {number}"),
            Self::Mailbox(feed) => write!(f, "session of feed {feed}"),
            Self::Configuration(feed) => write!(f, "configuration of feed {feed}"),
            Self::Mail(feed, number) => write!(f, "message {number} of feed {feed}"),
            Self::Value(feed, datastream) => write!(f, "value {datastream} of feed {feed}"),
            Self::Unknown(key) => write!(f, "key {key}"),
        }
    }
}
