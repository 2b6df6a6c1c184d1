//! Blocking all devices of a product, but for exceptions.
//!
//! In three steps, so that an excepted device is never out: a number is
//! reserved, the exceptions are written with it, and only then does the block
//! of that number hold. A block that is not finished has done nothing.

use crate::clock::Timestamp;
use crate::event::EventKind;
use crate::identity::{DeviceName, ProductId};
use crate::product::Product;
use crate::provision::{DeviceError, ProductError, Provisioner};
use crate::registry::{Commit, RegistryError, Write};

impl Provisioner {
    /// Reserves the number of a block that is being prepared.
    pub async fn reserve_block(&self, id: &ProductId, now: Timestamp) -> Result<u32, ProductError> {
        let product = self
            .rewrite_product(id, None, now, |product| product.block.newest += 1)
            .await?;
        Ok(product.block.newest)
    }

    /// Excepts devices from the block of this number; says of each what became
    /// of it, in their order.
    pub async fn except(
        &self,
        id: &ProductId,
        number: u32,
        names: &[DeviceName],
    ) -> Vec<Result<(), DeviceError>> {
        let mut outcome = Vec::with_capacity(names.len());
        let mut commits = Vec::with_capacity(names.len());
        for name in names {
            outcome.push(match self.excepting(id, number, name).await {
                Ok(write) => {
                    let registry = std::sync::Arc::clone(&self.registry);
                    let commit = async move { registry.commit(write, Vec::new()).await };
                    commits.push((outcome.len(), tokio::spawn(commit)));
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        for (index, commit) in commits {
            let committed = match commit.await {
                Ok(Ok(Commit::Done)) => continue,
                Ok(Ok(Commit::Lost)) => self.except_one(id, number, &names[index]).await,
                Ok(Err(error)) => Err(error.into()),
                Err(_) => {
                    let stopping = "the server is stopping".to_owned();
                    Err(RegistryError::Unavailable(stopping).into())
                }
            };
            outcome[index] = committed;
        }
        outcome
    }

    /// Lets the block of this number hold; it replaces the one before.
    pub async fn block_product(
        &self,
        id: &ProductId,
        number: u32,
        excepted: u64,
        now: Timestamp,
    ) -> Result<Product, ProductError> {
        let kind = EventKind::ProductBlocked { excepted };
        self.rewrite_product(id, Some(kind), now, |product| {
            product.block.current = Some(number);
        })
        .await
    }

    /// Lets the product's devices in again.
    pub async fn unblock_product(
        &self,
        id: &ProductId,
        now: Timestamp,
    ) -> Result<Product, ProductError> {
        let kind = EventKind::ProductUnblocked;
        self.rewrite_product(id, Some(kind), now, |product| {
            product.block.current = None;
        })
        .await
    }

    async fn except_one(
        &self,
        id: &ProductId,
        number: u32,
        name: &DeviceName,
    ) -> Result<(), DeviceError> {
        loop {
            let write = self.excepting(id, number, name).await?;
            if self.registry.commit(write, Vec::new()).await? == Commit::Done {
                return Ok(());
            }
        }
    }

    /// The write that excepts one device. A bare serial is this product's.
    async fn excepting(
        &self,
        id: &ProductId,
        number: u32,
        name: &DeviceName,
    ) -> Result<Write, DeviceError> {
        let own = DeviceName {
            product: Some(id.clone()),
            serial: name.serial.clone(),
        };
        let named_other = name.product.as_ref().is_some_and(|named| named != id);
        if named_other {
            return Err(DeviceError::OtherProduct(name.clone()));
        }
        let mut device = self.find_device(&own).await?;
        let product = self.product_of(&device).await?;
        device.exceptions = device.exceptions.with(number, product.record.block);
        Ok(Write::Device(device))
    }
}
