//! A device, as the registry keeps it, and what it may ask for.
//!
//! How it changes stands in [`transition`].

mod transition;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::{EventKind, NewEvent, Subject};
use crate::hardware::Facts;
use crate::identity::{DeviceName, FeedId, ProductId, Serial};
use crate::keypair::PublicKey;
use crate::label::Label;
use crate::product::{Block, Reactivation};
use crate::refusal::Refusal;
use crate::secret::KeyDigest;
use crate::signed::LoginMark;

pub(crate) use self::transition::Changed;
pub use self::transition::{Transition, TransitionError};

/// A device, as the registry keeps it. It holds digests, never a key or code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its product.
    pub product: ProductId,
    /// Its serial within the product.
    pub serial: Serial,
    /// Its data channel; stays with it for ever.
    pub feed: FeedId,
    /// Counts the writes to this device; the registry sets it.
    pub version: u64,
    /// Whether an operator has put it aside.
    pub standing: Standing,
    /// How far it has come.
    pub keys: Keys,
    /// The last key that was replaced, to tell "too old" from "never heard of".
    pub ended: Option<KeyDigest>,
    /// Which of the product's secrets its code was last made with; 0 before
    /// the first activation.
    pub generation: u32,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When a key was last issued.
    pub issued_at: Option<Timestamp>,
    /// When a key was last confirmed.
    pub confirmed_at: Option<Timestamp>,
    /// Until then its code works although it is active.
    pub reactivation_until: Option<Timestamp>,
    /// The blocks of its product that leave it alone.
    pub exceptions: Exceptions,
    /// Its last signed login: the next one must be later.
    pub last_login: Option<LoginMark>,
    /// The address that its last signed login came from: the other one, when two
    /// sign with one key.
    pub last_login_from: Option<IpAddr>,
    /// Whether an operator lets its next login enrol the board that it comes
    /// from, where its product enforces boards.
    pub enrols_board: bool,
    /// The board it was enrolled on.
    pub hardware: Facts,
    /// When its lease ends, if its product leases.
    pub lease_until: Option<Timestamp>,
    /// What people call it.
    pub label: Option<Label>,
}

/// The numbers of blocks that a device is excepted from: the one that holds
/// and the one that is to replace it, so that it is never out in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions([u32; 2]);

impl Exceptions {
    /// With one more, forgetting all but the block that holds now.
    pub(crate) fn with(self, number: u32, block: Block) -> Self {
        let kept = block.current.filter(|current| self.0.contains(current));
        Self([kept.unwrap_or(0), number])
    }

    /// Whether the block of this number leaves the device alone.
    pub(crate) fn cover(self, number: u32) -> bool {
        self.0.contains(&number)
    }
}

/// Whether an operator has put a device aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It has not been.
    Good,
    /// For now.
    Suspended,
    /// Until it is clear who is who.
    Quarantined,
    /// For good.
    Revoked,
}

/// What a device proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// It shows an API key.
    Api(KeyDigest),
    /// It signs with the device key that comes from its product's secret of
    /// this generation (HS256).
    Derived(u32),
    /// It signs with the private half of this (EdDSA).
    Public(PublicKey),
}

impl Key {
    /// Whether it signs with it.
    pub fn signs(&self) -> bool {
        !matches!(self, Self::Api(_))
    }

    /// The name in answers and commands: `key`, or the algorithm.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Api(_) => "key",
            Self::Derived(_) => "HS256",
            Self::Public(_) => "EdDSA",
        }
    }

    /// Which of its product's secrets it comes from, if it does.
    pub(crate) const fn generation(&self) -> Option<u32> {
        match self {
            Self::Derived(generation) => Some(*generation),
            Self::Api(_) | Self::Public(_) => None,
        }
    }

    fn digest(&self) -> Option<KeyDigest> {
        match self {
            Self::Api(digest) => Some(*digest),
            _ => None,
        }
    }
}

/// The two key slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// Never activated, or reset.
    None,
    /// A key was issued and has not been used yet.
    Pending(Key),
    /// A key has been used; perhaps a newer one was issued since.
    Confirmed {
        /// The key that works.
        current: Key,
        /// The key that will replace it on its first use.
        pending: Option<Key>,
    },
}

impl Keys {
    /// The key that works.
    pub fn current(&self) -> Option<Key> {
        match self {
            Self::Confirmed { current, .. } => Some(*current),
            _ => None,
        }
    }

    /// The key that has not been used yet.
    pub fn pending(&self) -> Option<Key> {
        match self {
            Self::None => None,
            Self::Pending(pending) => Some(*pending),
            Self::Confirmed { pending, .. } => *pending,
        }
    }
}

/// What the device is called in events, commands and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Known, never activated.
    Registered,
    /// Has been sent a key that it has not used yet.
    Issued,
    /// Uses its key.
    Active,
    /// Put aside by an operator.
    Suspended,
    /// Put aside until it is clear who is who.
    Quarantined,
    /// Never again.
    Revoked,
}

impl Lifecycle {
    /// Every state, in the order of a device's life.
    pub const ALL: [Self; 6] = [
        Self::Registered,
        Self::Issued,
        Self::Active,
        Self::Suspended,
        Self::Quarantined,
        Self::Revoked,
    ];

