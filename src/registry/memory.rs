//! The reference store: plain maps behind a lock, written to be obviously
//! right rather than fast, and able to fail on demand.
//!
//! It keeps two copies, what is visible and what was synced, so that a test
//! can crash it: everything that was not synced is forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Batch, Census, Commit, Registration, Registry, RegistryError, Write};
use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::device::{Device, Lifecycle};
use crate::event::{Event, EventKind, NewEvent};
use crate::feed::CurrentValue;
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::{self, Change, Mail, Mailbox, Outcome};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName};
use crate::product::{DatastreamId, Product};
use crate::sealing::SealedSecret;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};
use crate::token::Token;
use crate::window::Window;

/// A registry in memory, for tests.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    live: Rows,
    synced: Rows,
    faults: Faults,
}

#[derive(Clone, Debug, Default)]
struct Rows {
    products: BTreeMap<ProductId, Product>,
    operators: BTreeMap<OperatorName, Operator>,
    devices: BTreeMap<FeedId, Device>,
    codes: BTreeMap<CodeDigest, Vec<FeedId>>,
    bans: BTreeMap<Network, Ban>,
    datastreams: BTreeMap<FeedId, Vec<DatastreamId>>,
    events: Vec<Event>,
    mailboxes: BTreeMap<FeedId, Mailbox>,
    mail: BTreeMap<(FeedId, u64), Mail>,
    configurations: BTreeMap<FeedId, Mail>,
    values: BTreeMap<(FeedId, DatastreamId), CurrentValue>,
    tokens: Vec<Token>,
    occasions: BTreeMap<OccasionId, Occasion>,
    windows: BTreeMap<FeedId, Window>,
    licence_key: Option<SealedSecret>,
    newest_feed: u32,
}

/// What is to go wrong.
#[derive(Debug, Default)]
struct Faults {
    /// Writes that still succeed before every further one fails.
    writes_left: Option<u64>,
    /// Whether writes stay in the page cache, as on a disk that lies.
    unsynced: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }
}

impl Memory {
    /// Lets `writes` more writes succeed and every one after that fail.
    pub fn fail_after(&self, writes: u64) {
        self.lock().faults.writes_left = Some(writes);
    }

    /// Lets writes succeed again.
    pub fn recover(&self) {
        self.lock().faults.writes_left = None;
    }

    /// From now on, acknowledges writes without syncing them.
    pub fn stop_syncing(&self) {
        self.lock().faults.unsynced = true;
    }

    /// Loses power: whatever was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.live = state.synced.clone();
        state.faults = Faults::default();
        self.newest.send_replace(state.live.events.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one write against the rows; what it returns is durable.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Rows) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut state = self.lock();
        if let Some(left) = state.faults.writes_left {
            if left == 0 {
                return Err(RegistryError::Unavailable("the disk is full".to_owned()));
            }
            state.faults.writes_left = Some(left - 1);
        }
        let mut next = state.live.clone();
        let outcome = change(&mut next)?;
        state.live = next;
        if !state.faults.unsynced {
            state.synced = state.live.clone();
        }
        self.newest.send_replace(state.live.events.len() as u64);
        Ok(outcome)
    }
}

impl Rows {
    fn append(&mut self, events: Vec<NewEvent>) {
        for body in events {
            let seq = self.events.len() as u64 + 1;
            self.events.push(Event { seq, body });
        }
    }

