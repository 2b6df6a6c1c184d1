//! Long lists of devices: taken in from a factory, and given to one.

use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::Device;
use crate::event::{EventKind, NewEvent, Subject};
use crate::identity::{ProductId, Serial};
use crate::provision::{ProductError, Provisioner};
use crate::registry::Write;

/// What became of the lines of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Newly registered.
    pub new: u64,
    /// Known before: they stay as they are.
    pub known: u64,
    /// Lines that held no device.
    pub rejected: u64,
}

impl Provisioner {
    /// Which of the serials the product knows, in their order.
    pub async fn are_known(
        &self,
        product: &ProductId,
        serials: &[Serial],
    ) -> Result<Vec<bool>, ProductError> {
        self.check_product(product).await?;
        let mut known = Vec::with_capacity(serials.len());
        for serial in serials {
            let sharing = self.registry.by_serial(serial).await?;
            known.push(sharing.iter().any(|device| device.product == *product));
        }
        Ok(known)
    }

    /// Notes that a list was taken in, and what became of it.
    pub async fn finish_import(
        &self,
        product: &ProductId,
        imported: Imported,
        now: Timestamp,
    ) -> Result<(), ProductError> {
        self.check_product(product).await?;
        let kind = EventKind::ImportFinished {
            registered: imported.new,
            known: imported.known,
            rejected: imported.rejected,
        };
        self.note_of_product(product, kind, now).await
    }

    /// A product's devices in the order of their serials, after one of them,
    /// each with the code that its newest secret makes. That they were given
    /// out is on disk before they are.
    pub async fn export_codes(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Device, ActivationCode)>, ProductError> {
        let secret = self.secret_of(product, now).await?;
        let page = self.registry.devices(product, after, limit).await?;
        if !page.is_empty() {
            let count = page.len() as u64;
            let kind = EventKind::CodesExported { count };
            self.note_of_product(product, kind, now).await?;
        }
        let with_code = |device: Device| {
            let code = ActivationCode::compute(&secret, &device.serial);
            (device, code)
        };
        Ok(page.into_iter().map(with_code).collect())
    }

    async fn check_product(&self, id: &ProductId) -> Result<(), ProductError> {
        match self.registry.product(id).await? {
            Some(_) => Ok(()),
            None => Err(ProductError::Unknown(id.clone())),
        }
    }

    async fn note_of_product(
        &self,
        id: &ProductId,
        kind: EventKind,
        now: Timestamp,
    ) -> Result<(), ProductError> {
        let event = NewEvent {
            at: now,
            subject: Subject::Product(id.clone()),
            kind,
        };
        self.registry.commit(Write::Note, vec![event]).await?;
        Ok(())
    }
}