    /// The name in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Issued => "issued",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Device {
    /// A device that was just registered.
    pub fn registered(product: ProductId, serial: Serial, feed: FeedId, now: Timestamp) -> Self {
        Self {
            product,
            serial,
            feed,
            version: 1,
            standing: Standing::Good,
            keys: Keys::None,
            ended: None,
            generation: 0,
            registered_at: now,
            issued_at: None,
            confirmed_at: None,
            reactivation_until: None,
            exceptions: Exceptions::default(),
            last_login: None,
            last_login_from: None,
            enrols_board: false,
            hardware: Facts::default(),
            lease_until: None,
            label: None,
        }
    }

    /// Which of its product's secrets it came with when it was last given a
    /// key, unless it is without one, or out for good.
    pub fn comes_with(&self) -> Option<u32> {
        let comes = self.keys != Keys::None && self.standing != Standing::Revoked;
        (comes && self.generation > 0).then_some(self.generation)
    }

    /// Which of its product's secrets the keys that it signs with come from: one
    /// for each such key.
    pub(crate) fn signs_with(&self) -> impl Iterator<Item = u32> {
        let keys = [self.keys.current(), self.keys.pending()];
        keys.into_iter()
            .flatten()
            .filter_map(|key| key.generation())
    }

    /// What to call it.
    pub fn lifecycle(&self) -> Lifecycle {
        match (self.standing, self.keys) {
            (Standing::Revoked, _) => Lifecycle::Revoked,
            (Standing::Quarantined, _) => Lifecycle::Quarantined,
            (Standing::Suspended, _) => Lifecycle::Suspended,
            (Standing::Good, Keys::None) => Lifecycle::Registered,
            (Standing::Good, Keys::Pending(_)) => Lifecycle::Issued,
            (Standing::Good, Keys::Confirmed { .. }) => Lifecycle::Active,
        }
    }

    /// How events name it.
    pub fn subject(&self) -> Subject {
        Subject::Device {
            product: self.product.clone(),
            serial: self.serial.clone(),
            feed: self.feed,
        }
    }

    /// An event about this device.
    pub fn event(&self, kind: EventKind, now: Timestamp) -> NewEvent {
        NewEvent {
            at: now,
            subject: self.subject(),
            kind,
        }
    }

    /// Every key digest that finds this device.
    pub fn key_digests(&self) -> impl Iterator<Item = KeyDigest> {
        let of = |key: Option<Key>| key.and_then(|key| key.digest());
        let (current, pending) = (of(self.keys.current()), of(self.keys.pending()));
        [current, pending, self.ended].into_iter().flatten()
    }

    /// The key that has not been used yet, unless it came from a window that is
    /// over. Beside a key that signs, it is good only while a window is open:
    /// later it would be a way back to the weaker.
    pub(crate) fn pending_in_window(&self, now: Timestamp) -> Option<Key> {
        let pending = self.keys.pending();
        let is_good = match self.keys.current() {
            None => true,
            Some(key) if key.signs() => self.is_open(now),
            Some(_) => self.reactivation_until.is_none() || self.is_open(now),
        };
        pending.filter(|_| is_good)
    }

    /// Whether an operator lets its code work although it is active.
    fn is_open(&self, now: Timestamp) -> bool {
        self.reactivation_until.is_some_and(|until| now < until)
    }

    /// Whether the key is in one of its slots, so that it works.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        [self.keys.current(), self.keys.pending()].contains(&Some(*key))
    }

    /// Whether its session, and what waits in it, stays with it: neither
    /// survives a revocation or a reset.
    pub(crate) fn keeps_mailbox(&self) -> bool {
        self.standing != Standing::Revoked && self.keys != Keys::None
    }

    /// Whether an operator's act keeps it out.
    pub fn put_aside(&self) -> Option<Refusal> {
        match self.standing {
            Standing::Good => None,
            Standing::Suspended => Some(Refusal::Suspended),
            Standing::Quarantined => Some(Refusal::Quarantined),
            Standing::Revoked => Some(Refusal::Revoked),
        }
    }

    /// Whether a block of its product keeps it out.
    pub fn is_blocked(&self, block: Block) -> bool {
        block
            .current
            .is_some_and(|number| !self.exceptions.cover(number))
    }

    /// Whether a device that has just proved its code may have a key.
    pub fn may_activate(&self, policy: Reactivation, now: Timestamp) -> Result<(), Refusal> {
        if let Some(refusal) = self.put_aside() {
            return Err(refusal);
        }
        let spent = match policy {
            // Who signs does not go back to a code, whatever its product says.
            _ if self.keys.current().is_some_and(|key| key.signs()) => true,
            Reactivation::Always => false,
            Reactivation::UntilConfirmed => matches!(self.keys, Keys::Confirmed { .. }),
            Reactivation::Never => self.keys != Keys::None,
        };
        if spent && !self.is_open(now) {
            Err(Refusal::CodeSpent)
        } else {
            Ok(())
        }
    }
}

impl DeviceName {
    /// Whether this name means that device, perhaps among others.
    pub(crate) fn fits(&self, device: &Device) -> bool {
        self.serial == device.serial && self.product.as_ref().is_none_or(|id| *id == device.product)
    }
}

#[cfg(test)]
mod tests;
