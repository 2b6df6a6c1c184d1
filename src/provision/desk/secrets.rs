//! A product's secrets: a new one, the end of an old one, and the walks that
//! bring the index of codes up to them.
//!
//! A rotation disturbs nobody who is in: keys stay, sessions stay, and devices
//! that sign go on with the secret that their keys come from. Only a new
//! activation needs a secret that is accepted.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::Device;
use crate::event::{EventKind, NewEvent, Subject};
use crate::identity::ProductId;
use crate::product::{Indexed, Product, ProductSecretSlot, Progress};
use crate::provision::door::decide::LIVE_SECRETS;
use crate::provision::{OpenProduct, Provisioner};
use crate::registry::{Commit, ProductCensus, Recoded, RegistryError, Write};
use crate::secret::{CodeDigest, ProductSecret};

/// Devices whose codes go into the index in one write: few enough that an
/// activation waits behind one for a moment only.
const STEP: usize = 250;

/// Why a product's secrets stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Two are accepted.
    #[error(
        "two secrets of this product are accepted: number {generation} ends at {until}; \
         `firstwake product end-secret` ends it sooner"
    )]
    TwoLive {
        /// The older of them.
        generation: u32,
        /// When it ends.
        until: Timestamp,
    },
    /// It has this secret, or had it.
    #[error("the product has, or had, this very secret (number {0}): use another one")]
    Known(u32),
    /// Another product has this secret, or had it.
    #[error("product {0} has, or had, this very secret: give each product one of its own")]
    Taken(ProductId),
    /// As many are kept as there may be.
    #[error(
        "the product keeps 16 secrets, and no more fit: one that has ended goes an hour later, \
         when no device signs with a key from it any more (`firstwake product show`)"
    )]
    TooMany,
    /// It has none of that number.
    #[error("the product has no secret number {0}; `firstwake product show` lists those it has")]
    Absent(u32),
    /// It is the one that devices come with.
    #[error(
        "number {0} is the product's newest secret: give it another one first, with \
         `firstwake product rotate-secret`"
    )]
    Newest(u32),
    /// No such product.
    #[error("no product has the id {0}; `firstwake product list` shows those there are")]
    Unknown(ProductId),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A product's secret in place of the one that it had.
#[derive(Debug)]
pub struct Rotated {
    /// The product.
    pub product: Product,
    /// The new secret. It is nowhere else in the clear.
    pub secret: ProductSecret,
    /// Its number.
    pub generation: u32,
    /// The one before is accepted until then.
    pub until: Timestamp,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// The index is as it should be.
    Done,
    /// A step was made, and another is due.
    Goes,
}

