//! What is sealed, and sealing all of it anew.

use super::super::rows::{self, Table};
use super::super::{Commit, RegistryError, Reseal};
use super::{Ground, Staging};
use crate::once::Occasion;
use crate::product::Product;
use crate::sealing::SealedSecret;

impl<G: Ground> Staging<'_, G> {
    /// Keeps something sealed; lost if it is there.
    pub(super) fn keep_sealed(
        &mut self,
        key: &[u8],
        sealed: &SealedSecret,
    ) -> Result<Commit, RegistryError> {
        if self.read::<SealedSecret>(Table::Meta, key)?.is_some() {
            return Ok(Commit::Lost);
        }
        self.put(Table::Meta, key.to_vec(), sealed);
        Ok(Commit::Done)
    }

    /// Puts what is sealed anew in the place of what was: all of it, or lost if
    /// anything came, went or changed since it was read.
    pub(super) fn reseal(&mut self, reseal: Reseal) -> Result<Commit, RegistryError> {
        let Reseal {
            before,
            proof,
            products,
            licence_key,
            occasions,
        } = reseal;
        let (proof_key, licence_key_key) = (rows::SEALING_PROOF_KEY, rows::LICENCE_KEY_KEY);
        let known: Option<SealedSecret> = self.read(Table::Meta, proof_key)?;
        let licence: Option<SealedSecret> = self.read(Table::Meta, licence_key_key)?;
        let sealed_products = self.under(Table::Meta, &[rows::PRODUCTS])?.len();
        let mut answered = 0;
        for row in self.under(Table::Meta, &[rows::OCCASIONS])?.values() {
            answered += usize::from(rows::decode::<Occasion>(row)?.response.is_some());
        }
        let same = known == Some(before)
            && licence.is_some() == licence_key.is_some()
            && sealed_products == products.len()
            && answered == occasions.len();
        if !same {
            return Ok(Commit::Lost);
        }
        for (id, occasion) in &occasions {
            let found: Option<Occasion> = self.read(Table::Meta, &rows::occasion_key(id))?;
            let as_read = |found: Occasion| found.at == occasion.at && found.response.is_some();
            if !found.is_some_and(as_read) {
                return Ok(Commit::Lost);
            }
        }
        for product in &products {
            let found: Option<Product> = self.read(Table::Meta, &rows::product_key(&product.id))?;
            if found.is_none_or(|found| found.version != product.version) {
                return Ok(Commit::Lost);
            }
        }
        for product in products {
            self.replace_product(product)?;
        }
        for (id, occasion) in occasions {
            self.put(Table::Meta, rows::occasion_key(&id), &occasion);
        }
        if let Some(licence_key) = licence_key {
            self.put(Table::Meta, licence_key_key.to_vec(), &licence_key);
        }
        self.put(Table::Meta, proof_key.to_vec(), &proof);
        Ok(Commit::Done)
    }
}
