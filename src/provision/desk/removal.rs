//! Removing and renaming: what cannot be taken back.

use crate::clock::Timestamp;
use crate::device::Device;
use crate::event::{EventKind, NewEvent, Subject};
use crate::identity::{DeviceName, ProductId, Serial};
use crate::provision::{DeviceError, ProductError, Provisioner};
use crate::registry::{Commit, RegistryError, Write};

/// Devices of a product that are removed together.
const CHUNK: usize = 256;

impl Provisioner {
    /// Removes a device and all that was its own; its session ends. Its feed
    /// id is not given out again.
    pub async fn remove_device(
        &self,
        name: &DeviceName,
        now: Timestamp,
    ) -> Result<Device, DeviceError> {
        loop {
            let device = self.find_device(name).await?;
            let (write, event) = self.removing(&device, now).await?;
            if self.registry.commit(write, vec![event]).await? == Commit::Done {
                return Ok(device);
            }
            // Its product may have got a secret that is not known here yet.
            self.reload_product(&device.product).await?;
        }
    }

    /// Gives a device another serial, and with it another code. Its keys and
    /// its feed stay; its session ends.
    pub async fn rename_device(
        &self,
        name: &DeviceName,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Device, DeviceError> {
        loop {
            let device = self.find_device(name).await?;
            if device.serial == serial {
                return Ok(device);
            }
            let taken = DeviceName {
                product: Some(device.product.clone()),
                serial: serial.clone(),
            };
            let others = self.registry.by_serial(&serial).await?;
            if others.iter().any(|other| taken.fits(other)) {
                return Err(DeviceError::Taken(taken));
            }
            let renamed = Device {
                serial: serial.clone(),
                ..device.clone()
            };
            let kind = EventKind::DeviceRenamed {
                from: device.serial.clone(),
            };
            let product = self.product_of(&device).await?;
            let write = Write::RenameDevice {
                generation: product.record.newest_secret(),
                ended: product.codes_known(&device.serial),
                codes: product.codes_wanted(&serial, now),
                signed_until: signed_until(&device, now),
                serial: serial.clone(),
                device,
            };
            let event = renamed.event(kind, now);
            if self.registry.commit(write, vec![event]).await? == Commit::Done {
                return Ok(renamed);
            }
            // Its product may have got a secret that is not known here yet.
            self.reload_product(&renamed.product).await?;
        }
    }

    /// Removes a product with all its devices, and says how many there were.
    /// It is gone when its last device is: whoever stops in between may begin
    /// again.
    pub async fn remove_product(
        &self,
        id: &ProductId,
        now: Timestamp,
    ) -> Result<u64, ProductError> {
        let mut removed = 0;
        loop {
            let found = self.registry.product(id).await?;
            let product = found.ok_or_else(|| ProductError::Unknown(id.clone()))?;
            self.reload_product(id).await?;
            removed += self.remove_members(id, now).await?;
            let event = NewEvent {
                at: now,
                subject: Subject::Product(id.clone()),
                kind: EventKind::ProductRemoved,
            };
            let write = Write::RemoveProduct(Box::new(product));
            if self.registry.commit(write, vec![event]).await? == Commit::Done {
                self.reload_product(id).await?;
                return Ok(removed);
            }
        }
    }

    /// Removes the devices that a product has now. Writes that wait together
    /// share a sync.
    async fn remove_members(&self, id: &ProductId, now: Timestamp) -> Result<u64, RegistryError> {
        let mut removed = 0;
        let mut after = None;
        loop {
            let page = self.registry.devices(id, after.as_ref(), CHUNK).await?;
            let Some(last) = page.last() else {
                return Ok(removed);
            };
            after = Some(last.serial.clone());
            let mut commits = Vec::with_capacity(page.len());
            for device in &page {
                let (write, event) = self.removing(device, now).await?;
                let registry = std::sync::Arc::clone(&self.registry);
                let commit = async move { registry.commit(write, vec![event]).await };
                commits.push(tokio::spawn(commit));
            }
            for commit in commits {
                let stopping = |_| RegistryError::Unavailable("the server is stopping".to_owned());
                // One that changed meanwhile is met again in the next round.
                removed += u64::from(commit.await.map_err(stopping)?? == Commit::Done);
            }
        }
    }

    async fn removing(
        &self,
        device: &Device,
        now: Timestamp,
    ) -> Result<(Write, NewEvent), RegistryError> {
        let product = self.product_of(device).await?;
        let write = Write::RemoveDevice {
            generation: product.record.newest_secret(),
            codes: product.codes_known(&device.serial),
            signed_until: signed_until(device, now),
            device: device.clone(),
        };
        Ok((write, device.event(EventKind::DeviceRemoved, now)))
    }
}

/// The time that a device which gets its serial next must sign after.
fn signed_until(device: &Device, now: Timestamp) -> Option<Timestamp> {
    device
        .last_login
        .as_ref()
        .and_then(|last| last.still_about(now))
}
