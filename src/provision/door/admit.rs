//! From what a peer showed to an admission, or a refusal.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Activation, Admission, DeviceLogin, NotAdmitted};
use super::decide::{self, CodeVerdict, KeyLogin};
use super::tally::Folding;
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::credential::Credential;
use crate::device::{Changed, Device, Key, Keys};
use crate::event::EventKind;
use crate::hardware::Facts;
use crate::identity::{DeviceName, FeedId, Serial};
use crate::provision::{OpenProduct, Provisioner};
use crate::refusal::{Proof, Refusal};
use crate::registry::{Commit, RegistryError, Write};
use crate::secret::ApiKey;
use crate::source::Source;

/// What a peer showed when it connected.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The name it gave, if any.
    pub username: Option<&'a str>,
    /// What it proves the name with, if anything.
    pub password: Option<&'a [u8]>,
    /// Where it comes from.
    pub source: IpAddr,
    /// What it says of its board, as the claim of a token: good for telling
    /// whether a used code is shown by another one.
    pub hardware: Option<&'a str>,
}

impl Provisioner {
    /// Decides whether somebody gets in, and as what. The only way in.
    ///
    /// A login with a pending key confirms it; that is durable before this
    /// returns.
    pub async fn admit(
        &self,
        attempt: Attempt<'_>,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let banned = self.bans.covers(attempt.source, now);
        let admitted = match Credential::classify(attempt.username, attempt.password) {
            _ if banned => Err(Refusal::Banned.into()),
            Credential::Code { username, code } => {
                self.admit_code(username, &code, &attempt, now).await
            }
            Credential::Key { username, key } => {
                self.admit_key(username, &key, attempt.source, now).await
            }
            Credential::Password { username, password } => {
                self.admit_operator(username, password, attempt.source, now)
                    .await
            }
            Credential::OperatorToken { username, token } => {
                self.admit_token(username, &token, now).await
            }
            Credential::Token { username, token } => {
                self.admit_signed(username, token.0, attempt.source, now)
                    .await
            }
            Credential::Nothing => Err(Refusal::NoCredentials.into()),
            Credential::Malformed => Err(Refusal::Malformed.into()),
        };
        if let Err(NotAdmitted::Refused(refusal)) = admitted {
            self.count_refusal(refusal, attempt.source, now);
            self.put_aside(&attempt, refusal, now);
        }
        admitted
    }

    /// Counts somebody who was not let in; failures make a source slow.
    pub(in crate::provision) fn count_refusal(
        &self,
        refusal: Refusal,
        source: IpAddr,
        now: Timestamp,
    ) {
        self.totals.refused.fetch_add(1, Ordering::Relaxed);
        self.reasons.count(source, refusal.as_str());
        if !refusal.is_written_down() {
            self.refusals.count(source, refusal);
        }
        // Who shows a recorded token proves nothing of itself; what the server
        // itself is short of is no failure of a peer.
        let failed = match refusal {
            Refusal::Banned | Refusal::Overloaded | Refusal::Throttled => false,
            Refusal::TokenReplayed | Refusal::TokenExpired => true,
            other => other.proof() == Proof::Unproved,
        };
        if failed {
            self.failures.note(Source::from(source), now);
        }
    }

    /// Whether an admission still holds. A session asks once more after it can
    /// be found by whoever would end it, so that none slips through.
    pub async fn recheck(&self, admission: &Admission) -> Result<(), NotAdmitted> {
        match admission {
            Admission::Activation(activation) => self.recheck_activation(activation).await,
            Admission::Device(login) => self.recheck_device(login).await,
            Admission::Operator(login) => self.recheck_operator(login).await,
        }
    }

    /// Whether a device that fetches its credentials may go on. If its key was
    /// replaced meanwhile, it is told so when it asks again.
    pub async fn recheck_activation(&self, activation: &Activation) -> Result<(), NotAdmitted> {
        let (device, product) = self.load(activation.feed).await?;
        if device.serial != activation.serial {
            // It was renamed: no device has the serial any more under which it came.
            return Err(Refusal::UnknownDevice.into());
        }
        if activation.granted.is_some() && device.keys == Keys::None {
            // A reset took the key away.
            return Err(Refusal::WrongKey.into());
        }
        Ok(decide::may_stay(&device, &product.record)?)
    }

