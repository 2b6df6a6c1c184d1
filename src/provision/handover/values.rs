//! Keeping what devices have measured last.

use crate::clock::Timestamp;
use crate::feed::CurrentValue;
use crate::identity::FeedId;
use crate::provision::Provisioner;
use crate::registry::{Commit, RegistryError, Write};

/// So far a device's clock may be ahead: a value from later would stand for
/// ever.
const AHEAD: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Why values were not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// No device has this feed.
    #[error("no device has the feed {0}")]
    Unknown(FeedId),
    /// The device came up with more datastreams than its product allows.
    #[error("the device has no new datastreams left")]
    QuotaExceeded,
    /// The registry is in trouble.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

impl Provisioner {
    /// Keeps a feed's values, each unless a newer one is there: all of them or
    /// none. Durable when it returns.
    pub async fn keep_values(
        &self,
        feed: FeedId,
        mut values: Vec<CurrentValue>,
        now: Timestamp,
    ) -> Result<(), NotKept> {
        let device = self.registry.device(feed).await?;
        let device = device.ok_or(NotKept::Unknown(feed))?;
        let product = self.product_of(&device).await?;
        let latest = now.plus(AHEAD);
        for value in &mut values {
            value.at = value.at.min(latest);
        }
        let names = values.iter().map(|value| &value.datastream);
        let names = names.filter(|name| !product.record.names(name)).cloned();
        let write = Write::Values {
            feed,
            names: names.collect(),
            values,
            most: product.record.new_datastreams,
        };
        match self.registry.commit(write, Vec::new()).await? {
            Commit::Done => Ok(()),
            Commit::Lost => Err(NotKept::QuotaExceeded),
        }
    }
}
