//! Seats, leases, and the tokens that applications check without a network.

use std::time::Duration;

use super::answer::{Answer, Identity};
use super::issue::{Declined, NotIssued};
use super::request::{Ask, ProvisionRequest};
use crate::clock::Timestamp;
use crate::device::{Changed, Device};
use crate::event::EventKind;
use crate::identity::FeedId;
use crate::keypair::{PrivateKey, PublicKey};
use crate::licence::{LicenceToken, UNLEASED};
use crate::product::Product;
use crate::provision::door::decide;
use crate::provision::door::tally::Folding;
use crate::provision::{DeviceLogin, NotAdmitted, Provisioner};
use crate::refusal::Refusal;
use crate::registry::{Commit, RegistryError, Write};
use crate::sealing::LICENCE_KEY_BINDING;

impl Provisioner {
    /// What a device that is in asks: who it is taken for, or a licence token.
    pub async fn answer(
        &self,
        login: &DeviceLogin,
        request: &ProvisionRequest,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        if request.enrolment.is_some() || request.ask == Ask::Challenge {
            return Err(Declined::Active.into());
        }
        let (device, product) = self.load(login.feed).await?;
        let nonce = request.nonce.as_deref();
        match request.ask {
            Ask::Licence => {
                let licence = self.licence(&device, &product.record, now).await?;
                let text = licence.sign(&self.signing_key().await?, self.jti());
                if self
                    .folded
                    .due(Folding::Licence(device.feed), now)
                    .is_some()
                {
                    let until = licence.expires_at;
                    let event = device.event(EventKind::LicenceIssued { until }, now);
                    self.note(event).await;
                }
                Ok(Answer::licence(&text, licence.expires_at, nonce))
            }
            Ask::Credentials | Ask::Identity | Ask::Challenge => Ok(Answer::identity(&Identity {
                device: &device,
                proof: login.key.as_str(),
                datastreams: &product.record.datastreams,
                pepper: &self.pepper_of(&device.product, now).await?,
                nonce,
                now,
            })),
        }
    }

    /// The shortest time that any product's devices may stay away.
    pub fn shortest_lease(&self) -> Option<Duration> {
        self.catalogue.leases().min()
    }

    /// Renews the lease of a device that is connected, so that one that stays
    /// connected does not run out.
    pub async fn renew_lease(&self, feed: FeedId, now: Timestamp) -> Result<(), NotAdmitted> {
        loop {
            let (device, product) = self.load(feed).await?;
            let licence = product.record.licence;
            if decide::lease(&device, &product.record, now).is_err() || device.put_aside().is_some()
            {
                return Ok(());
            }
            let Some(until) = licence.renewed(device.lease_until, now) else {
                return Ok(());
            };
            let changed = Changed::nothing(device).leased_until(Some(until), now);
            let write = Write::Device(changed.device);
            if self.registry.commit(write, changed.events).await? == Commit::Done {
                return Ok(());
            }
        }
    }

    /// The half of the licence key that everybody may know.
    pub async fn licence_key(&self) -> Result<PublicKey, RegistryError> {
        Ok(self.signing_key().await?.public())
    }

    /// Whether a device finds a seat, if it has none yet.
    pub(in crate::provision) async fn seat(
        &self,
        device: &Device,
        product: &Product,
    ) -> Result<Result<(), Refusal>, RegistryError> {
        if product.licence.seats.is_none() {
            return Ok(Ok(()));
        }
        let census = self.registry.product_census(&product.id).await?.lifecycles;
        Ok(decide::seat(device, product, &census))
    }

    /// Writes a change, if there is a seat for the device still.
    pub(in crate::provision) async fn commit_seated(
        &self,
        changed: Changed,
        product: &Product,
    ) -> Result<Commit, RegistryError> {
        let Changed { device, events } = changed;
        let write = match product.licence.seats {
            Some(seats) => Write::Seated { device, seats },
            None => Write::Device(device),
        };
        self.registry.commit(write, events).await
    }

    async fn licence(
        &self,
        device: &Device,
        product: &Product,
        now: Timestamp,
    ) -> Result<LicenceToken, NotIssued> {
        if product.licence.is_none() || device.keys.current().is_none() {
            return Err(Declined::NoLicence.into());
        }
        decide::may_stay(device, product)
            .and(decide::lease(device, product, now))
            .map_err(NotIssued::Refused)?;
        // One that was just opened again begins its lease with the next login.
        let lease = product.licence.lease;
        let leased = lease.map(|lease| device.lease_until.unwrap_or_else(|| now.plus(lease)));
        Ok(LicenceToken {
            serial: device.serial.clone(),
            product: device.product.clone(),
            issued_at: now,
            expires_at: leased.unwrap_or_else(|| now.plus(UNLEASED)),
            hardware: device.hardware.clone(),
        })
    }

    /// The key that licences are signed with, made when it is first asked for.
    async fn signing_key(&self) -> Result<PrivateKey, RegistryError> {
        let damaged = || RegistryError::Damaged("the licence key does not open".to_owned());
        loop {
            if let Some(key) = self.licence_key.get() {
                return Ok(key.clone());
            }
            let sealing = self.catalogue.sealing();
            if let Some(sealed) = self.registry.licence_key().await? {
                let bytes = sealing
                    .unseal_bytes(&sealed, LICENCE_KEY_BINDING)
                    .map_err(|_| damaged())?;
                let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| damaged())?;
                drop(self.licence_key.set(PrivateKey::from_bytes(bytes)));
                continue;
            }
            let key = PrivateKey::generate(&*self.entropy);
            let sealed =
                sealing.seal_bytes(key.expose_bytes(), LICENCE_KEY_BINDING, &*self.entropy);
            // Whoever was faster has made the key that counts: it is read then.
            self.registry
                .commit(Write::LicenceKey(sealed), Vec::new())
                .await?;
        }
    }

    fn jti(&self) -> String {
        crate::entropy::url_safe(&*self.entropy, 16).to_string()
    }
}
