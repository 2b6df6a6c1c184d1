//! Which datastreams a device may send: those of its product, and some more.

use crate::product::DatastreamId;
use crate::provision::Provisioner;
use crate::provision::door::admission::DeviceLogin;
use crate::registry::{Commit, RegistryError, Write};

/// Why a device may not send a datastream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDatastream {
    /// It has as many names of its own as its product allows.
    #[error("the device has no new datastreams left")]
    QuotaExceeded,
    /// The registry is in trouble.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

/// Where a datastream's name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The product names it for all its devices.
    ByProduct,
    /// The device came up with it, now or before.
    ByDevice,
}

impl Provisioner {
    /// Decides whether a device may send this datastream. A name that is new
    /// is remembered before this returns.
    pub async fn permit_datastream(
        &self,
        login: &DeviceLogin,
        datastream: &DatastreamId,
    ) -> Result<Named, NoDatastream> {
        let product = self.catalogue.find(&login.product, &*self.registry).await?;
        if product.record.names(datastream) {
            return Ok(Named::ByProduct);
        }
        let known = self.registry.datastreams(login.feed).await?;
        if known.contains(datastream) {
            return Ok(Named::ByDevice);
        }
        let most = product.record.new_datastreams;
        if known.len() as u64 >= u64::from(most) {
            // Without a write: whoever repeats this must not keep the disk busy.
            return Err(NoDatastream::QuotaExceeded);
        }
        let write = Write::Datastream {
            feed: login.feed,
            datastream: datastream.clone(),
            most,
        };
        match self.registry.commit(write, Vec::new()).await? {
            Commit::Done => Ok(Named::ByDevice),
            Commit::Lost => Err(NoDatastream::QuotaExceeded),
        }
    }
}
