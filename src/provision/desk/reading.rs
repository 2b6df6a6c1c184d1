//! What operators look up: a product's devices, and the secrets that they may
//! be shown.

use crate::clock::Timestamp;
use crate::code::{ActivationCode, DeviceKey};
use crate::device::{Device, Key, Keys};
use crate::identity::ProductId;
use crate::provision::{ProductError, Provisioner};
use crate::registry::RegistryError;
use crate::secret::ProductSecret;

/// Devices read at once.
const PAGE: usize = 1000;

/// Which of a product's devices are looked for; every device, if nothing is
/// said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Part of its serial, in any case.
    pub serial: Option<String>,
    /// Whether it has been given a key.
    pub activated: Option<bool>,
}

impl DeviceFilter {
    /// Whether it is one of those.
    pub fn takes(&self, device: &Device) -> bool {
        let part = self.serial.as_deref().unwrap_or_default();
        let serial = device.serial.as_str().to_ascii_lowercase();
        let activated = device.keys != Keys::None;
        serial.contains(&part.to_ascii_lowercase())
            && self.activated.is_none_or(|wanted| wanted == activated)
    }

    fn takes_all(&self) -> bool {
        self.serial.as_ref().is_none_or(String::is_empty) && self.activated.is_none()
    }
}

/// Some of the devices that were looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many there are.
    pub total: u64,
    /// Those that were asked for.
    pub devices: Vec<Device>,
}

impl Provisioner {
    /// Looks for a product's devices, in the order of their serials. With a
    /// filter it looks at every one of them.
    pub async fn search(
        &self,
        product: &ProductId,
        filter: &DeviceFilter,
        skip: u64,
        limit: usize,
    ) -> Result<Found, ProductError> {
        if self.registry.product(product).await?.is_none() {
            return Err(ProductError::Unknown(product.clone()));
        }
        let known_total = match filter.takes_all() {
            true => Some(
                self.registry
                    .product_census(product)
                    .await?
                    .lifecycles
                    .total(),
            ),
            false => None,
        };
        let mut found = Found {
            total: 0,
            devices: Vec::new(),
        };
        let mut after = None;
        loop {
            let page = self.registry.devices(product, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.serial.clone());
            for device in page {
                if filter.takes(&device) {
                    if found.total >= skip && found.devices.len() < limit {
                        found.devices.push(device);
                    }
                    found.total += 1;
                }
            }
            let complete =
                found.devices.len() == limit || known_total.is_some_and(|all| all <= skip);
            if known_total.is_some() && complete {
                break;
            }
        }
        found.total = known_total.unwrap_or(found.total);
        Ok(found)
    }

    /// A product's newest secret, for those who may see it.
    pub async fn secret_of(
        &self,
        id: &ProductId,
        now: Timestamp,
    ) -> Result<ProductSecret, ProductError> {
        if self.registry.product(id).await?.is_none() {
            return Err(ProductError::Unknown(id.clone()));
        }
        let product = self.catalogue.find(id, &*self.registry).await?;
        let newest = product.live(now).next().map(|(_, secret)| secret.clone());
        newest.ok_or_else(|| ProductError::Unknown(id.clone()))
    }

    /// A device's activation code, for those who may see it.
    pub async fn code_of(
        &self,
        device: &Device,
        now: Timestamp,
    ) -> Result<ActivationCode, RegistryError> {
        let product = self.product_of(device).await?;
        let newest = product.live(now).next();
        let (_, secret) =
            newest.ok_or_else(|| RegistryError::Damaged("a product has no secret".to_owned()))?;
        Ok(ActivationCode::compute(secret, &device.serial))
    }

    /// The key that a device signs with, if it has made none itself, for those
    /// who may see it: of the secret that it signs with now, or else of the
    /// newest.
    pub async fn device_key_of(
        &self,
        device: &Device,
        now: Timestamp,
    ) -> Result<DeviceKey, RegistryError> {
        let product = self.product_of(device).await?;
        let used = match device.keys.current() {
            Some(Key::Derived(generation)) => product.of_generation(generation),
            _ => None,
        };
        let newest = || product.live(now).next().map(|(_, secret)| secret);
        let secret = used
            .or_else(newest)
            .ok_or_else(|| RegistryError::Damaged("a product has no secret".to_owned()))?;
        Ok(DeviceKey::derive(secret, &device.serial))
    }
}
