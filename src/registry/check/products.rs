//! Products first: what devices' codes are computed with, and what their
//! counts are held against.

use super::super::ProductCensus;
use super::super::rows::{self, Name, Table};
use super::{Check, RegistryError};
use crate::code::ActivationCode;
use crate::identity::Serial;
use crate::product::{Indexed, Product, ProductSecretSlot};
use crate::secret::{CodeDigest, ProductSecret};

/// What is known of a product whose devices are checked.
#[derive(Default)]
pub(super) struct Known {
    /// As counted.
    pub(super) census: ProductCensus,
    pub(super) codes: Codes,
}

/// What is known of a product's codes.
#[derive(Default)]
pub(super) enum Codes {
    /// No key was given, or it does not open them, or the product cannot be
    /// read: nothing can be said of its codes.
    #[default]
    Unknown,
    Of {
        /// Codes made with these have to be in the index.
        needed: Vec<ProductSecret>,
        /// Those made with these may be.
        possible: Vec<ProductSecret>,
    },
}

impl Codes {
    /// The digests that must find a device.
    pub(super) fn needed(&self, serial: &Serial) -> Vec<CodeDigest> {
        match self {
            Self::Unknown => Vec::new(),
            Self::Of { needed, .. } => needed.iter().map(|secret| digest(secret, serial)).collect(),
        }
    }

    /// Whether a code may be one of this serial.
    pub(super) fn explain(&self, code: &[u8], serial: &Serial) -> bool {
        match self {
            Self::Unknown => true,
            Self::Of { needed, possible } => needed
                .iter()
                .chain(possible)
                .any(|secret| digest(secret, serial).as_bytes() == code),
        }
    }
}

fn digest(secret: &ProductSecret, serial: &Serial) -> CodeDigest {
    ActivationCode::compute(secret, serial).digest()
}

impl Check<'_> {
    /// Reads the products; what else the table holds is read at the end.
    pub(super) async fn read_products(&mut self) -> Result<(), RegistryError> {
        let mut after = None;
        loop {
            let page = self
                .shelves
                .page(Table::Meta, after.as_deref(), super::PAGE);
            let page = page.await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in &page {
                if let Name::Product(id) = Name::read(Table::Meta, key) {
                    let codes = match rows::decode::<Product>(row) {
                        Ok(product) => self.codes_of(key, &product),
                        Err(_) => Codes::Unknown,
                    };
                    let census = ProductCensus::default();
                    self.products.insert(id, Known { census, codes });
                }
            }
        }
    }

    fn codes_of(&mut self, key: &[u8], product: &Product) -> Codes {
        let Some(sealing) = self.terms.sealing else {
            return Codes::Unknown;
        };
        let (mut needed, mut possible) = (Vec::new(), Vec::new());
        for slot in &product.secrets {
            let secret = sealing.unseal(&slot.sealed, &product.id, slot.generation);
            match secret {
                Ok(secret) if self.is_needed(slot) => needed.push(secret),
                Ok(secret) => possible.push(secret),
                Err(_) => {
                    let fault = format!(
                        "its secret of generation {} does not open with this sealing key",
                        slot.generation
                    );
                    self.lasting(Table::Meta, key, fault);
                    return Codes::Unknown;
                }
            }
        }
        Codes::Of { needed, possible }
    }

    /// Codes are in the index once a walk has put all of them there, and are
    /// taken out by another some time after their secret has ended.
    fn is_needed(&self, slot: &ProductSecretSlot) -> bool {
        slot.indexed == Indexed::Whole && slot.is_live(self.terms.now)
    }
}