impl Provisioner {
    /// Gives a product a new secret, drawn if none is given. The one before is
    /// accepted for as long as `grace`.
    pub async fn rotate_secret(
        &self,
        id: &ProductId,
        given: Option<ProductSecret>,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Rotated, SecretError> {
        let _alone = self.several_rows.lock().await;
        let other = match &given {
            Some(given) => self.product_with(given).await?,
            None => None,
        };
        let other = other.filter(|other| other != id);
        let secret = given.unwrap_or_else(|| ProductSecret::generate(&*self.entropy));
        loop {
            let mut product = self.read_product(id).await?;
            if let Some(other) = other {
                return Err(SecretError::Taken(other));
            }
            let census = self.registry.product_census(id).await?;
            let open = self.catalogue.put(product.clone()).map_err(damaged)?;
            if let Some(known) = open.number_of(&secret) {
                return Err(SecretError::Known(known));
            }
            let until = now.plus(grace);
            let generation = self.add_secret(&mut product, &secret, until, &census, now)?;
            let kind = EventKind::SecretRotated { generation, until };
            if let Some(product) = self.write_secrets(product, kind, now).await? {
                return Ok(Rotated {
                    product,
                    secret,
                    generation,
                    until,
                });
            }
        }
    }

    /// The product that keeps this secret, accepted or not. The registry is asked
    /// and not what is known here: another server may have made a product.
    pub(in crate::provision) async fn product_with(
        &self,
        secret: &ProductSecret,
    ) -> Result<Option<ProductId>, RegistryError> {
        for record in self.registry.products().await? {
            let open = self.catalogue.open(record).map_err(damaged)?;
            if open.number_of(secret).is_some() {
                return Ok(Some(open.record.id));
            }
        }
        Ok(None)
    }

    /// Ends a secret that another one has replaced, now. One that has ended
    /// stays as it is.
    pub async fn end_secret(
        &self,
        id: &ProductId,
        generation: u32,
        now: Timestamp,
    ) -> Result<Product, SecretError> {
        loop {
            let mut product = self.read_product(id).await?;
            if product.newest_secret() == generation {
                return Err(SecretError::Newest(generation));
            }
            let mut slots = product.secrets.iter_mut();
            let slot = slots.find(|slot| slot.generation == generation);
            let slot = slot.ok_or(SecretError::Absent(generation))?;
            if !slot.is_live(now) {
                return Ok(product);
            }
            slot.expires_at = Some(now);
            let kind = EventKind::SecretEnded { generation };
            if let Some(product) = self.write_secrets(product, kind, now).await? {
                return Ok(product);
            }
        }
    }

    /// Brings the index of codes on by one step of one product, if any has a
    /// secret that it does not follow yet.
    pub async fn index_codes(&self, now: Timestamp) -> Result<Indexing, RegistryError> {
        self.index_some(STEP, now).await
    }

    /// The same with as many devices in a step.
    pub(in crate::provision) async fn index_some(
        &self,
        devices: usize,
        now: Timestamp,
    ) -> Result<Indexing, RegistryError> {
        for id in self.catalogue.with_walks(now) {
            let Some(mut product) = self.registry.product(&id).await? else {
                self.catalogue.remove(&id);
                continue;
            };
            if product.begin_walks(now) {
                self.step(product, devices).await?;
                return Ok(Indexing::Goes);
            }
            // Another server has done it.
            self.catalogue.put(product).map_err(damaged)?;
        }
        Ok(Indexing::Done)
    }

    /// A step of the walk that has come least far, for every secret that is as
    /// far.
    async fn step(&self, mut product: Product, devices: usize) -> Result<(), RegistryError> {
        let open = self.catalogue.open(product.clone()).map_err(damaged)?;
        let walks = product
            .secrets
            .iter()
            .filter_map(|slot| slot.indexed.walk());
        let Some(from) = walks.min_by(|a, b| a.through.cmp(&b.through)).cloned() else {
            return Ok(());
        };
        let page = self
            .registry
            .devices(&product.id, from.through.as_ref(), devices)
            .await?;
        let members = page.iter().map(|device| recoded(device, &open, &from));
        let members = members.collect();
        let through = page.last().map(|last| last.serial.clone());
        let next = through
            .filter(|_| page.len() == devices)
            .map(|through| Progress {
                through: Some(through),
                devices: from.devices + page.len() as u64,
            });
        for slot in &mut product.secrets {
            if slot.indexed.walk() == Some(&from) {
                slot.indexed.advance(next.clone());
            }
        }
        let write = Write::Codes {
            product: Box::new(product.clone()),
            members,
        };
        // One that is lost is taken again, from where the walk is then.
        if self.registry.commit(write, Vec::new()).await? == Commit::Done {
            product.version += 1;
            self.catalogue.put(product).map_err(damaged)?;
        }
        Ok(())
    }

    /// Puts a secret before those that a product has, and leaves out those that
    /// nothing needs any more.
    fn add_secret(
        &self,
        product: &mut Product,
        secret: &ProductSecret,
        until: Timestamp,
        census: &ProductCensus,
        now: Timestamp,
    ) -> Result<u32, SecretError> {
        let live: Vec<&ProductSecretSlot> = product
            .secrets
            .iter()
            .filter(|slot| slot.is_live(now))
            .collect();
        if live.len() >= LIVE_SECRETS
            && let Some(ProductSecretSlot {
                generation,
                expires_at: Some(until),
                ..
            }) = live.last()
        {
            return Err(SecretError::TwoLive {
                generation: *generation,
                until: *until,
            });
        }
        product.secrets.retain(|slot| {
            let needed = census.sign_with(slot.generation) > 0;
            needed || slot.indexed != Indexed::Nothing
        });
        if product.secrets.len() >= Product::SECRETS {
            return Err(SecretError::TooMany);
        }
        for slot in &mut product.secrets {
            if slot.is_live(now) {
                slot.expires_at = Some(until);
            }
        }
        let generation = product.newest_secret() + 1;
        let sealing = self.catalogue.sealing();
        let indexed = match census.lifecycles.total() {
            0 => Indexed::Whole,
            _ => Indexed::Growing(Progress::default()),
        };
        let slot = ProductSecretSlot {
            generation,
            sealed: sealing.seal(secret, &product.id, generation, &*self.entropy),
            expires_at: None,
            since: now,
            indexed,
        };
        product.secrets.insert(0, slot);
        Ok(generation)
    }

    async fn read_product(&self, id: &ProductId) -> Result<Product, SecretError> {
        let found = self.registry.product(id).await?;
        found.ok_or_else(|| SecretError::Unknown(id.clone()))
    }

    /// Writes a product whose secrets have changed, unless somebody was faster.
    /// Decisions follow it when this returns.
    async fn write_secrets(
        &self,
        mut product: Product,
        kind: EventKind,
        now: Timestamp,
    ) -> Result<Option<Product>, RegistryError> {
        let event = NewEvent {
            at: now,
            subject: Subject::Product(product.id.clone()),
            kind,
        };
        let write = Write::Product(Box::new(product.clone()));
        if self.registry.commit(write, vec![event]).await? == Commit::Lost {
            return Ok(None);
        }
        product.version += 1;
        self.catalogue.put(product.clone()).map_err(damaged)?;
        Ok(Some(product))
    }
}

/// What a step of a walk does to the codes of one device.
fn recoded(device: &Device, product: &OpenProduct, from: &Progress) -> Recoded {
    let digests = |wanted: fn(&Indexed) -> bool| -> Vec<CodeDigest> {
        let secrets = product.slots();
        let walked = secrets.filter(|(slot, _)| slot.indexed.walk() == Some(from));
        walked
            .filter(|(slot, _)| wanted(&slot.indexed))
            .map(|(_, secret)| ActivationCode::compute(secret, &device.serial).digest())
            .collect()
    };
    Recoded {
        serial: device.serial.clone(),
        feed: device.feed,
        added: digests(|indexed| matches!(indexed, Indexed::Growing(_))),
        removed: digests(|indexed| matches!(indexed, Indexed::Shrinking(_))),
    }
}

fn damaged(error: crate::sealing::UnsealError) -> RegistryError {
    RegistryError::Damaged(error.to_string())
}
