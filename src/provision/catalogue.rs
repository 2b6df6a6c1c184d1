//! Products with their secrets opened, kept in memory.
//!
//! A CONNECT must not unseal anything: that is done once, when a product is
//! loaded or written. Nothing else holds an opened secret.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::StartError;
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::entropy::Entropy;
use crate::hardware::Pepper;
use crate::identity::{ProductId, Serial};
use crate::product::{Indexed, Product, ProductSecretSlot};
use crate::registry::{Commit, Registry, RegistryError, Write};
use crate::sealing::{LICENCE_KEY_BINDING, SealingKey, UnsealError, pepper_binding};
use crate::secret::{CodeDigest, ProductSecret};

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
    /// Every secret that the product keeps, accepted or not, with its slot.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&ProductSecretSlot, &ProductSecret)> {
        self.record.secrets.iter().zip(&self.secrets)
    }

    /// The number of a secret that the product keeps.
    pub(super) fn number_of(&self, secret: &ProductSecret) -> Option<u32> {
        let mut slots = self.slots();
        let found = slots.find(|(_, known)| *known == secret);
        found.map(|(slot, _)| slot.generation)
    }

    /// What a device of this serial may be found by: its codes with every
    /// secret whose codes are in the index, accepted or not.
    pub(super) fn codes_known(&self, serial: &Serial) -> Vec<CodeDigest> {
        let known = |slot: &ProductSecretSlot| slot.indexed != Indexed::Nothing;
        self.codes(serial, known)
    }

    /// What a device of this serial is to be found by from now on.
    pub(super) fn codes_wanted(&self, serial: &Serial, now: Timestamp) -> Vec<CodeDigest> {
        self.codes(serial, |slot| !slot.is_settled(now))
    }

    fn codes(
        &self,
        serial: &Serial,
        wanted: impl Fn(&ProductSecretSlot) -> bool,
    ) -> Vec<CodeDigest> {
        let slots = self.slots().filter(|(slot, _)| wanted(slot));
        slots
            .map(|(_, secret)| ActivationCode::compute(secret, serial).digest())
            .collect()
    }

    /// The secret of one generation, accepted or not: a device that signs with
    /// a key from it goes on when the secret has ended.
    pub(super) fn of_generation(&self, generation: u32) -> Option<&ProductSecret> {
        let mut slots = self.slots();
        let found = slots.find(|(slot, _)| slot.generation == generation);
        found.map(|(_, secret)| secret)
    }

    /// Of those that are accepted no more, the newest.
    pub(super) fn last_ended(&self, now: Timestamp) -> Option<&ProductSecret> {
        let mut slots = self.slots();
        let found = slots.find(|(slot, _)| !slot.is_live(now));
        found.map(|(_, secret)| secret)
    }

    /// The secrets that are accepted now, each with its generation, the newest
    /// first.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = (u32, &ProductSecret)> {
        self.slots()
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

    /// Has the registry know this key again, which opened all that it holds.
    pub(super) async fn prove(
        &self,
        registry: &dyn Registry,
        entropy: &dyn Entropy,
    ) -> Result<(), StartError> {
        if let Some(sealed) = registry.licence_key().await? {
            self.sealing.unseal_bytes(&sealed, LICENCE_KEY_BINDING)?;
        }
        let write = Write::SealingProof(self.sealing.proof(entropy));
        if registry.commit(write, Vec::new()).await? == Commit::Lost
            && let Some(proof) = registry.sealing_proof().await?
        {
            // Another server was faster, perhaps with another key.
            self.sealing.check(&proof)?;
        }
        Ok(())
    }

    /// Opens a product.
    pub(super) fn open(&self, record: Product) -> Result<OpenProduct, UnsealError> {
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
        Ok(OpenProduct {
            pepper: pepper.transpose()?,
            record,
            secrets,
        })
    }

    /// Opens a product that was read or written, replacing what was known of
    /// it, unless that is newer.
    pub(super) fn put(&self, record: Product) -> Result<Arc<OpenProduct>, UnsealError> {
        let product = Arc::new(self.open(record)?);
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

    /// Products whose codes are not in the index as they should be.
    pub(super) fn with_walks(&self, now: Timestamp) -> Vec<ProductId> {
        let products = self.products.iter();
        products
            .filter(|product| product.record.has_walks(now))
            .map(|product| product.record.id.clone())
            .collect()
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
