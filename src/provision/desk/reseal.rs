//! Another sealing key: all that is sealed is sealed anew, in one write.
//!
//! Whoever asks makes sure that no server has the registry open: one would go
//! on sealing with the key that it started with. That key opens nothing here
//! afterwards, but still what was backed up before.

use super::once;
use crate::once::{Occasion, OccasionId};
use crate::product::Product;
use crate::provision::{Provisioner, StartError};
use crate::registry::{Commit, RegistryError, Reseal, Write};
use crate::sealing::{
    LICENCE_KEY_BINDING, SealingKey, UnsealError, pepper_binding, secret_binding,
};

/// What was sealed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Products, with their secrets and peppers.
    pub products: usize,
    /// Answers that are remembered for requests that are sent again.
    pub answers: usize,
}

impl Provisioner {
    /// Seals everything under another key, durably, when this returns; the
    /// provisioner has the one before, and is of no further use.
    pub async fn reseal(self, next: &SealingKey) -> Result<Resealed, StartError> {
        loop {
            let reseal = self.resealed(next).await?;
            let resealed = Resealed {
                products: reseal.products.len(),
                answers: reseal.occasions.len(),
            };
            let write = Write::Reseal(Box::new(reseal));
            if self.registry.commit(write, Vec::new()).await? == Commit::Done {
                return Ok(resealed);
            }
        }
    }

    async fn resealed(&self, next: &SealingKey) -> Result<Reseal, StartError> {
        let registry = &self.registry;
        let unproved = || RegistryError::Damaged("nothing says whose key this is".to_owned());
        let before = registry.sealing_proof().await?.ok_or_else(unproved)?;
        self.catalogue.sealing().check(&before)?;
        let mut products = Vec::new();
        for product in registry.products().await? {
            products.push(self.reseal_product(product, next)?);
        }
        let licence_key = registry.licence_key().await?;
        let licence_key = licence_key.map(|sealed| {
            let sealing = self.catalogue.sealing();
            sealing.hand_on(next, &sealed, LICENCE_KEY_BINDING, &*self.entropy)
        });
        let mut occasions = Vec::new();
        for (id, _) in registry.occasions().await? {
            if let Some(occasion) = registry.occasion(&id).await? {
                occasions.extend(self.reseal_answer(id, occasion, next)?);
            }
        }
        Ok(Reseal {
            before,
            proof: next.proof(&*self.entropy),
            products,
            licence_key: licence_key.transpose()?,
            occasions,
        })
    }

    fn reseal_product(
        &self,
        mut product: Product,
        next: &SealingKey,
    ) -> Result<Product, UnsealError> {
        let sealing = self.catalogue.sealing();
        for slot in &mut product.secrets {
            let bound_to = secret_binding(&product.id, slot.generation);
            slot.sealed = sealing.hand_on(next, &slot.sealed, &bound_to, &*self.entropy)?;
        }
        let pepper = product.pepper.take().map(|sealed| {
            let bound_to = pepper_binding(&product.id);
            sealing.hand_on(next, &sealed, &bound_to, &*self.entropy)
        });
        product.pepper = pepper.transpose()?;
        Ok(product)
    }

    /// Nothing, if the request has not been answered.
    fn reseal_answer(
        &self,
        id: OccasionId,
        occasion: Occasion,
        next: &SealingKey,
    ) -> Result<Option<(OccasionId, Occasion)>, UnsealError> {
        let Some(sealed) = &occasion.response else {
            return Ok(None);
        };
        let sealing = self.catalogue.sealing();
        let answer = sealing.hand_on(next, sealed, &once::bound(&id), &*self.entropy)?;
        let response = Some(answer);
        Ok(Some((
            id,
            Occasion {
                response,
                ..occasion
            },
        )))
    }
}
