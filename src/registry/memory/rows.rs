//! The maps of the reference store, and what each write does to them.

use std::collections::BTreeMap;

use super::super::{
    Batch, Census, Commit, ProductCensus, Recoded, Registration, RegistryError, Reseal, Write,
};
use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::device::{Device, Lifecycle};
use crate::event::{Event, EventKind, NewEvent};
use crate::feed::CurrentValue;
use crate::identity::{FeedId, ProductId};
use crate::mailbox::{self, Change, Mail, Mailbox, Outcome};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName};
use crate::product::{DatastreamId, Product};
use crate::sealing::SealedSecret;
use crate::secret::CodeDigest;
use crate::signed::LoginMark;
use crate::token::Token;
use crate::window::Window;

/// All that a registry holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) products: BTreeMap<ProductId, Product>,
    pub(super) operators: BTreeMap<OperatorName, Operator>,
    pub(super) devices: BTreeMap<FeedId, Device>,
    pub(super) codes: BTreeMap<CodeDigest, Vec<FeedId>>,
    pub(super) bans: BTreeMap<Network, Ban>,
    pub(super) datastreams: BTreeMap<FeedId, Vec<DatastreamId>>,
    pub(super) events: Vec<Event>,
    pub(super) mailboxes: BTreeMap<FeedId, Mailbox>,
    pub(super) mail: BTreeMap<(FeedId, u64), Mail>,
    pub(super) configurations: BTreeMap<FeedId, Mail>,
    pub(super) values: BTreeMap<(FeedId, DatastreamId), CurrentValue>,
    pub(super) tokens: Vec<Token>,
    pub(super) occasions: BTreeMap<OccasionId, Occasion>,
    pub(super) windows: BTreeMap<FeedId, Window>,
    pub(super) licence_key: Option<SealedSecret>,
    pub(super) sealing_proof: Option<SealedSecret>,
    pub(super) newest_feed: u32,
    pub(super) signed_until: Option<Timestamp>,
}

impl Rows {
    pub(super) fn append(&mut self, events: Vec<NewEvent>) {
        for body in events {
            let seq = self.events.len() as u64 + 1;
            self.events.push(Event { seq, body });
        }
    }

