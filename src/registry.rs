//! What the server knows, kept where it survives a crash.
//!
//! The trait is small and honest: look-ups, one conditional write, ordered
//! paging. A change and its events commit together; absence is `Ok(None)`; a
//! lost race is a value, not an error. What it promises is written down in
//! `conformance`, a suite that every store passes.

pub mod backup;
pub mod check;
#[cfg(test)]
mod conformance;
mod embedded;
mod hint;
mod memory;
#[cfg(test)]
mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rows;
mod staging;
mod trouble;

use std::path::Path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use self::backup::{Inventory, NotBackedUp};
use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::device::{Device, Lifecycle};
use crate::event::{Event, NewEvent};
use crate::feed::CurrentValue;
use crate::hardware::Facts;
use crate::identity::{FeedId, ProductId, Serial};
use crate::label::Label;
use crate::mailbox::{Change, Mail, Mailbox, Outcome};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName};
use crate::product::{DatastreamId, Product};
use crate::sealing::SealedSecret;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};
use crate::token::Token;

pub use embedded::{Embedded, NotChecked, OpenError};
pub use hint::{Hint, HintCredentials};
pub use memory::Memory;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;

/// Why the registry could not answer. It never means "no".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// It may work again later; nothing that was asked for has happened, or,
    /// if the failure came during a write, it is not known whether it has.
    #[error("the registry is unavailable: {0}")]
    Unavailable(String),
    /// A row cannot be read.
    #[error("the registry is damaged: {0}")]
    Damaged(String),
    /// All 2³¹ − 1 feed ids have been given out.
    #[error("all feed ids have been given out")]
    FeedsExhausted,
}

/// A write that happens only if nobody was faster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replaces a device; its `version` is the one that was read.
    Device(Device),
    /// The same for a device that takes a seat of its product's licence if it
    /// has none; lost, too, if none is left.
    Seated {
        /// The device.
        device: Device,
        /// So many there are.
        seats: u64,
    },
    /// Marks a counter of a device's requests as used; lost if it was, or is
    /// too old to tell.
    Counted {
        /// The device's feed.
        feed: FeedId,
        /// The counter.
        counter: u64,
    },
    /// Keeps the key that licences are signed with; lost if there is one.
    LicenceKey(SealedSecret),
    /// Keeps what the sealing key is known again by; lost if there is something.
    SealingProof(SealedSecret),
    /// Puts all that is sealed under another key in the place of what was; lost
    /// if any of it has changed.
    Reseal(Box<Reseal>),
    /// Adds a product (version 0) or replaces it; its `version` is the one
    /// that was read.
    Product(Box<Product>),
    /// Adds an operator (version 0) or replaces it; its `version` is the one
    /// that was read.
    Operator(Operator),
    /// Removes an operator, if it is there.
    RemoveOperator(OperatorName),
    /// Bans a network, in place of a ban of it that is there.
    Ban(Ban),
    /// Removes the ban of a network, if it is there.
    RemoveBan(Network),
    /// Removes this very ban, if it was not replaced.
    DropBan(Ban),
    /// Adds a name to the datastreams that a device came up with itself; lost
    /// if it has as many already. One that is there is done.
    Datastream {
        /// The device's feed.
        feed: FeedId,
        /// The name.
        datastream: DatastreamId,
        /// So many it may have.
        most: u32,
    },
    /// Takes in a feed's values, each unless a newer one of its datastream is
    /// there; lost, all of them, if the device came up with too many names.
    Values {
        /// The device's feed.
        feed: FeedId,
        /// One of a datastream at most.
        values: Vec<CurrentValue>,
        /// Those of their names that its product does not know.
        names: Vec<DatastreamId>,
        /// So many of such names it may have.
        most: u32,
    },
    /// Replaces a product whose `version` is the one that was read, and brings
    /// the index of codes on by some of its devices.
    Codes {
        /// The product, with how far the index is now.
        product: Box<Product>,
        /// Devices; one that is gone, or called otherwise, is left alone.
        members: Vec<Recoded>,
    },
    /// Removes a device whose `version` is the one that was read, and all that
    /// was its own; lost, too, if its product has got a newer secret.
    RemoveDevice {
        /// The device.
        device: Device,
        /// The newest secret that is known of its product.
        generation: u32,
        /// Codes that found it.
        codes: Vec<CodeDigest>,
        /// The time of its last signed login, if a token of then could still be
        /// shown: a device that is registered soon must sign later than that.
        signed_until: Option<Timestamp>,
    },
    /// Gives a device whose `version` is the one that was read another serial;
    /// lost, too, if its product has a device of that serial or has got a newer
    /// secret.
    RenameDevice {
        /// The device, as it is.
        device: Device,
        /// What it is called from now on.
        serial: Serial,
        /// The newest secret that is known of its product.
        generation: u32,
        /// Codes that found it.
        ended: Vec<CodeDigest>,
        /// Codes that find it.
        codes: Vec<CodeDigest>,
        /// As in [`RemoveDevice`](Self::RemoveDevice): its earlier serial may be
        /// registered again.
        signed_until: Option<Timestamp>,
    },
    /// Removes a product whose `version` is the one that was read; lost, too,
    /// if it has devices.
    RemoveProduct(Box<Product>),
    /// Adds a token, or replaces it.
    Token(Token),
    /// Removes a token, if it is there.
    RemoveToken(TokenDigest),
    /// Notes that a request has begun; lost if it has before.
    Begin(OccasionId, Occasion),
    /// Notes how a request ended.
    End(OccasionId, Occasion),
    /// Forgets a request, if it is there.
    Forget(OccasionId),
    /// Nothing but the events.
    Note,
}

