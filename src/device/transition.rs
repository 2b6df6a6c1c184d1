//! A device's lifecycle: the one table of what may follow what.
//!
//! A device has two key slots. *Issuing* writes only the pending one; the
//! first login with the pending key *confirms* it, and the earlier key ends.
//! So a lost answer never costs a device, and issuing again never kicks a
//! working one. A transition consumes the device and returns the next one; the
//! registry writes it only if nobody was faster.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Device, Key, Keys, Lifecycle, Standing};
use crate::clock::Timestamp;
use crate::clones::{CloneSignal, Evidence};
use crate::event::{EventKind, KeySlot, NewEvent};
use crate::hardware::{Compared, Facts};
use crate::signed::LoginMark;

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
    /// Let its next login enrol the board it comes from.
    ForgetHardware,
    /// Let a device whose lease has run out in again.
    Renew,
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
    /// Writes a new pending key. The caller has asked
    /// [`may_activate`](Self::may_activate).
    pub(crate) fn issue(mut self, key: Key, generation: u32, now: Timestamp) -> Changed {
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
        self.end(replaced);
        if !self.is_open(now) {
            // The new key does not come from a window that is over.
            self.reactivation_until = None;
        }
        self.generation = generation;
        self.issued_at = Some(now);
        let ended = replaced.map(|_| EventKind::KeyEnded {
            slot: KeySlot::Pending,
        });
        let enrolled = matches!(key, Key::Public(_)).then_some(EventKind::PublicKeyEnrolled);
        let kinds = ended
            .into_iter()
            .chain([EventKind::ActivationIssued { generation }])
            .chain(enrolled);
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
        self.end(replaced);
        self.confirmed_at = Some(now);
        self.reactivation_until = None;
        let ended = replaced.map(|_| EventKind::KeyEnded {
            slot: KeySlot::Confirmed,
        });
        let kinds = ended.into_iter().chain([EventKind::ActivationConfirmed]);
        Some(Changed::new(self, kinds, now))
    }

    /// Notes a signed login. The first with this key confirms it, whatever was
    /// pending beside it: a device that signs does not go back.
    pub(crate) fn sign_in(
        mut self,
        key: Key,
        login: LoginMark,
        source: IpAddr,
        now: Timestamp,
    ) -> Changed {
        self.last_login = Some(login);
        self.last_login_from = Some(source);
        if self.keys.current() == Some(key) {
            return self.keep_signing(now);
        }
        let (current, pending) = (self.keys.current(), self.keys.pending());
        let other = pending.filter(|pending| *pending != key);
        if let Some(generation) = key.generation() {
            self.generation = generation;
        }
        self.keys = Keys::Confirmed {
            current: key,
            pending: None,
        };
        self.end(other);
        self.end(current);
        self.confirmed_at = Some(now);
        self.reactivation_until = None;
        let ended = |key: Option<Key>, slot| key.map(|_| EventKind::KeyEnded { slot });
        let kinds = ended(other, KeySlot::Pending)
            .into_iter()
            .chain(ended(current, KeySlot::Confirmed))
            .chain([EventKind::ActivationConfirmed])
            .chain(
                key.generation()
                    .map(|generation| EventKind::DeviceKeyUsed { generation }),
            );
        Changed::new(self, kinds, now)
    }

    /// It signs with the key that it has used before: what an operator once let
    /// it have beside that, and it did not use in time, ends.
    fn keep_signing(mut self, now: Timestamp) -> Changed {
        let (current, pending) = (self.keys.current(), self.keys.pending());
        let overdue = pending.filter(|_| self.pending_in_window(now).is_none());
        if let (Some(current), Some(_)) = (current, overdue) {
            self.keys = Keys::Confirmed {
                current,
                pending: None,
            };
            self.end(overdue);
        }
        let slot = KeySlot::Pending;
        let ended = overdue.map(|_| EventKind::KeyEnded { slot });
        Changed::new(self, ended, now)
    }

    fn end(&mut self, key: Option<Key>) {
        self.ended = key.and_then(|key| key.digest()).or(self.ended);
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
                self.forget_login_ahead_of(now);
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
                self.forget_login_ahead_of(now);
                EventKind::DeviceReset
            }
            Transition::Reopen { .. } if found == Lifecycle::Revoked => {
                return Err(TransitionError::Revoked);
            }
            Transition::Reopen { until } => {
                return Ok(self.reopen(until, now));
            }
            Transition::ForgetHardware => {
                self.hardware = Facts::default();
                self.enrols_board = true;
                EventKind::HardwareForgotten
            }
            Transition::Renew => {
                self.lease_until = None;
                EventKind::LeaseReopened
            }
        };
        Ok(Changed::new(self, [kind], now))
    }

    /// A last login that a wrong clock dated later than now would keep the device
    /// out until then. Whatever was signed before now stays used up.
    fn forget_login_ahead_of(&mut self, now: Timestamp) {
        let last = self.last_login.take();
        self.last_login = last.map(|last| match last.is_ahead_of(now) {
            true => LoginMark::floor(now),
            false => last,
        });
    }

    /// Opens a window for the code. What an active device was issued in an earlier
    /// window, and has not used, ends: the window that it came from is over, and
    /// a key that somebody kept from it must not be good in this one.
    fn reopen(mut self, until: Timestamp, now: Timestamp) -> Changed {
        self.reactivation_until = Some(until);
        let mut ended = None;
        if let Keys::Confirmed { current, pending } = self.keys {
            self.keys = Keys::Confirmed {
                current,
                pending: None,
            };
            self.end(pending);
            ended = pending.map(|_| EventKind::KeyEnded {
                slot: KeySlot::Pending,
            });
        }
        let kinds = [EventKind::ReactivationOpened { until }];
        Changed::new(self, kinds.into_iter().chain(ended), now)
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
        self.lease_until = None;
        // The last login stays: none from before is good for the new life. And
        // the board does: else a code would be good on any, after a reset.
    }
}

