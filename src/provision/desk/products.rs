//! What operators do to products.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::clones::OnClone;
use crate::event::{EventKind, NewEvent, Subject};
use crate::hardware::{FactSet, HardwareMode, HardwarePolicy, Pepper};
use crate::identity::ProductId;
use crate::licence::Licence;
use crate::product::{
    Block, Datastream, FeedDefaults, Indexed, Product, ProductSecretSlot, Profile, ProofPolicy,
    Reactivation, Stage,
};
use crate::provision::{NotAdmitted, Provisioner};
use crate::refusal::Refusal;
use crate::registry::{Commit, RegistryError, Write};
use crate::sealing::{SealedSecret, pepper_binding};
use crate::secret::ProductSecret;

/// A product to be made.
#[derive(Debug)]
pub struct NewProduct {
    /// Its name for people.
    pub name: String,
    /// Its secret, if the factory has one already; otherwise it is drawn.
    pub secret: Option<ProductSecret>,
    /// What its devices are told they may send.
    pub datastreams: Vec<Datastream>,
    /// Whether a code works again.
    pub reactivation: Reactivation,
    /// How many further datastreams a device may add.
    pub new_datastreams: u32,
    /// What people are told about it.
    pub profile: Profile,
    /// What its devices may prove themselves with.
    pub proof: ProofPolicy,
    /// From then on no code is accepted.
    pub codes_until: Option<Timestamp>,
    /// What it makes of its devices' hardware.
    pub hardware: HardwarePolicy,
    /// What follows a sign that a device was cloned.
    pub on_clone: OnClone,
    /// How many may be active, and for how long.
    pub licence: Licence,
}

impl NewProduct {
    /// A product of this name, with nothing but what is so unless somebody
    /// says otherwise.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            secret: None,
            datastreams: Vec::new(),
            reactivation: Reactivation::UntilConfirmed,
            new_datastreams: Product::NEW_DATASTREAMS,
            profile: Profile::default(),
            proof: ProofPolicy::default(),
            codes_until: None,
            hardware: HardwarePolicy::default(),
            on_clone: OnClone::default(),
            licence: Licence::default(),
        }
    }
}

/// What is to be changed of a product; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ProductChange {
    /// Its name for people.
    pub name: Option<String>,
    /// What its devices are told they may send; one that comes by its name
    /// alone keeps what is known of it.
    pub datastreams: Option<Vec<Datastream>>,
    /// Whether a code works again.
    pub reactivation: Option<Reactivation>,
    /// How many further datastreams a device may add.
    pub new_datastreams: Option<u32>,
    /// What it is, in a few sentences.
    pub description: Option<String>,
    /// How far it has come.
    pub stage: Option<Stage>,
    /// What the feeds of its devices are called.
    pub feed_defaults: Option<FeedDefaults>,
    /// What its devices may prove themselves with.
    pub proof: Option<ProofPolicy>,
    /// From then on no code is accepted; `Some(None)` takes the date away.
    pub codes_until: Option<Option<Timestamp>>,
    /// What follows from its devices' hardware.
    pub hardware_mode: Option<HardwareMode>,
    /// Which facts of it may change.
    pub may_change: Option<FactSet>,
    /// What follows a sign that a device was cloned.
    pub on_clone: Option<OnClone>,
    /// How many may be active; `Some(None)`: any number.
    pub seats: Option<Option<u64>>,
    /// How long one is without logging in; `Some(None)`: for ever.
    pub lease: Option<Option<Duration>>,
}

/// Why something cannot be done with a product.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// No such product.
    #[error("no product has the id {0}; `firstwake product list` shows those there are")]
    Unknown(ProductId),
    /// A name for people is 1 to 128 characters, none of them a control character.
    #[error("a product's name is 1 to 128 characters on one line")]
    Name,
    /// More is said about it than there is room for.
    #[error("a product has at most 500 datastreams and a description of at most 4096 bytes")]
    TooLong,
    /// Whoever has the code of one product's device would have that of the
    /// other's of the same serial.
    #[error("product {0} has, or had, this very secret: give each product one of its own")]
    SecretTaken(ProductId),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

fn check_name(name: &str) -> Result<(), ProductError> {
    match name.chars().count() {
        1..=128 if !name.contains(char::is_control) && !name.trim().is_empty() => Ok(()),
        _ => Err(ProductError::Name),
    }
}

fn check_room(
    datastreams: Option<&[Datastream]>,
    description: Option<&str>,
) -> Result<(), ProductError> {
    let datastreams = datastreams.is_none_or(|all| all.len() <= Product::DATASTREAMS);
    let description = description.is_none_or(|text| text.len() <= Product::DESCRIPTION);
    match datastreams && description {
        true => Ok(()),
        false => Err(ProductError::TooLong),
    }
}

