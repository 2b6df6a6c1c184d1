//! A device's lifecycle: the one table of what may follow what.
//!
//! A device has two key slots. *Issuing* writes only the pending one; the
//! first login with the pending key *confirms* it, and the earlier key ends.
//! So a lost answer never costs a device, and issuing again never kicks a
//! working one. A transition consumes the device and returns the next one; the
//! registry writes it only if nobody was faster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::{EventKind, KeySlot, NewEvent, Subject};
use crate::identity::{DeviceName, FeedId, ProductId, Serial};
use crate::product::Reactivation;
use crate::refusal::Refusal;
use crate::secret::KeyDigest;

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

/// The two key slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// Never activated, or reset.
    None,
    /// A key was issued and has not been used yet.
    Pending(KeyDigest),
    /// A key has been used; perhaps a newer one was issued since.
    Confirmed {
        /// The key that works.
        current: KeyDigest,
        /// The key that will replace it on its first use.
        pending: Option<KeyDigest>,
    },
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

/// An operator's act on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// Put aside, for now.
    Suspend,
    /// Undo a suspension.
    Resume,
    /// Put aside until it is clear who is who.
    Quarantine,
    /// Undo a quarantine.
    Release,
    /// For good.
    Revoke,
    /// Start over on the same feed.
    Reset,
    /// Start over although it was revoked.
    ResetFromRevoked,
    /// Let the code of an active device work until then.
    Reopen {
        /// The end of the window.
        until: Timestamp,
    },
}

