//! The index of codes, and which secrets it follows.
//!
//! A walk over a product's devices brings the index up to a secret that came
//! later than they did. Between its steps devices come, go and are renamed:
//! each of those writes, and each step, sees to it that none is left out and
//! that no row stays behind.

use super::super::rows::{self, Table};
use super::super::{Batch, Commit, Recoded, RegistryError};
use super::{Ground, Staging};
use crate::identity::{FeedId, ProductId};
use crate::product::Product;

impl<G: Ground> Staging<'_, G> {
    /// Brings the index on by some devices of a product.
    pub(super) fn recode(
        &mut self,
        product: Product,
        members: &[Recoded],
    ) -> Result<Commit, RegistryError> {
        let id = product.id.clone();
        if product.version == 0 || self.replace_product(product)? == Commit::Lost {
            return Ok(Commit::Lost);
        }
        for member in members {
            let key = rows::member_key(&id, member.serial.as_str());
            if self.read::<FeedId>(Table::Index, &key)? != Some(member.feed) {
                continue;
            }
            for code in &member.removed {
                self.remove_feed(rows::code_key(code), member.feed)?;
            }
            for code in &member.added {
                self.add_feed(rows::code_key(code), member.feed)?;
            }
        }
        Ok(Commit::Done)
    }

    /// Whether this is the newest secret of a product, so that whoever knows it
    /// has computed every code. A product that is gone has none newer.
    pub(super) fn knows_secrets(
        &self,
        product: &ProductId,
        generation: u32,
    ) -> Result<bool, RegistryError> {
        let found: Option<Product> = self.read(Table::Meta, &rows::product_key(product))?;
        Ok(found.is_none_or(|found| found.newest_secret() <= generation))
    }

    /// Has the index visit every device again if these were registered by
    /// somebody who did not know the newest secret.
    pub(super) fn catch_up_later(&mut self, batch: &Batch) -> Result<(), RegistryError> {
        let key = rows::product_key(&batch.product);
        let found: Option<Product> = self.read(Table::Meta, &key)?;
        if let Some(mut product) = found
            && product.newest_secret() > batch.generation
        {
            product.walk_again_behind(batch.generation);
            product.version += 1;
            self.put(Table::Meta, key, &product);
        }
        Ok(())
    }
}