    pub(super) fn apply(&mut self, write: Write) -> Commit {
        match write {
            Write::Device(next) => return self.replace_device(next),
            Write::Seated { device, seats } => {
                let found = self.devices.get(&device.feed);
                let seated = found.is_some_and(|it| it.lifecycle() != Lifecycle::Registered);
                if !seated
                    && self
                        .product_census(&device.product)
                        .lifecycles
                        .seats_taken()
                        >= seats
                {
                    return Commit::Lost;
                }
                return self.replace_device(device);
            }
            Write::Counted { feed, counter } => {
                let window = self.windows.get(&feed).copied().unwrap_or_default();
                let Some(next) = window.take(counter) else {
                    return Commit::Lost;
                };
                self.windows.insert(feed, next);
            }
            Write::LicenceKey(key) => {
                if self.licence_key.is_some() {
                    return Commit::Lost;
                }
                self.licence_key = Some(key);
            }
            Write::SealingProof(proof) => {
                if self.sealing_proof.is_some() {
                    return Commit::Lost;
                }
                self.sealing_proof = Some(proof);
            }
            Write::Reseal(reseal) => return self.reseal(*reseal),
            Write::Codes { product, members } => return self.recode(*product, members),
            Write::Product(mut next) => {
                if self.products.get(&next.id).map_or(0, |found| found.version) != next.version {
                    return Commit::Lost;
                }
                next.version += 1;
                self.products.insert(next.id.clone(), *next);
            }
            Write::Operator(mut next) => {
                let found = self.operators.get(&next.name);
                if found.map_or(0, |found| found.version) != next.version {
                    return Commit::Lost;
                }
                next.version += 1;
                self.operators.insert(next.name.clone(), next);
            }
            Write::RemoveOperator(name) => {
                if self.operators.remove(&name).is_none() {
                    return Commit::Lost;
                }
                self.tokens.retain(|token| token.operator != name);
            }
            Write::Ban(ban) => {
                self.bans.insert(ban.network, ban);
            }
            Write::RemoveBan(network) => {
                if self.bans.remove(&network).is_none() {
                    return Commit::Lost;
                }
            }
            Write::DropBan(ban) => {
                if self.bans.get(&ban.network) != Some(&ban) {
                    return Commit::Lost;
                }
                self.bans.remove(&ban.network);
            }
            Write::Datastream {
                feed,
                datastream,
                most,
            } => return self.add_datastreams(feed, vec![datastream], most),
            Write::Values {
                feed,
                values,
                names,
                most,
            } => {
                if self.add_datastreams(feed, names, most) == Commit::Lost {
                    return Commit::Lost;
                }
                for value in values {
                    let known = self.values.entry((feed, value.datastream.clone()));
                    let known = known.or_insert_with(|| value.clone());
                    if known.at <= value.at {
                        *known = value;
                    }
                }
            }
            Write::RemoveDevice {
                device,
                generation,
                codes: _,
                signed_until,
            } => {
                let feed = device.feed;
                if self.newest_secret(&device.product) > generation {
                    return Commit::Lost;
                }
                match self.devices.get(&feed) {
                    Some(found) if found.version == device.version => {}
                    _ => return Commit::Lost,
                }
                self.devices.remove(&feed);
                self.codes
                    .values_mut()
                    .for_each(|feeds| feeds.retain(|it| *it != feed));
                self.datastreams.remove(&feed);
                self.mailboxes.remove(&feed);
                self.mail.retain(|(of, _), _| *of != feed);
                self.configurations.remove(&feed);
                self.values.retain(|(of, _), _| *of != feed);
                self.windows.remove(&feed);
                self.signed_until = self.signed_until.max(signed_until);
            }
            Write::RenameDevice {
                device,
                serial,
                generation,
                ended: _,
                codes,
                signed_until,
            } => {
                let feed = device.feed;
                if self.newest_secret(&device.product) > generation {
                    return Commit::Lost;
                }
                let mut others = self.devices.values();
                if others.any(|it| it.product == device.product && it.serial == serial) {
                    return Commit::Lost;
                }
                match self.devices.get_mut(&feed) {
                    Some(found) if found.version == device.version => {
                        found.serial = serial;
                        let floor = self.signed_until.map(LoginMark::after);
                        found.last_login = found.last_login.take().max(floor);
                        found.version += 1;
                    }
                    _ => return Commit::Lost,
                }
                self.codes
                    .values_mut()
                    .for_each(|feeds| feeds.retain(|it| *it != feed));
                for code in codes {
                    self.codes.entry(code).or_default().push(feed);
                }
                self.signed_until = self.signed_until.max(signed_until);
            }
            Write::RemoveProduct(product) => {
                let found = self.products.get(&product.id);
                let unchanged = found.is_some_and(|found| found.version == product.version);
                if !unchanged || self.devices.values().any(|it| it.product == product.id) {
                    return Commit::Lost;
                }
                self.products.remove(&product.id);
            }
            Write::Token(token) => {
                self.tokens.retain(|known| known.digest != token.digest);
                self.tokens.push(token);
            }
            Write::RemoveToken(digest) => {
                let before = self.tokens.len();
                self.tokens.retain(|known| known.digest != digest);
                if self.tokens.len() == before {
                    return Commit::Lost;
                }
            }
            Write::Begin(id, occasion) => {
                if self.occasions.contains_key(&id) {
                    return Commit::Lost;
                }
                self.occasions.insert(id, occasion);
            }
            Write::End(id, occasion) => {
                self.occasions.insert(id, occasion);
            }
            Write::Forget(id) => {
                if self.occasions.remove(&id).is_none() {
                    return Commit::Lost;
                }
            }
            Write::Note => {}
        }
        Commit::Done
    }

    fn replace_device(&mut self, mut next: Device) -> Commit {
        let found = match self.devices.get(&next.feed) {
            Some(found) if found.version == next.version => found,
            _ => return Commit::Lost,
        };
        next.version += 1;
        if found.keeps_mailbox() && !next.keeps_mailbox() {
            self.mailboxes.remove(&next.feed);
            self.mail.retain(|(feed, _), _| *feed != next.feed);
        }
        self.devices.insert(next.feed, next);
        Commit::Done
    }

    fn newest_secret(&self, product: &ProductId) -> u32 {
        let found = self.products.get(product);
        found.map_or(0, Product::newest_secret)
    }

    fn recode(&mut self, mut product: Product, members: Vec<Recoded>) -> Commit {
        let id = product.id.clone();
        if self.products.get(&id).map(|found| found.version) != Some(product.version) {
            return Commit::Lost;
        }
        product.version += 1;
        self.products.insert(id.clone(), product);
        for member in members {
            let feed = member.feed;
            let device = self.devices.get(&feed);
            if device.is_none_or(|it| it.product != id || it.serial != member.serial) {
                continue;
            }
            for code in member.removed {
                let feeds = self.codes.entry(code).or_default();
                feeds.retain(|it| *it != feed);
            }
            for code in member.added {
                let feeds = self.codes.entry(code).or_default();
                feeds.retain(|it| *it != feed);
                feeds.push(feed);
            }
        }
        Commit::Done
    }

