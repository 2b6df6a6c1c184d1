//! Everything that can be read of a registry, so that two can be compared.

use std::time::Duration;

use super::steps::{FEEDS, World, a_product_id, code, occasion, operator, serial, token_digest};
use crate::ban::Ban;
use crate::clock::Timestamp;
use crate::device::Device;
use crate::event::Event;
use crate::feed::CurrentValue;
use crate::identity::{FeedId, ProductId};
use crate::mailbox::{Mail, Mailbox};
use crate::once::{Occasion, OccasionId};
use crate::operator::Operator;
use crate::product::{DatastreamId, Product};
use crate::registry::{Census, ProductCensus, Registry, RegistryError};
use crate::sealing::SealedSecret;
use crate::token::Token;

/// All of it. What comes in no order is sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    feeds: Vec<OfFeed>,
    by_serial: Vec<Vec<Device>>,
    by_code: Vec<Vec<Device>>,
    by_key: Vec<Option<Device>>,
    by_product: Vec<OfProduct>,
    products: Vec<Product>,
    operators: Vec<Operator>,
    by_name: Vec<Option<Operator>>,
    tokens: Vec<Token>,
    by_digest: Vec<Option<Token>>,
    bans: Vec<Ban>,
    occasions: Vec<(OccasionId, Timestamp)>,
    by_id: Vec<Option<Occasion>>,
    licence_key: Option<SealedSecret>,
    sealing_proof: Option<SealedSecret>,
    census: Census,
    events: Vec<Event>,
    some_events: Vec<Event>,
    newest: u64,
    mailboxes: Vec<(FeedId, Mailbox)>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfFeed {
    device: Option<Device>,
    datastreams: Vec<DatastreamId>,
    values: Vec<CurrentValue>,
    mailbox: Option<Mailbox>,
    mail: Vec<(u64, Mail)>,
    some_mail: Vec<(u64, Mail)>,
    configuration: Option<Mail>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfProduct {
    product: Option<Product>,
    census: ProductCensus,
    /// In pages of two.
    devices: Vec<Device>,
}

impl Picture {
    pub(super) async fn of(registry: &impl Registry, world: &World) -> Self {
        Self::read(registry, world).await.expect("readable")
    }

    async fn read(registry: &impl Registry, world: &World) -> Result<Self, RegistryError> {
        let mut feeds = Vec::new();
        for number in 1..=u32::from(FEEDS) + 6 {
            let feed = FeedId::new(number).expect("valid");
            feeds.push(OfFeed::read(registry, feed).await?);
        }
        let (mut by_serial, mut by_code) = (Vec::new(), Vec::new());
        for serial in (0..4).map(serial) {
            let mut devices = registry.by_serial(&serial).await?;
            devices.sort_by_key(|device| device.feed);
            by_serial.push(devices);
            let mut devices = registry.by_code(&code(&serial)).await?;
            devices.sort_by_key(|device| device.feed);
            by_code.push(devices);
        }
        let mut by_key = Vec::new();
        for key in &world.keys {
            by_key.push(registry.by_key(key).await?);
        }
        let mut by_product = Vec::new();
        for product in (0..2).map(a_product_id) {
            by_product.push(OfProduct::read(registry, &product).await?);
        }
        let (mut by_name, mut by_digest, mut by_id) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..3 {
            by_name.push(registry.operator(&operator(number)).await?);
            by_digest.push(registry.token(&token_digest(number)).await?);
            by_id.push(registry.occasion(&occasion(number)).await?);
        }
        let mut tokens = registry.tokens().await?;
        tokens.sort_by(|one, two| one.id.cmp(&two.id));
        let mut bans = registry.bans().await?;
        bans.sort_by_key(|ban| ban.network);
        let mut occasions = registry.occasions().await?;
        occasions.sort();
        let events = registry.events(0, usize::MAX).await?;
        Ok(Self {
            feeds,
            by_serial,
            by_code,
            by_key,
            by_product,
            products: registry.products().await?,
            operators: registry.operators().await?,
            by_name,
            tokens,
            by_digest,
            bans,
            occasions,
            by_id,
            licence_key: registry.licence_key().await?,
            sealing_proof: registry.sealing_proof().await?,
            census: registry.census().await?,
            some_events: registry.events(3, 4).await?,
            newest: newest(registry, events.len() as u64).await,
            events,
            mailboxes: mailboxes(registry).await?,
        })
    }
}

impl OfFeed {
    async fn read(registry: &impl Registry, feed: FeedId) -> Result<Self, RegistryError> {
        Ok(Self {
            device: registry.device(feed).await?,
            datastreams: registry.datastreams(feed).await?,
            values: registry.values(feed).await?,
            mailbox: registry.mailbox(feed).await?,
            mail: registry.mail(feed, 0, usize::MAX).await?,
            some_mail: registry.mail(feed, 1, 1).await?,
            configuration: registry.configuration(feed).await?,
        })
    }
}

impl OfProduct {
    async fn read(registry: &impl Registry, id: &ProductId) -> Result<Self, RegistryError> {
        let mut census = registry.product_census(id).await?;
        census.generations.sort_unstable();
        let mut devices: Vec<Device> = Vec::new();
        loop {
            let after = devices.last().map(|device| &device.serial);
            let page = registry.devices(id, after, 2).await?;
            if page.is_empty() {
                break;
            }
            devices.extend(page);
        }
        Ok(Self {
            product: registry.product(id).await?,
            census,
            devices,
        })
    }
}

/// What is newest, once as much was heard of; another server may have written
/// it.
async fn newest(registry: &impl Registry, heard: u64) -> u64 {
    let mut newest = registry.newest();
    let told = newest.wait_for(|number| *number >= heard);
    let told = tokio::time::timeout(Duration::from_secs(60), told).await;
    *told.expect("in time").expect("open")
}

/// In pages of two.
async fn mailboxes(registry: &impl Registry) -> Result<Vec<(FeedId, Mailbox)>, RegistryError> {
    let mut all: Vec<(FeedId, Mailbox)> = Vec::new();
    loop {
        let after = all.last().map(|(feed, _)| *feed);
        let page = registry.mailboxes(after, 2).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
