//! What is told of a product's secrets: never one of them.

use firstwake::registry::ProductCensus;
use firstwake::{Indexed, ProductSecretSlot, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::schema;

/// One of a product's secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SecretOfProduct)]
pub(crate) struct SecretView {
    /// Its number; events say it.
    pub(crate) generation: u32,
    #[schema(schema_with = schema::time)]
    pub(crate) since: Timestamp,
    /// From then on it is not accepted.
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) until: Option<Timestamp>,
    /// Whether it is accepted now.
    pub(crate) accepted: bool,
    /// How many devices came with it last and are not revoked.
    pub(crate) devices: u64,
    /// How many keys that devices sign with come from it: they go on when it
    /// has ended.
    pub(crate) signing: u64,
    /// Of 100 devices, so many are found over HTTP by its codes.
    pub(crate) codes_indexed: u8,
}

impl SecretView {
    pub(super) fn of(slot: &ProductSecretSlot, census: &ProductCensus, now: Timestamp) -> Self {
        Self {
            generation: slot.generation,
            since: slot.since,
            until: slot.expires_at,
            accepted: slot.is_live(now),
            devices: census.come_with(slot.generation),
            signing: census.sign_with(slot.generation),
            codes_indexed: indexed(&slot.indexed, census.lifecycles.total()),
        }
    }
}

/// Of 100 devices; all of them only when it is so.
fn indexed(indexed: &Indexed, devices: u64) -> u8 {
    let share = |visited: u64| {
        let hundredths = visited.saturating_mul(100) / devices.max(1);
        u8::try_from(hundredths.min(99)).unwrap_or(99)
    };
    match indexed {
        Indexed::Whole => 100,
        Indexed::Growing(progress) => share(progress.devices),
        Indexed::Shrinking(progress) => 99 - share(progress.devices),
        Indexed::Nothing => 0,
    }
}

#[cfg(test)]
mod tests {
    use firstwake::Progress;

    use super::*;

    #[test]
    fn all_is_said_of_all_only() {
        let at = |devices| Progress {
            through: None,
            devices,
        };
        let check = |state: &Indexed, expected| assert_eq!(indexed(state, 250), expected);
        check(&Indexed::Whole, 100);
        check(&Indexed::Growing(at(0)), 0);
        check(&Indexed::Growing(at(100)), 40);
        // More came and went than there are now.
        check(&Indexed::Growing(at(900)), 99);
        check(&Indexed::Shrinking(at(0)), 99);
        check(&Indexed::Shrinking(at(900)), 0);
        check(&Indexed::Nothing, 0);
        assert_eq!(indexed(&Indexed::Growing(at(0)), 0), 0);
    }
}