impl Provisioner {
    /// Makes a product. Its secret is in the return value and nowhere else in
    /// the clear.
    pub async fn create_product(
        &self,
        new: NewProduct,
        now: Timestamp,
    ) -> Result<(Product, ProductSecret), ProductError> {
        check_name(&new.name)?;
        check_room(Some(&new.datastreams), Some(&new.profile.description))?;
        let _alone = self.several_rows.lock().await;
        let secret = match new.secret {
            Some(given) => match self.product_with(&given).await? {
                Some(other) => return Err(ProductError::SecretTaken(other)),
                None => given,
            },
            None => ProductSecret::generate(&*self.entropy),
        };
        loop {
            let id = ProductId::generate(&*self.entropy);
            let generation = 1;
            let sealed = self
                .catalogue
                .sealing()
                .seal(&secret, &id, generation, &*self.entropy);
            let product = Product {
                id: id.clone(),
                version: 0,
                name: new.name.clone(),
                secrets: vec![ProductSecretSlot {
                    generation,
                    sealed,
                    expires_at: None,
                    since: now,
                    indexed: Indexed::Whole,
                }],
                datastreams: new.datastreams.clone(),
                reactivation: new.reactivation,
                block: Block::default(),
                new_datastreams: new.new_datastreams,
                created_at: now,
                profile: new.profile.clone(),
                proof: new.proof,
                codes_until: new.codes_until,
                hardware: new.hardware.clone(),
                pepper: Some(self.draw_pepper(&id)),
                on_clone: new.on_clone,
                licence: new.licence,
            };
            let event = NewEvent {
                at: now,
                subject: Subject::Product(id),
                kind: EventKind::ProductCreated {
                    name: new.name.clone(),
                },
            };
            let write = Write::Product(Box::new(product.clone()));
            if self.registry.commit(write, vec![event]).await? == Commit::Done {
                return Ok((product, secret));
            }
        }
    }

    /// Changes what is named, and nothing else. What live sessions were told
    /// stays as it was told.
    pub async fn change_product(
        &self,
        id: &ProductId,
        change: ProductChange,
        now: Timestamp,
    ) -> Result<Product, ProductError> {
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        check_room(change.datastreams.as_deref(), change.description.as_deref())?;
        self.rewrite_product(id, Some(EventKind::ProductChanged), now, |product| {
            let change = change.clone();
            product.name = change.name.unwrap_or_else(|| product.name.clone());
            if let Some(datastreams) = change.datastreams {
                product.replace_datastreams(datastreams);
            }
            product.reactivation = change.reactivation.unwrap_or(product.reactivation);
            product.new_datastreams = change.new_datastreams.unwrap_or(product.new_datastreams);
            let profile = &mut product.profile;
            if let Some(description) = change.description {
                profile.description = description;
            }
            profile.stage = change.stage.unwrap_or(profile.stage);
            if let Some(defaults) = change.feed_defaults {
                profile.feed_defaults = defaults;
            }
            product.proof = change.proof.unwrap_or(product.proof);
            product.codes_until = change.codes_until.unwrap_or(product.codes_until);
            product.on_clone = change.on_clone.unwrap_or(product.on_clone);
            let hardware = &mut product.hardware;
            hardware.mode = change.hardware_mode.unwrap_or(hardware.mode);
            if let Some(may_change) = change.may_change {
                hardware.may_change = may_change;
            }
            let licence = &mut product.licence;
            licence.seats = change.seats.unwrap_or(licence.seats);
            licence.set_lease(change.lease.unwrap_or(licence.lease), now);
        })
        .await
    }

    /// Changes a product's row, from the start again if somebody was faster.
    /// Decisions follow the new row when this returns.
    pub(in crate::provision) async fn rewrite_product(
        &self,
        id: &ProductId,
        kind: Option<EventKind>,
        now: Timestamp,
        mut change: impl FnMut(&mut Product) + Send,
    ) -> Result<Product, ProductError> {
        loop {
            let found = self.registry.product(id).await?;
            let mut product = found.ok_or_else(|| ProductError::Unknown(id.clone()))?;
            change(&mut product);
            let events = kind.clone().into_iter().map(|kind| NewEvent {
                at: now,
                subject: Subject::Product(id.clone()),
                kind,
            });
            let write = Write::Product(Box::new(product.clone()));
            if self.registry.commit(write, events.collect()).await? == Commit::Done {
                self.reload_product(id).await?;
                return Ok(product);
            }
        }
    }

    /// What a product's facts are hashed under; drawn now for a product that
    /// was made before there were facts.
    pub async fn pepper(&self, id: &ProductId, now: Timestamp) -> Result<Pepper, ProductError> {
        loop {
            if self.registry.product(id).await?.is_none() {
                return Err(ProductError::Unknown(id.clone()));
            }
            let product = self.catalogue.find(id, &*self.registry).await?;
            if let Some(pepper) = &product.pepper {
                return Ok(pepper.clone());
            }
            let sealed = self.draw_pepper(id);
            self.rewrite_product(id, None, now, |product| {
                product.pepper.get_or_insert_with(|| sealed.clone());
            })
            .await?;
        }
    }

    /// The same for a product that some device belongs to.
    pub(in crate::provision) async fn pepper_of(
        &self,
        id: &ProductId,
        now: Timestamp,
    ) -> Result<Pepper, NotAdmitted> {
        self.pepper(id, now).await.map_err(|error| match error {
            ProductError::Registry(error) => error.into(),
            // The product went while its device asked.
            _ => Refusal::UnknownDevice.into(),
        })
    }

    fn draw_pepper(&self, id: &ProductId) -> SealedSecret {
        let pepper = Pepper::generate(&*self.entropy);
        let sealing = self.catalogue.sealing();
        sealing.seal_bytes(pepper.expose_bytes(), &pepper_binding(id), &*self.entropy)
    }
}