    /// Whether a device may go on with the key it logged in with.
    pub async fn recheck_device(&self, login: &DeviceLogin) -> Result<(), NotAdmitted> {
        let (device, product) = self.load(login.feed).await?;
        if device.serial != login.serial {
            // It was renamed: it comes back under the name it has now.
            return Err(Refusal::UnknownDevice.into());
        }
        Ok(decide::may_stay_with(&device, &product.record, &login.key)?)
    }

    /// Whether a will that a device left may be published now. A key that a newer
    /// one has replaced makes no difference: the device is the same.
    pub async fn recheck_will(&self, login: &DeviceLogin) -> Result<(), NotAdmitted> {
        let (device, product) = self.load(login.feed).await?;
        if device.serial != login.serial {
            return Err(Refusal::WrongKey.into());
        }
        Ok(decide::may_leave_will(
            &device,
            &product.record,
            &login.key,
        )?)
    }

    async fn admit_code(
        &self,
        username: &str,
        code: &ActivationCode,
        attempt: &Attempt<'_>,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let source = attempt.source;
        let name = DeviceName::parse(username).map_err(|_| Refusal::Malformed)?;
        let candidates = self.candidates(&name).await?;
        if candidates.is_empty() {
            return self.refuse_stranger(code, &name, source, now).await;
        }
        let mut refusal = Refusal::WrongCode;
        let mut proved = None;
        for (device, product) in &candidates {
            match decide::code_against(code, &name.serial, Some(product), &self.decoy, now) {
                CodeVerdict::Right(generation) => proved = Some((device, product, generation)),
                CodeVerdict::Ended => refusal = Refusal::SecretEnded,
                CodeVerdict::SecretAsText => refusal = Refusal::CodeFromTextSecret,
                CodeVerdict::Wrong => {}
            }
        }
        let Some((device, product, generation)) = proved else {
            for (device, _) in &candidates {
                self.attempts.keep(device.feed, source, refusal, now);
            }
            let tried = candidates.len();
            self.hold_decoys(tried, code, &name.serial, now).await?;
            return Err(refusal.into());
        };
        let allowed = decide::activation(device, &product.record, now);
        let seat = self.seat(device, &product.record).await?;
        if let Err(refusal) = allowed.and(seat) {
            if refusal == Refusal::CodeSpent
                && let Some(Ok(shown)) = attempt.hardware.map(Facts::parse)
            {
                self.suspect_spent(device, product, &shown, source, now)
                    .await?;
            }
            self.refuse_proved(device, source, refusal, now).await;
            return Err(refusal.into());
        }
        Ok(Admission::Activation(Activation::of(device, generation)))
    }

    /// Refuses a serial that nobody has, at the price of a wrong code: a device
    /// and its product are read, its secrets tried, the attempt noted. Whoever
    /// measures the answer learns no more than who reads it.
    async fn refuse_stranger(
        &self,
        code: &ActivationCode,
        name: &DeviceName,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        if let Some(other) = self.registry.device(self.somebody()).await? {
            self.product_of(&other).await?;
        }
        self.hold_decoys(0, code, &name.serial, now).await?;
        let refusal = Refusal::UnknownDevice;
        self.attempts.keep(FeedId::NOBODYS, source, refusal, now);
        Err(refusal.into())
    }

    /// Does for a wrong code what further products with the same serial would
    /// take, up to as many as may share one: the time of a refusal does not tell
    /// how many do.
    async fn hold_decoys(
        &self,
        tried: usize,
        code: &ActivationCode,
        serial: &Serial,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        for _ in tried..decide::SHARING {
            decide::code_against(code, serial, None, &self.decoy, now);
            if let Some(other) = self.read_decoy().await? {
                self.product_of(&other).await?;
            }
        }
        Ok(())
    }

    /// Reads a device in place of one that is not there. A shared registry reads
    /// rows that belong together at once, and one row more is not seen behind
    /// its network: there is nothing to be made up for.
    async fn read_decoy(&self) -> Result<Option<Device>, RegistryError> {
        match self.registry.is_shared() {
            true => Ok(None),
            false => self.registry.device(self.somebody()).await,
        }
    }