    fn reseal(&mut self, reseal: Reseal) -> Commit {
        let versions = |products: &[Product]| -> BTreeMap<ProductId, u64> {
            let each = products.iter();
            each.map(|it| (it.id.clone(), it.version)).collect()
        };
        let products: Vec<Product> = self.products.values().cloned().collect();
        let answered = self.occasions.iter();
        let answered = answered.filter(|(_, it)| it.response.is_some());
        let answered: BTreeMap<OccasionId, Timestamp> =
            answered.map(|(id, it)| (*id, it.at)).collect();
        let known = reseal.occasions.iter().map(|(id, it)| (*id, it.at));
        if self.sealing_proof.as_ref() != Some(&reseal.before)
            || self.licence_key.is_some() != reseal.licence_key.is_some()
            || versions(&products) != versions(&reseal.products)
            || answered != known.collect()
        {
            return Commit::Lost;
        }
        self.sealing_proof = Some(reseal.proof);
        self.licence_key = reseal.licence_key;
        for mut product in reseal.products {
            product.version += 1;
            self.products.insert(product.id.clone(), product);
        }
        self.occasions.extend(reseal.occasions);
        Commit::Done
    }

    pub(super) fn census(&self) -> Census {
        let mut census = Census::default();
        for device in self.devices.values() {
            census.add(device.lifecycle());
        }
        census
    }

    pub(super) fn product_census(&self, product: &ProductId) -> ProductCensus {
        let mut census = ProductCensus::default();
        let devices = self.devices.values();
        for device in devices.filter(|device| device.product == *product) {
            census.add(device);
        }
        census
    }

    /// All of them, or none.
    fn add_datastreams(&mut self, feed: FeedId, names: Vec<DatastreamId>, most: u32) -> Commit {
        let mut known = self.datastreams.get(&feed).cloned().unwrap_or_default();
        let before = known.len();
        for name in names {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        if known.len() > before && known.len() as u64 > u64::from(most) {
            return Commit::Lost;
        }
        self.datastreams.insert(feed, known);
        Commit::Done
    }

    pub(super) fn change_mailbox(&mut self, feed: FeedId, change: Change) -> Outcome {
        let found = self.mailboxes.remove(&feed);
        let configuration = self.configurations.get(&feed).cloned();
        let applied = mailbox::apply(found, configuration, change);
        if let Some(mailbox) = applied.mailbox {
            self.mailboxes.insert(feed, mailbox);
        }
        for number in applied.removed {
            self.mail.remove(&(feed, number));
        }
        if let Some((number, mail)) = applied.added {
            self.mail.insert((feed, number), mail);
        }
        match applied.configuration {
            Some(Some(mail)) => drop(self.configurations.insert(feed, mail)),
            Some(None) => drop(self.configurations.remove(&feed)),
            None => {}
        }
        applied.outcome
    }

    pub(super) fn register(&mut self, batch: Batch) -> Result<Vec<Registration>, RegistryError> {
        if let Some(product) = self.products.get_mut(&batch.product)
            && product.newest_secret() > batch.generation
        {
            product.walk_again_behind(batch.generation);
            product.version += 1;
        }
        let mut outcome = Vec::new();
        for registrant in batch.devices {
            let serial = registrant.serial;
            let known = self
                .devices
                .values()
                .find(|device| device.product == batch.product && device.serial == serial);
            if let Some(device) = known {
                outcome.push(Registration::Known(device.feed));
                continue;
            }
            let feed = FeedId::new(self.newest_feed + 1);
            let feed = feed.map_err(|_| RegistryError::FeedsExhausted)?;
            self.newest_feed = feed.as_u32();
            let device = Device {
                label: registrant.label,
                hardware: registrant.hardware,
                last_login: LoginMark::behind(self.signed_until, batch.at),
                ..Device::registered(batch.product.clone(), serial, feed, batch.at)
            };
            self.append(vec![device.event(EventKind::DeviceRegistered, batch.at)]);
            self.devices.insert(feed, device);
            for code in registrant.codes {
                self.codes.entry(code).or_default().push(feed);
            }
            outcome.push(Registration::New(feed));
        }
        Ok(outcome)
    }
}
