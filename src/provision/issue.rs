//! Handing a device its feed id and key.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::Provisioner;
use super::admission::{Activation, NotAdmitted};
use super::answer::{Answer, Handover, ProvisionRequest};
use super::decide;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::registry::{Commit, RegistryError, Write};
use crate::secret::ApiKey;

/// Why a device that was admitted to activate gets no key after all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// Something changed since it was admitted.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The registry is in trouble; the device may ask again.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

impl NotIssued {
    /// What the device is told in place of its credentials. It has proved its
    /// secret, so it may know why.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Refused(refusal) => Answer::error(refusal.as_str(), refusal.meaning()),
            Self::Unavailable(_) => Answer::error("unavailable", "try again later"),
        }
    }
}

/// On whose word a key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// The device's, with its code: once, unless its product says otherwise.
    Code,
    /// An operator's: as often as one likes.
    Operator,
}

impl From<NotAdmitted> for NotIssued {
    fn from(error: NotAdmitted) -> Self {
        match error {
            NotAdmitted::Refused(refusal) => Self::Refused(refusal),
            NotAdmitted::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Provisioner {
    /// The credentials of an activating device, made when first asked for and
    /// the same for the rest of the session. Durable before it returns.
    pub async fn issue(
        &self,
        activation: &mut Activation,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        let issued = self
            .issue_for(activation, Grant::Code, request, source, now)
            .await;
        if let Err(NotIssued::Refused(_)) = issued {
            self.totals.refused.fetch_add(1, Ordering::Relaxed);
        }
        issued
    }

    pub(super) async fn issue_for(
        &self,
        activation: &mut Activation,
        grant: Grant,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        let product = self
            .catalogue
            .find(&activation.product, &*self.registry)
            .await?;
        let key = match &activation.key {
            Some(key) => {
                let (device, _) = self.load(activation.feed).await?;
                if !device.holds(&key.digest()) {
                    return Err(NotIssued::Refused(Refusal::KeyEnded));
                }
                key.clone()
            }
            None => {
                let key = self.make_key(activation, grant, source, now).await?;
                activation.key.insert(key).clone()
            }
        };
        Ok(Answer::handover(
            &Handover {
                key: &key,
                feed: activation.feed,
                datastreams: &product.record.datastreams,
                serial: &activation.serial,
                product: &activation.product,
                now,
            },
            request,
        ))
    }

    async fn make_key(
        &self,
        activation: &Activation,
        grant: Grant,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<ApiKey, NotIssued> {
        loop {
            let (device, product) = self.load(activation.feed).await?;
            if device.serial != activation.serial {
                return Err(NotIssued::Refused(Refusal::WrongCode));
            }
            let allowed = match grant {
                Grant::Code => decide::activation(&device, &product.record, now),
                Grant::Operator => decide::may_stay(&device, &product.record),
            };
            if let Err(refusal) = allowed {
                self.refuse_proved(&device, source, refusal, now).await;
                return Err(NotIssued::Refused(refusal));
            }
            let key = ApiKey::generate(&*self.entropy);
            let changed = device.issue(key.digest(), activation.generation, now);
            let write = Write::Device(changed.device);
            if self.registry.commit(write, changed.events).await? == Commit::Done {
                self.totals.issued.fetch_add(1, Ordering::Relaxed);
                return Ok(key);
            }
        }
    }
}