    pub(in crate::provision) async fn admit_key(
        &self,
        username: Option<&str>,
        key: &ApiKey,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let digest = key.digest();
        let key = Key::Api(digest);
        loop {
            let Some(device) = self.registry.by_key(&digest).await? else {
                self.keep_for_named(username, source, Refusal::WrongKey, now)
                    .await?;
                return Err(Refusal::WrongKey.into());
            };
            if !decide::is_own_name(&device, username) {
                self.keep_for_named(username, source, Refusal::WrongKey, now)
                    .await?;
                return Err(Refusal::WrongKey.into());
            }
            let product = self.product_of(&device).await?;
            let login = DeviceLogin::of(&device, key);
            let lease = decide::lease(&device, &product.record, now);
            let allowed = decide::key_login(&device, &product.record, &key, now);
            let asks = match allowed.and_then(|asks| lease.map(|()| asks)) {
                Ok(asks) => asks,
                Err(refusal) => {
                    self.refuse_proved(&device, source, refusal, now).await;
                    return Err(refusal.into());
                }
            };
            let renewed = product.record.licence.renewed(device.lease_until, now);
            let changed = match asks {
                KeyLogin::Open if renewed.is_none() => return Ok(Admission::Device(login)),
                KeyLogin::Open => Changed::nothing(device),
                KeyLogin::Confirm => match device.confirm(now) {
                    Some(changed) => changed,
                    None => continue,
                },
            };
            let changed = changed.leased_until(renewed, now);
            let write = Write::Device(changed.device);
            if self.registry.commit(write, changed.events).await? == Commit::Done {
                if asks == KeyLogin::Confirm {
                    self.totals.confirmed.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(Admission::Device(login));
            }
        }
    }

    /// Devices that a name may mean, with their products.
    pub(in crate::provision) async fn candidates(
        &self,
        name: &DeviceName,
    ) -> Result<Vec<(Device, Arc<OpenProduct>)>, RegistryError> {
        let mut candidates = Vec::new();
        for device in self.registry.by_serial(&name.serial).await? {
            if name.fits(&device) {
                let product = self.product_of(&device).await?;
                candidates.push((device, product));
            }
        }
        Ok(candidates)
    }

    /// Remembers an unproved refusal for the devices that the username named.
    async fn keep_for_named(
        &self,
        username: Option<&str>,
        source: IpAddr,
        refusal: Refusal,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let Some(Ok(name)) = username.map(DeviceName::parse) else {
            return Ok(());
        };
        let mut named = self.registry.by_serial(&name.serial).await?;
        named.retain(|device| name.fits(device));
        if named.is_empty() {
            // The same work for a name that nobody has.
            self.registry.device(self.somebody()).await?;
            self.attempts.keep(FeedId::NOBODYS, source, refusal, now);
        }
        // And for one that several have.
        for _ in named.len()..decide::SHARING {
            self.read_decoy().await?;
            self.attempts.keep(FeedId::NOBODYS, source, refusal, now);
        }
        for device in named {
            self.attempts.keep(device.feed, source, refusal, now);
        }
        Ok(())
    }

    /// Remembers a refusal of a device that showed a secret of its own, and
    /// writes it down, folded.
    pub(in crate::provision) async fn refuse_proved(
        &self,
        device: &Device,
        source: IpAddr,
        refusal: Refusal,
        now: Timestamp,
    ) {
        self.attempts.keep(device.feed, source, refusal, now);
        if !refusal.is_written_down() {
            return;
        }
        let subject = Folding::Device(device.feed, refusal);
        if let Some(count) = self.folded.due(subject, now) {
            let kind = EventKind::ActivationRefused { refusal, count };
            self.note(device.event(kind, now)).await;
        }
    }

    pub(in crate::provision) async fn product_of(
        &self,
        device: &Device,
    ) -> Result<Arc<OpenProduct>, RegistryError> {
        self.somebody.store(device.feed.as_u32(), Ordering::Relaxed);
        self.catalogue.find(&device.product, &*self.registry).await
    }

    /// A device to look up in place of one that is unknown.
    pub(in crate::provision) fn somebody(&self) -> FeedId {
        let feed = self.somebody.load(Ordering::Relaxed);
        FeedId::new(feed).unwrap_or(FeedId::FIRST)
    }

    /// A device that was there a moment ago, with its product.
    pub(in crate::provision) async fn load(
        &self,
        feed: FeedId,
    ) -> Result<(Device, Arc<OpenProduct>), NotAdmitted> {
        let device = self.registry.device(feed).await?;
        let device = device.ok_or(Refusal::UnknownDevice)?;
        let product = self.product_of(&device).await?;
        Ok((device, product))
    }
}
