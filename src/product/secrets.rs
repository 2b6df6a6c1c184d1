//! A product's secrets: which are accepted, and how far their codes are in the
//! index that HTTP finds devices by.
//!
//! Over MQTT a code is computed and needs no index. Nothing here sees a secret
//! in the clear.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Product;
use crate::clock::Timestamp;
use crate::identity::Serial;
use crate::sealing::SealedSecret;

/// So long after its end a secret is no longer in anybody's hands: whatever
/// began with it before is over.
const SETTLED: Duration = Duration::from_secs(60 * 60);

/// One of a product's secrets, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductSecretSlot {
    /// Counts a product's secrets from 1; never reused.
    pub generation: u32,
    /// The secret under the registry's sealing key.
    pub sealed: SealedSecret,
    /// From then on the secret is no longer accepted.
    pub expires_at: Option<Timestamp>,
    /// When the product got it.
    pub since: Timestamp,
    /// How far its codes are in the index.
    pub indexed: Indexed,
}

impl ProductSecretSlot {
    /// Whether codes made with this secret are still accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it ended long enough ago that nothing is under way with it.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end.plus(SETTLED) <= now)
    }
}

/// How far the codes of one secret are in the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Indexed {
    /// All of them.
    Whole,
    /// They are being put in.
    Growing(Progress),
    /// The secret has ended, and they are being taken out.
    Shrinking(Progress),
    /// None of them.
    Nothing,
}

/// How far a walk over a product's devices has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last device that was visited; none yet, if there is none.
    pub through: Option<Serial>,
    /// So many were visited.
    pub devices: u64,
}

impl Indexed {
    /// The walk that is to be gone on with, if any.
    pub(crate) fn walk(&self) -> Option<&Progress> {
        match self {
            Self::Growing(progress) | Self::Shrinking(progress) => Some(progress),
            Self::Whole | Self::Nothing => None,
        }
    }
}

impl Indexed {
    /// Goes on with a walk, or ends it where there is nothing behind.
    pub(crate) fn advance(&mut self, next: Option<Progress>) {
        *self = match (&*self, next) {
            (Self::Growing(_), Some(next)) => Self::Growing(next),
            (Self::Growing(_), None) => Self::Whole,
            (Self::Shrinking(_), Some(next)) => Self::Shrinking(next),
            (Self::Shrinking(_), None) => Self::Nothing,
            (Self::Whole | Self::Nothing, _) => return,
        };
    }
}

impl Product {
    /// So many secrets a product keeps: those that are accepted, and those that
    /// devices may still sign with.
    pub const SECRETS: usize = 16;

    /// The newest secret's number.
    pub(crate) fn newest_secret(&self) -> u32 {
        self.secrets.first().map_or(0, |slot| slot.generation)
    }

    /// Whether the secret of this generation is accepted.
    pub(crate) fn accepts(&self, generation: u32, now: Timestamp) -> bool {
        let mut slots = self.secrets.iter();
        slots.any(|slot| slot.generation == generation && slot.is_live(now))
    }

    /// Starts the walks that are due: over the codes of secrets that ended.
    /// Says whether there is any walk to go on with.
    pub(crate) fn begin_walks(&mut self, now: Timestamp) -> bool {
        for slot in &mut self.secrets {
            let ended = slot.is_settled(now);
            if ended && matches!(slot.indexed, Indexed::Whole | Indexed::Growing(_)) {
                slot.indexed = Indexed::Shrinking(Progress::default());
            }
        }
        self.secrets
            .iter()
            .any(|slot| slot.indexed.walk().is_some())
    }

    /// Whether there is any walk to go on with, or one is due.
    pub(crate) fn has_walks(&self, now: Timestamp) -> bool {
        self.secrets.iter().any(|slot| match slot.indexed {
            Indexed::Growing(_) | Indexed::Shrinking(_) => true,
            Indexed::Whole => slot.is_settled(now),
            Indexed::Nothing => false,
        })
    }

    /// Has the walks begin anew over the codes of secrets that are newer than
    /// this one: somebody who did not know of them has registered devices.
    pub(crate) fn walk_again_behind(&mut self, generation: u32) {
        for slot in &mut self.secrets {
            let growing = matches!(slot.indexed, Indexed::Whole | Indexed::Growing(_));
            if growing && slot.generation > generation {
                slot.indexed = Indexed::Growing(Progress::default());
            }
        }
    }
}
