//! An activation in one step, as HTTP has it: a code, or an operator who names
//! a device, is answered with credentials.
//!
//! The rules are those of the two steps that MQTT takes ([`admit`] and
//! [`issue`]): the same decisions, throttle, events and refusals.
//!
//! [`admit`]: Provisioner::admit
//! [`issue`]: Provisioner::issue

use std::net::IpAddr;

use super::answer::{Answer, Handover};
use super::issue::OnWordOf;
use super::request::{AnswerFormat, ProvisionRequest};
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::Key;
use crate::identity::DeviceName;
use crate::operator::Role;
use crate::product::ProofPolicy;
use crate::provision::door::admission::{Activation, DeviceLogin, OperatorLogin};
use crate::provision::door::decide::{self, CodeVerdict};
use crate::provision::{Admission, NotAdmitted, NotIssued, Provisioner};
use crate::refusal::Refusal;
use crate::secret::ApiKey;

/// Which device is to be activated.
#[derive(Clone, Copy, Debug)]
pub enum Claimed<'a> {
    /// The one whose code this is.
    Code(&'a ActivationCode),
    /// The one of this name. Only an operator may say so.
    Device(&'a DeviceName),
}

/// Who stands in for it beside its code.
#[derive(Clone, Copy, Debug)]
pub enum Voucher<'a> {
    /// Nobody.
    Nothing,
    /// The device itself, with a key: if that is its own it is told it again,
    /// otherwise the key counts for nothing.
    Key(&'a ApiKey),
    /// An operator: one of role operator for a device that may activate itself,
    /// an admin also for a device that is active.
    Operator(&'a OperatorLogin),
}

impl Provisioner {
    /// Hands a device its credentials. What is issued is durable before this
    /// returns. The admission is the right by which it was given.
    pub async fn activate(
        &self,
        claimed: Claimed<'_>,
        voucher: Voucher<'_>,
        format: AnswerFormat,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(Admission, Answer), NotAdmitted> {
        let request = ProvisionRequest {
            format,
            ..ProvisionRequest::default()
        };
        let answered = match self.bans.covers(source, now) {
            true => Err(Refusal::Banned.into()),
            false => {
                self.activate_at_once(claimed, voucher, &request, source, now)
                    .await
            }
        };
        if let Err(NotAdmitted::Refused(refusal)) = answered {
            self.count_refusal(refusal, source, now);
        }
        answered
    }

    async fn activate_at_once(
        &self,
        claimed: Claimed<'_>,
        voucher: Voucher<'_>,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(Admission, Answer), NotAdmitted> {
        let word = match voucher {
            Voucher::Operator(login) if login.role() >= Role::Admin => OnWordOf::Admin,
            Voucher::Operator(login) if login.role() >= Role::Operator => OnWordOf::Operator,
            _ => OnWordOf::Device,
        };
        let mut activation = match claimed {
            Claimed::Code(code) => self.prove_code(code, source, now).await?,
            Claimed::Device(name) if word != OnWordOf::Device => {
                self.name_device(name, now).await?
            }
            Claimed::Device(_) => return Err(Refusal::NoCredentials.into()),
        };
        if let Voucher::Key(key) = voucher
            && let Some(login) = self.own_key(&activation, key, source, now).await?
        {
            let answer = self.repeat(&login, key, request, now).await?;
            return Ok((Admission::Device(login), answer));
        }
        if self.takes_signatures_only(&activation).await? {
            // One step has no room for a challenge, and there is no key to give.
            return Err(Refusal::KeyDisabled.into());
        }
        let issued = self.issue_for(&mut activation, word, request, source, now);
        let answer = issued.await.map_err(|not| match not {
            NotIssued::Refused(refusal) => NotAdmitted::Refused(refusal),
            // The only thing that can be missing from a bare code.
            NotIssued::Declined(_) => NotAdmitted::Refused(Refusal::HardwareMismatch),
            NotIssued::Unavailable(error) => NotAdmitted::Unavailable(error),
        })?;
        activation.granted = None;
        Ok((Admission::Activation(activation), answer))
    }

    /// The device is not looked up for this: a right code would take longer
    /// than one that nobody has.
    async fn takes_signatures_only(&self, activation: &Activation) -> Result<bool, NotAdmitted> {
        let product = self
            .catalogue
            .find(&activation.product, &*self.registry)
            .await?;
        Ok(product.record.proof == ProofPolicy::Signed)
    }

    /// The device that has this code. Whoever guesses one learns nothing from
    /// the time that takes.
    async fn prove_code(
        &self,
        code: &ActivationCode,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Activation, NotAdmitted> {
        let digest = code.digest();
        let mut proved = None;
        let mut refusal = Refusal::UnknownDevice;
        let found = self.registry.by_code(&digest).await?;
        for device in &found {
            let product = self.product_of(device).await?;
            let verdict =
                decide::code_against(code, &device.serial, Some(&product), &self.decoy, now);
            if let (CodeVerdict::Right(generation), None) = (verdict, &proved) {
                proved = Some(Activation::of(device, generation));
            }
            if verdict == CodeVerdict::Ended {
                refusal = Refusal::SecretEnded;
                self.attempts.keep(device.feed, source, refusal, now);
            }
        }
        if let Some(activation) = proved {
            return Ok(activation);
        }
        // The work of a device that is there: it, its product, its secrets.
        if let Some(device) = found.first() {
            self.load(device.feed).await?;
        } else if let Some(other) = self.registry.device(self.somebody()).await? {
            // A look-up that finds nothing costs less than one that does.
            self.registry.by_code(&digest).await?;
            self.product_of(&other).await?;
            decide::code_against(code, &other.serial, None, &self.decoy, now);
            // Whoever issues to a right code, or refuses, loads the device again.
            self.load(other.feed).await?;
        }
        self.attempts.keep_code(digest, source, now);
        Err(refusal.into())
    }

    async fn name_device(
        &self,
        name: &DeviceName,
        now: Timestamp,
    ) -> Result<Activation, NotAdmitted> {
        let mut candidates = self.registry.by_serial(&name.serial).await?;
        candidates.retain(|device| name.fits(device));
        let device = match (candidates.pop(), candidates.is_empty()) {
            (Some(device), true) => device,
            _ => return Err(Refusal::UnknownDevice.into()),
        };
        let product = self.product_of(&device).await?;
        let newest = product.live(now).next().map(|(generation, _)| generation);
        let newest = newest.ok_or(Refusal::CodeDisabled)?;
        Ok(Activation::of(&device, newest))
    }

    /// Whether a key is this device's, and lets it in. A key that nobody has,
    /// or that has ended, counts for nothing: firmware may send an old one.
    async fn own_key(
        &self,
        activation: &Activation,
        key: &ApiKey,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<DeviceLogin>, NotAdmitted> {
        let found = self.registry.by_key(&key.digest()).await?;
        let own = found.is_some_and(|device| {
            device.feed == activation.feed && device.holds(&Key::Api(key.digest()))
        });
        if !own {
            return Ok(None);
        }
        match self.admit_key(None, key, source, now).await? {
            Admission::Device(login) if login.feed == activation.feed => Ok(Some(login)),
            _ => Ok(None),
        }
    }

    async fn repeat(
        &self,
        login: &DeviceLogin,
        key: &ApiKey,
        request: &ProvisionRequest,
        now: Timestamp,
    ) -> Result<Answer, NotAdmitted> {
        let (_, product) = self.load(login.feed).await?;
        let handover = Handover {
            key: Some(key),
            feed: login.feed,
            datastreams: &product.record.datastreams,
            serial: &login.serial,
            product: &login.product,
            now,
        };
        Ok(Answer::handover(&handover, request))
    }
}