/// What became of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is durable, and so are its events.
    Done,
    /// Somebody else wrote first: load again and decide again.
    Lost,
}

/// A device whose codes go into the index, or out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recoded {
    /// What it was called when its codes were computed.
    pub serial: Serial,
    /// Its feed.
    pub feed: FeedId,
    /// Codes that find it from now on.
    pub added: Vec<CodeDigest>,
    /// Codes that find it no more.
    pub removed: Vec<CodeDigest>,
}

/// All that a registry holds sealed, under another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reseal {
    /// What the key was known again by.
    pub before: SealedSecret,
    /// What the next one is.
    pub proof: SealedSecret,
    /// Every product there is; each `version` is the one that was read.
    pub products: Vec<Product>,
    /// The key that licences are signed with, if there is one.
    pub licence_key: Option<SealedSecret>,
    /// Every request that is remembered and has been answered.
    pub occasions: Vec<(OccasionId, Occasion)>,
}

/// Devices to be registered, all of one product.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The product, which exists.
    pub product: ProductId,
    /// The newest secret that is known of it. If it has got a newer one, the
    /// index of codes takes these devices in later.
    pub generation: u32,
    /// The devices.
    pub devices: Vec<Registrant>,
    /// When they were registered.
    pub at: Timestamp,
}

/// A device to be registered.
#[derive(Clone, Debug)]
pub struct Registrant {
    /// Its serial.
    pub serial: Serial,
    /// The digest of each live code of its own. A code is made of the serial: no
    /// device of another serial has it.
    pub codes: Vec<CodeDigest>,
    /// What its factory said of its board.
    pub hardware: Facts,
    /// What people call it.
    pub label: Option<Label>,
}

/// What became of one serial of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is new and has this feed.
    New(FeedId),
    /// It was registered before, with this feed.
    Known(FeedId),
}

/// How many devices are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    counts: [u64; 6],
}

impl Census {
    /// How many devices are in this state.
    pub fn of(&self, lifecycle: Lifecycle) -> u64 {
        self.counts[lifecycle as usize]
    }

    /// How many devices there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many hold a seat of a licence: all that have been activated, or put
    /// aside, and are not revoked.
    pub fn seats_taken(&self) -> u64 {
        self.total() - self.of(Lifecycle::Registered) - self.of(Lifecycle::Revoked)
    }

    fn add(&mut self, lifecycle: Lifecycle) {
        self.counts[lifecycle as usize] += 1;
    }

    fn remove(&mut self, lifecycle: Lifecycle) {
        self.counts[lifecycle as usize] = self.counts[lifecycle as usize].saturating_sub(1);
    }
}

/// How many devices a product has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductCensus {
    /// In each state.
    pub lifecycles: Census,
    /// By the secret that their codes or keys were last made with, in no
    /// order. Those that were never activated are in none, nor are the revoked.
    pub generations: Vec<(u32, u64)>,
    /// Keys that devices sign with and that come from a secret, by that secret,
    /// in no order.
    pub signing: Vec<(u32, u64)>,
}

impl ProductCensus {
    /// How many devices last came with the secret of this generation.
    pub fn come_with(&self, generation: u32) -> u64 {
        count_of(&self.generations, generation)
    }

    /// How many keys that devices sign with come from the secret of this
    /// generation.
    pub fn sign_with(&self, generation: u32) -> u64 {
        count_of(&self.signing, generation)
    }

    fn add(&mut self, device: &Device) {
        self.lifecycles.add(device.lifecycle());
        device
            .comes_with()
            .into_iter()
            .for_each(|generation| count_up(&mut self.generations, generation));
        device
            .signs_with()
            .for_each(|generation| count_up(&mut self.signing, generation));
    }

    fn remove(&mut self, device: &Device) {
        self.lifecycles.remove(device.lifecycle());
        device
            .comes_with()
            .into_iter()
            .for_each(|generation| count_down(&mut self.generations, generation));
        device
            .signs_with()
            .for_each(|generation| count_down(&mut self.signing, generation));
    }
}

fn count_of(counts: &[(u32, u64)], generation: u32) -> u64 {
    let mut counts = counts.iter();
    let found = counts.find(|(known, _)| *known == generation);
    found.map_or(0, |(_, count)| *count)
}

fn count_up(counts: &mut Vec<(u32, u64)>, generation: u32) {
    match counts.iter_mut().find(|(known, _)| *known == generation) {
        Some((_, count)) => *count += 1,
        None => counts.push((generation, 1)),
    }
}