/// Why an operator's act is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// It is so already: nothing was written.
    #[error("the device is already {0}")]
    Already(Lifecycle),
    /// Undoing something that was not done.
    #[error("the device is not {expected}, it is {found}")]
    NotIn {
        /// What it would have to be.
        expected: Lifecycle,
        /// What it is.
        found: Lifecycle,
    },
    /// Two operators' acts would be mixed up.
    #[error("the device is {0}: undo that first")]
    PutAside(Lifecycle),
    /// Revocation is final.
    #[error("the device is revoked: only an admin can undo that, with reset --from-revoked")]
    Revoked,
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
        }
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
        let (current, pending) = match self.keys {
            Keys::None => (None, None),
            Keys::Pending(pending) => (None, Some(pending)),
            Keys::Confirmed { current, pending } => (Some(current), pending),
        };
        [current, pending, self.ended].into_iter().flatten()
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

    /// Whether a device that has just proved its code may have a key.
    pub fn may_activate(&self, policy: Reactivation, now: Timestamp) -> Result<(), Refusal> {
        if let Some(refusal) = self.put_aside() {
            return Err(refusal);
        }
        let open = self.reactivation_until.is_some_and(|until| now < until);
        let spent = match policy {
            Reactivation::Always => false,
            Reactivation::UntilConfirmed => matches!(self.keys, Keys::Confirmed { .. }),
            Reactivation::Never => self.keys != Keys::None,
        };
        if spent && !open {
            Err(Refusal::CodeSpent)
        } else {
            Ok(())
        }
    }

    /// Writes a new pending key. The caller has asked
    /// [`may_activate`](Self::may_activate).
    pub(crate) fn issue(mut self, key: KeyDigest, generation: u32, now: Timestamp) -> Changed {
        let (keys, replaced) = match self.keys {
            Keys::None => (Keys::Pending(key), None),
            Keys::Pending(old) => (Keys::Pending(key), Some(old)),
            Keys::Confirmed { current, pending } => (
                Keys::Confirmed {
                    current,
                    pending: Some(key),
                },
                pending,
            ),
        };
        self.keys = keys;
        self.ended = replaced.or(self.ended);
        self.generation = generation;
        self.issued_at = Some(now);
        let ended = replaced.map(|_| EventKind::KeyEnded {
            slot: KeySlot::Pending,
        });
        let kinds = ended
            .into_iter()
            .chain([EventKind::ActivationIssued { generation }]);
        Changed::new(self, kinds, now)
    }

    /// Turns the pending key into the confirmed one, ending the one before and
    /// any window that was open for the code; `None` if nothing is pending.
    pub(crate) fn confirm(mut self, now: Timestamp) -> Option<Changed> {
        let (current, replaced) = match self.keys {
            Keys::Pending(pending) => (pending, None),
            Keys::Confirmed {
                current,
                pending: Some(pending),
            } => (pending, Some(current)),
            Keys::None | Keys::Confirmed { pending: None, .. } => return None,
        };
        self.keys = Keys::Confirmed {
            current,
            pending: None,
        };
        self.ended = replaced.or(self.ended);
        self.confirmed_at = Some(now);
        self.reactivation_until = None;
        let ended = replaced.map(|_| EventKind::KeyEnded {
            slot: KeySlot::Confirmed,
        });
        let kinds = ended.into_iter().chain([EventKind::ActivationConfirmed]);
        Some(Changed::new(self, kinds, now))
    }

    /// Carries out an operator's act.
    pub(crate) fn apply(
        mut self,
        transition: Transition,
        now: Timestamp,
    ) -> Result<Changed, TransitionError> {
        let found = self.lifecycle();
        let kind = match transition {
            Transition::Suspend => {
                self.put_aside_as(Standing::Suspended)?;
                EventKind::DeviceSuspended
            }
            Transition::Quarantine => {
                self.put_aside_as(Standing::Quarantined)?;
                EventKind::DeviceQuarantined
            }
            Transition::Resume => {
                self.take_back_from(Standing::Suspended, Lifecycle::Suspended)?;
                EventKind::DeviceResumed
            }
            Transition::Release => {
                self.take_back_from(Standing::Quarantined, Lifecycle::Quarantined)?;
                EventKind::DeviceReleased
            }
            Transition::Revoke if found == Lifecycle::Revoked => {
                return Err(TransitionError::Already(found));
            }
            Transition::Revoke => {
                self.standing = Standing::Revoked;
                EventKind::DeviceRevoked
            }
            Transition::Reset if found == Lifecycle::Revoked => {
                return Err(TransitionError::Revoked);
            }
            Transition::Reset | Transition::ResetFromRevoked => {
                self.start_over();
                EventKind::DeviceReset
            }
            Transition::Reopen { .. } if found == Lifecycle::Revoked => {
                return Err(TransitionError::Revoked);
            }
            Transition::Reopen { until } => {
                self.reactivation_until = Some(until);
                EventKind::ReactivationOpened { until }
            }
        };
        Ok(Changed::new(self, [kind], now))
    }

    fn put_aside_as(&mut self, standing: Standing) -> Result<(), TransitionError> {
        match self.standing {
            Standing::Good => {
                self.standing = standing;
                Ok(())
            }
            Standing::Revoked => Err(TransitionError::Revoked),
            same if same == standing => Err(TransitionError::Already(self.lifecycle())),
            _ => Err(TransitionError::PutAside(self.lifecycle())),
        }
    }

    fn take_back_from(
        &mut self,
        standing: Standing,
        expected: Lifecycle,
    ) -> Result<(), TransitionError> {
        if self.standing == standing {
            self.standing = Standing::Good;
            Ok(())
        } else {
            let found = self.lifecycle();
            Err(TransitionError::NotIn { expected, found })
        }
    }

    fn start_over(&mut self) {
        self.standing = Standing::Good;
        self.keys = Keys::None;
        self.ended = None;
        self.issued_at = None;
        self.confirmed_at = None;
        self.reactivation_until = None;
    }
}

impl DeviceName {
    /// Whether this name means that device, perhaps among others.
    pub(crate) fn fits(&self, device: &Device) -> bool {
        self.serial == device.serial && self.product.as_ref().is_none_or(|id| *id == device.product)
    }
}

/// A device after a transition, and what is to be written down with it.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) device: Device,
    pub(crate) events: Vec<NewEvent>,
}

impl Changed {
    fn new(device: Device, kinds: impl IntoIterator<Item = EventKind>, now: Timestamp) -> Self {
        let events = kinds
            .into_iter()
            .map(|kind| device.event(kind, now))
            .collect();
        Self { device, events }
    }
}

#[cfg(test)]
mod tests;