/// A device after a transition, and what is to be written down with it.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) device: Device,
    pub(crate) events: Vec<NewEvent>,
}

impl Changed {
    /// Nothing has happened to it yet.
    pub(crate) fn nothing(device: Device) -> Self {
        Self {
            device,
            events: Vec::new(),
        }
    }

    /// And the board it came from is the one it has from now on.
    pub(crate) fn on_board(mut self, compared: Compared, now: Timestamp) -> Self {
        // What an operator let one login enrol is enrolled, or was not shown.
        if !compared.next.is_empty() {
            self.device.enrols_board = false;
        }
        if self.device.hardware != compared.next {
            self.device.hardware = compared.next;
            self.note(
                EventKind::HardwareChanged {
                    facts: compared.changed,
                },
                now,
            );
        }
        self
    }

    /// And its lease ends then.
    pub(crate) fn leased_until(mut self, until: Option<Timestamp>, now: Timestamp) -> Self {
        if let Some(until) = until {
            self.device.lease_until = Some(until);
            self.note(EventKind::LeaseRenewed { until }, now);
        }
        self
    }

    /// And two seem to use it.
    pub(crate) fn suspected(
        mut self,
        signal: CloneSignal,
        evidence: Evidence,
        now: Timestamp,
    ) -> Self {
        self.note(EventKind::CloneSuspected { signal, evidence }, now);
        self
    }

    /// And it is put aside until it is clear who is who, if it was in good
    /// standing.
    pub(crate) fn quarantined(mut self, now: Timestamp) -> Self {
        if self.device.standing == Standing::Good {
            self.device.standing = Standing::Quarantined;
            self.note(EventKind::DeviceQuarantined, now);
        }
        self
    }

    fn note(&mut self, kind: EventKind, now: Timestamp) {
        self.events.push(self.device.event(kind, now));
    }

    fn new(device: Device, kinds: impl IntoIterator<Item = EventKind>, now: Timestamp) -> Self {
        let events = kinds
            .into_iter()
            .map(|kind| device.event(kind, now))
            .collect();
        Self { device, events }
    }
}
