//! The reference store: plain maps behind a lock, written to be obviously
//! right rather than fast, and able to fail on demand.
//!
//! It keeps two copies, what is visible and what was synced, so that a test
//! can crash it: everything that was not synced is forgotten.

mod rows;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use self::rows::Rows;
use super::{Batch, Census, Commit, ProductCensus, Registration, Registry, RegistryError, Write};
use crate::ban::Ban;
use crate::clock::Timestamp;
use crate::device::Device;
use crate::event::{Event, NewEvent};
use crate::feed::CurrentValue;
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::{Change, Mail, Mailbox, Outcome};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName};
use crate::product::{DatastreamId, Product};
use crate::sealing::SealedSecret;
use crate::secret::{CodeDigest, KeyDigest, TokenDigest};
use crate::token::Token;

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
        Ok(self.lock().live.census())
    }

    async fn product_census(&self, id: &ProductId) -> Result<ProductCensus, RegistryError> {
        Ok(self.lock().live.product_census(id))
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

    async fn sealing_proof(&self) -> Result<Option<SealedSecret>, RegistryError> {
        Ok(self.lock().live.sealing_proof.clone())
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