    fn apply(&mut self, write: Write) -> Commit {
        match write {
            Write::Device(next) => return self.replace_device(next),
            Write::Seated { device, seats } => {
                let found = self.devices.get(&device.feed);
                let seated = found.is_some_and(|it| it.lifecycle() != Lifecycle::Registered);
                if !seated && self.census(Some(&device.product)).seats_taken() >= seats {
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
            Write::Product(mut next) => {
                if self.products.get(&next.id).map_or(0, |found| found.version) != next.version {
                    return Commit::Lost;
                }
                next.version += 1;
                self.products.insert(next.id.clone(), next);
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
            Write::RemoveDevice { device, codes: _ } => {
                let feed = device.feed;
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
            }
            Write::RenameDevice {
                device,
                serial,
                ended: _,
                codes,
            } => {
                let feed = device.feed;
                let mut others = self.devices.values();
                if others.any(|it| it.product == device.product && it.serial == serial) {
                    return Commit::Lost;
                }
                match self.devices.get_mut(&feed) {
                    Some(found) if found.version == device.version => {
                        found.serial = serial;
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
        match self.devices.get(&next.feed) {
            Some(found) if found.version == next.version => {}
            _ => return Commit::Lost,
        }
        next.version += 1;
        if !next.keeps_mailbox() {
            self.mailboxes.remove(&next.feed);
            self.mail.retain(|(feed, _), _| *feed != next.feed);
        }
        self.devices.insert(next.feed, next);
        Commit::Done
    }

    /// Of a product, or of all.
    fn census(&self, product: Option<&ProductId>) -> Census {
        let mut census = Census::default();
        for device in self.devices.values() {
            if product.is_none_or(|id| *id == device.product) {
                census.add(device.lifecycle());
            }
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

    fn change_mailbox(&mut self, feed: FeedId, change: Change) -> Outcome {
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

    fn register(&mut self, batch: Batch) -> Result<Vec<Registration>, RegistryError> {
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
                hardware: registrant.hardware,
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

#[async_trait]
impl Registry for Memory {
    async fn device(&self, feed: FeedId) -> Result<Option<Device>, RegistryError> {
        Ok(self.lock().live.devices.get(&feed).cloned())
    }

    async fn by_serial(&self, serial: &Serial) -> Result<Vec<Device>, RegistryError> {
        let state = self.lock();
        let devices = state.live.devices.values();
        Ok(devices
            .filter(|device| device.serial == *serial)
            .cloned()
            .collect())
    }

    async fn by_code(&self, code: &CodeDigest) -> Result<Vec<Device>, RegistryError> {
        let state = self.lock();
        let feeds = state.live.codes.get(code).into_iter().flatten();
        Ok(feeds
            .filter_map(|feed| state.live.devices.get(feed).cloned())
            .collect())
    }

    async fn by_key(&self, key: &KeyDigest) -> Result<Option<Device>, RegistryError> {
        let state = self.lock();
        let mut devices = state.live.devices.values();
        Ok(devices
            .find(|device| device.key_digests().any(|digest| digest == *key))
            .cloned())
    }

    async fn devices(
        &self,
        product: &ProductId,
        after: Option<&Serial>,
        limit: usize,
    ) -> Result<Vec<Device>, RegistryError> {
        let state = self.lock();
        let mut devices: Vec<Device> = state
            .live
            .devices
            .values()
            .filter(|device| device.product == *product)
            .filter(|device| after.is_none_or(|after| device.serial > *after))
            .cloned()
            .collect();
        devices.sort_by(|one, two| one.serial.cmp(&two.serial));
        devices.truncate(limit);
        Ok(devices)
    }

    async fn product(&self, id: &ProductId) -> Result<Option<Product>, RegistryError> {
        Ok(self.lock().live.products.get(id).cloned())
    }

    async fn products(&self) -> Result<Vec<Product>, RegistryError> {
        Ok(self.lock().live.products.values().cloned().collect())
    }

    async fn operator(&self, name: &OperatorName) -> Result<Option<Operator>, RegistryError> {
        Ok(self.lock().live.operators.get(name).cloned())
    }

    async fn operators(&self) -> Result<Vec<Operator>, RegistryError> {
        Ok(self.lock().live.operators.values().cloned().collect())
    }

    async fn bans(&self) -> Result<Vec<Ban>, RegistryError> {
        Ok(self.lock().live.bans.values().cloned().collect())
    }

    async fn datastreams(&self, feed: FeedId) -> Result<Vec<DatastreamId>, RegistryError> {
        let state = self.lock();
        let names = state.live.datastreams.get(&feed);
        Ok(names.cloned().unwrap_or_default())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, RegistryError> {
        let state = self.lock();
        let later = state.live.events.iter().filter(|event| event.seq > after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn census(&self) -> Result<Census, RegistryError> {
        Ok(self.lock().live.census(None))
    }

    async fn product_census(&self, id: &ProductId) -> Result<Census, RegistryError> {
        Ok(self.lock().live.census(Some(id)))
    }

    async fn values(&self, feed: FeedId) -> Result<Vec<CurrentValue>, RegistryError> {
        let state = self.lock();
        let values = state.live.values.iter();
        let of_feed = values.filter(|((of, _), _)| *of == feed);
        Ok(of_feed.map(|(_, value)| value.clone()).collect())
    }

    async fn token(&self, digest: &TokenDigest) -> Result<Option<Token>, RegistryError> {
        let state = self.lock();
        let mut tokens = state.live.tokens.iter();
        Ok(tokens.find(|token| token.digest == *digest).cloned())
    }

    async fn tokens(&self) -> Result<Vec<Token>, RegistryError> {
        Ok(self.lock().live.tokens.clone())
    }

    async fn licence_key(&self) -> Result<Option<SealedSecret>, RegistryError> {
        Ok(self.lock().live.licence_key.clone())
    }

    async fn occasion(&self, id: &OccasionId) -> Result<Option<Occasion>, RegistryError> {
        Ok(self.lock().live.occasions.get(id).cloned())
    }

    async fn occasions(&self) -> Result<Vec<(OccasionId, Timestamp)>, RegistryError> {
        let state = self.lock();
        let occasions = state.live.occasions.iter();
        Ok(occasions.map(|(id, it)| (*id, it.at)).collect())
    }

    async fn commit(&self, write: Write, events: Vec<NewEvent>) -> Result<Commit, RegistryError> {
        self.write(|rows| {
            let outcome = rows.apply(write);
            if outcome == Commit::Done {
                rows.append(events);
            }
            Ok(outcome)
        })
    }

    async fn register(&self, batch: Batch) -> Result<Vec<Registration>, RegistryError> {
        self.write(|rows| rows.register(batch))
    }

    async fn mailbox(&self, feed: FeedId) -> Result<Option<Mailbox>, RegistryError> {
        Ok(self.lock().live.mailboxes.get(&feed).cloned())
    }

    async fn mail(
        &self,
        feed: FeedId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Mail)>, RegistryError> {
        let state = self.lock();
        let behind = (feed, after.saturating_add(1))..=(feed, u64::MAX);
        let mail = state.live.mail.range(behind);
        Ok(mail
            .take(limit)
            .map(|((_, number), mail)| (*number, mail.clone()))
            .collect())
    }

    async fn configuration(&self, feed: FeedId) -> Result<Option<Mail>, RegistryError> {
        Ok(self.lock().live.configurations.get(&feed).cloned())
    }

    async fn mailboxes(
        &self,
        after: Option<FeedId>,
        limit: usize,
    ) -> Result<Vec<(FeedId, Mailbox)>, RegistryError> {
        let state = self.lock();
        let all = state.live.mailboxes.iter();
        Ok(all
            .filter(|(feed, _)| after.is_none_or(|after| **feed > after))
            .take(limit)
            .map(|(feed, mailbox)| (*feed, mailbox.clone()))
            .collect())
    }

    async fn change_mailbox(&self, feed: FeedId, change: Change) -> Result<Outcome, RegistryError> {
        self.write(|rows| Ok(rows.change_mailbox(feed, change)))
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::check(|| async { Memory::default() }).await;
    }

    #[tokio::test]
    async fn faults_do_what_they_say() {
        let registry = Memory::default();
        registry.fail_after(1);
        let note = || registry.commit(Write::Note, vec![conformance::an_event()]);
        assert_eq!(note().await, Ok(Commit::Done));
        assert!(matches!(note().await, Err(RegistryError::Unavailable(_))));
        registry.recover();
        registry.stop_syncing();
        assert_eq!(note().await, Ok(Commit::Done));
        assert_eq!(registry.events(0, 9).await.map(|e| e.len()), Ok(2));
        registry.crash();
        assert_eq!(registry.events(0, 9).await.map(|e| e.len()), Ok(1));
        assert_eq!(*registry.newest().borrow(), 1);
    }
}
