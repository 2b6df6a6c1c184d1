//! Products with their secrets opened, kept in memory.
//!
//! A CONNECT must not unseal anything: that is done once, when a product is
//! loaded or written. Nothing else holds an opened secret.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::StartError;
use crate::clock::Timestamp;
use crate::hardware::Pepper;
use crate::identity::ProductId;
use crate::product::Product;
use crate::registry::{Registry, RegistryError};
use crate::sealing::{SealingKey, UnsealError, pepper_binding};
use crate::secret::ProductSecret;

/// A product and its opened secrets.
#[derive(Debug)]
pub struct OpenProduct {
    /// The product as the registry keeps it.
    pub record: Product,
    /// In the order of the record's slots.
    secrets: Vec<ProductSecret>,
    /// What its devices' facts are hashed under, once it has been drawn.
    pub(super) pepper: Option<Pepper>,
}

impl OpenProduct {
    /// Every secret that the product has, accepted or not.
    pub(super) fn secrets(&self) -> &[ProductSecret] {
        &self.secrets
    }

    /// The secret of one generation, accepted or not: a device that signs with
    /// a key from it goes on when the secret has ended.
    pub(super) fn of_generation(&self, generation: u32) -> Option<&ProductSecret> {
        let slots = self.record.secrets.iter().zip(&self.secrets);
        let mut found = slots.filter(|(slot, _)| slot.generation == generation);
        found.next().map(|(_, secret)| secret)
    }

    /// The secrets that are accepted now, each with its generation, the newest
    /// first.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = (u32, &ProductSecret)> {
        self.record
            .secrets
            .iter()
            .zip(&self.secrets)
            .filter(move |(slot, _)| slot.is_live(now))
            .map(|(slot, secret)| (slot.generation, secret))
    }
}

/// All products, opened.
#[derive(Debug)]
pub(super) struct Catalogue {
    products: DashMap<ProductId, Arc<OpenProduct>>,
    sealing: SealingKey,
}

impl Catalogue {
    pub(super) async fn load(
        registry: &dyn Registry,
        sealing: SealingKey,
    ) -> Result<Self, StartError> {
        let catalogue = Self {
            products: DashMap::new(),
            sealing,
        };
        for product in registry.products().await? {
            catalogue.put(product)?;
        }
        Ok(catalogue)
    }

    pub(super) fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    /// Opens a product that was read or written, replacing what was known of
    /// it, unless that is newer.
    pub(super) fn put(&self, record: Product) -> Result<Arc<OpenProduct>, UnsealError> {
        let secrets = record
            .secrets
            .iter()
            .map(|slot| {
                self.sealing
                    .unseal(&slot.sealed, &record.id, slot.generation)
            })
            .collect::<Result<_, _>>()?;
        let pepper = record.pepper.as_ref().map(|sealed| {
            let bytes = self
                .sealing
                .unseal_bytes(sealed, &pepper_binding(&record.id))?;
            <[u8; 32]>::try_from(bytes.as_slice())
                .map(Pepper::from_bytes)
                .map_err(|_| UnsealError)
        });
        let product = Arc::new(OpenProduct {
            pepper: pepper.transpose()?,
            record,
            secrets,
        });
        let mut known = self
            .products
            .entry(product.record.id.clone())
            .or_insert_with(|| Arc::clone(&product));
        if known.record.version < product.record.version {
            *known = Arc::clone(&product);
        }
        Ok(Arc::clone(&known))
    }

    /// Forgets a product that is gone.
    pub(super) fn remove(&self, id: &ProductId) {
        self.products.remove(id);
    }

    /// How long devices may stay away, of each product that says so.
    pub(super) fn leases(&self) -> impl Iterator<Item = Duration> {
        let products = self.products.iter();
        products.filter_map(|product| product.record.licence.lease)
    }

    /// A product that some device belongs to.
    pub(super) async fn find(
        &self,
        id: &ProductId,
        registry: &dyn Registry,
    ) -> Result<Arc<OpenProduct>, RegistryError> {
        if let Some(found) = self.products.get(id) {
            return Ok(Arc::clone(&found));
        }
        let record = registry
            .product(id)
            .await?
            .ok_or_else(|| RegistryError::Damaged(format!("product {id} is missing")))?;
        self.put(record)
            .map_err(|error| RegistryError::Damaged(error.to_string()))
    }
}