fn count_down(counts: &mut Vec<(u32, u64)>, generation: u32) {
    for (known, count) in counts.iter_mut() {
        if *known == generation {
            *count = count.saturating_sub(1);
        }
    }
    counts.retain(|(_, count)| *count > 0);
}

/// A store of products, devices, operators and events.
#[async_trait]
pub trait Registry: Send + Sync {
    /// A device by its feed.
    async fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError>;

    /// Every device with this serial: at most one a product.
    async fn by_serial(&self, serial: &Serial) -> Result<Vec<Device>, RegistryError>;

    /// Every device with this activation code: one, unless two products share
    /// a secret.
    async fn by_code(&self, code: &CodeDigest) -> Result<Vec<Device>, RegistryError>;

    /// The device that has, or last had, this key.
    async fn by_key(&self, key: &KeyDigest) -> Result<Option<Device>, RegistryError>;

    /// A product's devices in the order of their serials, after one of them.
    async fn devices(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
    ) -> Result<Vec<Device>, RegistryError>;

    /// A product by its id.
    async fn product(&self, id: &ProductId) -> Result<Option<Product>, RegistryError>;

    /// All products, in the order of their ids.
    async fn products(&self) -> Result<Vec<Product>, RegistryError>;

    /// An operator by name.
    async fn operator(&self, name: &OperatorName) -> Result<Option<Operator>, RegistryError>;

    /// All operators, in the order of their names.
    async fn operators(&self) -> Result<Vec<Operator>, RegistryError>;

    /// All bans, ended ones included, in no order.
    async fn bans(&self) -> Result<Vec<Ban>, RegistryError>;

    /// The datastreams that a device came up with itself, in the order it did.
    async fn datastreams(&self, feed: FeedId) -> Result<Vec<DatastreamId>, RegistryError>;

    /// Events with a number above `after`, in order.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, RegistryError>;

    /// How many devices are in each state.
    async fn census(&self) -> Result<Census, RegistryError>;

    /// How many devices a product has.
    async fn product_census(&self, id: &ProductId) -> Result<ProductCensus, RegistryError>;

    /// A feed's current values, in the order of their datastreams.
    async fn values(&self, feed: FeedId) -> Result<Vec<CurrentValue>, RegistryError>;

    /// A token by what it is found by.
    async fn token(&self, digest: &TokenDigest) -> Result<Option<Token>, RegistryError>;

    /// All tokens, ended ones included, in no order.
    async fn tokens(&self) -> Result<Vec<Token>, RegistryError>;

    /// The key that licences are signed with, once there is one.
    async fn licence_key(&self) -> Result<Option<SealedSecret>, RegistryError>;

    /// What the sealing key is known again by, once there is something.
    async fn sealing_proof(&self) -> Result<Option<SealedSecret>, RegistryError>;

    /// What is known of a request that is carried out once.
    async fn occasion(&self, id: &OccasionId) -> Result<Option<Occasion>, RegistryError>;

    /// All such requests that are remembered, in no order.
    async fn occasions(&self) -> Result<Vec<(OccasionId, Timestamp)>, RegistryError>;

    /// Writes, if the version is still the one that was read; durable when it
    /// returns.
    async fn commit(&self, write: Write, events: Vec<NewEvent>) -> Result<Commit, RegistryError>;

    /// Registers what is new, with an event for each, and says which feed each
    /// serial has; durable when it returns. All or nothing.
    async fn register(&self, batch: Batch) -> Result<Vec<Registration>, RegistryError>;

    /// A device's session, if it has one.
    async fn mailbox(&self, feed: FeedId) -> Result<Option<Mailbox>, RegistryError>;

    /// What waits for a device behind this number, oldest first, each with its
    /// number.
    async fn mail(
        &self,
        feed: FeedId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Mail)>, RegistryError>;

    /// The device's configuration, as it was last sent.
    async fn configuration(&self, feed: FeedId) -> Result<Option<Mail>, RegistryError>;

    /// Devices that have a session, in the order of their feeds, after one of
    /// them.
    async fn mailboxes(
        &self,
        after: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<(FeedId, Mailbox)>, RegistryError>;

    /// Changes a device's session; durable when it returns. A device that is
    /// revoked or reset loses its session, whoever writes that.
    async fn change_mailbox(&self, feed: FeedId, change: Change) -> Result<Outcome, RegistryError>;

    /// The number of the newest event, for whoever follows the log.
    fn newest(&self) -> watch::Receiver<u64>;

    /// Whether other servers may have this registry open, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// Sets what hints are sealed with. Without it none is passed on or taken.
    fn seal_hints(&self, _with: HintCredentials) {}

    /// Passes a hint on to the other servers on this registry. It may be lost.
    fn tell(&self, _hint: Hint) {}

    /// What the other servers told; `None` if there can be none. Whoever lags
    /// behind has missed some.
    fn hints(&self) -> Option<broadcast::Receiver<Hint>> {
        None
    }

    /// Copies everything, as it is at one moment, into a directory that is new
    /// or empty; on disk and complete when it returns. Whoever stops waiting
    /// gives it up.
    async fn back_up(&self, _into: &Path, _now: Timestamp) -> Result<Inventory, NotBackedUp> {
        Err(NotBackedUp::OwnTools)
    }
}
