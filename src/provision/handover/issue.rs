//! Handing a device its feed id, and what it will prove itself with: an API
//! key, or the word that its signatures are accepted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::answer::{Answer, Handover};
use super::request::{Ask, Enrolment, ProvisionRequest};
use crate::clock::Timestamp;
use crate::device::{Device, Key, Keys};
use crate::event::{EventKind, NewEvent, Subject};
use crate::hardware::{Compared, HardwareMode};
use crate::product::ProofPolicy;
use crate::provision::door::admission::{Activation, Granted, NotAdmitted};
use crate::provision::door::decide::{self, Showing};
use crate::provision::door::tally::Folding;
use crate::provision::door::writes::Writer;
use crate::provision::{OpenProduct, Provisioner};
use crate::refusal::Refusal;
use crate::registry::{Commit, RegistryError};
use crate::secret::ApiKey;

/// Why a device that was admitted is not given what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// It may not have it, or something changed since it was admitted.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It has to ask in another way.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// The registry is in trouble; the device may ask again.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

/// What is wrong with a request of a device that may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Not one of ours, for another device, or too old.
    #[error(
        "the challenge was not made for this device, or two minutes have gone: ask for another"
    )]
    ChallengeExpired,
    /// Somebody else's key, or other bytes.
    #[error("the signature does not answer the challenge with this public key")]
    SignatureWrong,
    /// The product takes no signatures.
    #[error("devices of this product do not sign: ask without a public key")]
    SigningDisabled,
    /// The product wants to know the board.
    #[error("this product's devices show their hardware when they activate: send \"hardware\"")]
    HardwareRequired,
    /// There is nothing to license.
    #[error("this product has no licence, or the device is not active yet")]
    NoLicence,
    /// Only a device that is active can ask that.
    #[error("the device is not active yet: activate it first")]
    NotActive,
    /// Only a device that activates can ask that.
    #[error("the device is active already: `device reset` or `device reopen` lets it enrol again")]
    Active,
}

impl Declined {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChallengeExpired => "challenge_expired",
            Self::SignatureWrong => "signature_wrong",
            Self::SigningDisabled => "signing_disabled",
            Self::HardwareRequired => "hardware_required",
            Self::NoLicence => "no_licence",
            Self::NotActive => "not_active",
            Self::Active => "active",
        }
    }
}

impl NotIssued {
    /// What the device is told in place of what it asked for. It has proved
    /// its secret, so it may know why.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Refused(refusal) => Answer::error(refusal.as_str(), refusal.meaning()),
            Self::Declined(declined) => Answer::error(declined.as_str(), &declined.to_string()),
            Self::Unavailable(_) => Answer::error("unavailable", "try again later"),
        }
    }
}

/// The authority that credentials are given on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provision) enum OnWordOf {
    /// The device's, with its code: as often as its product's policy lets it.
    Device,
    /// An operator's, who names the device: as often as the policy would let the
    /// device itself, so that a role below admin takes no active device over.
    Operator,
    /// An admin's: also for a device that is active.
    Admin,
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
    /// What an activating device asks for; its credentials are made when they
    /// are first asked for, and are the same for the rest of the session, but
    /// for a device that brings another public key. Durable before it returns.
    pub async fn issue(
        &self,
        activation: &mut Activation,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        let issued = match request.ask {
            Ask::Credentials => {
                self.issue_for(activation, OnWordOf::Device, request, source, now)
                    .await
            }
            Ask::Challenge => self.challenge(activation, now).await,
            Ask::Identity | Ask::Licence => Err(Declined::NotActive.into()),
        };
        if let Err(NotIssued::Refused(_)) = issued {
            self.totals.refused.fetch_add(1, Ordering::Relaxed);
        }
        issued
    }

    /// Whether nothing is given to an activating device before it says what it
    /// brings: a public key, or the facts of its board.
    pub async fn waits_for_request(&self, activation: &Activation) -> Result<bool, RegistryError> {
        let product = self
            .catalogue
            .find(&activation.product, &*self.registry)
            .await?;
        let wants_facts = matches!(
            product.record.hardware.mode,
            HardwareMode::Warn | HardwareMode::Enforce
        );
        Ok(wants_facts || product.record.proof == ProofPolicy::Signed)
    }

    async fn challenge(
        &self,
        activation: &Activation,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        let (product, serial) = (&activation.product, &activation.serial);
        let pepper = self.pepper_of(product, now).await?;
        let challenge = self.challenger.challenge(product, serial, now);
        Ok(Answer::challenge(&challenge, &pepper, product, serial, now))
    }

    pub(in crate::provision) async fn issue_for(
        &self,
        activation: &mut Activation,
        word: OnWordOf,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Answer, NotIssued> {
        let product = self
            .catalogue
            .find(&activation.product, &*self.registry)
            .await?;
        let signing = self.signing(activation, &product, request.enrolment.as_ref(), now)?;
        let granted = match &activation.granted {
            Some(granted) if signing.is_none_or(|key| key == granted.key()) => {
                let (device, _) = self.load(activation.feed).await?;
                if !device.holds(&granted.key()) {
                    return Err(NotIssued::Refused(Refusal::KeyEnded));
                }
                granted.clone()
            }
            _ => {
                let granted = self
                    .grant(activation, signing, word, request, source, now)
                    .await?;
                activation.granted.insert(granted).clone()
            }
        };
        Ok(Answer::handover(
            &Handover {
                key: match &granted {
                    Granted::ApiKey(key) => Some(key),
                    Granted::Signing(_) => None,
                },
                feed: activation.feed,
                datastreams: &product.record.datastreams,
                serial: &activation.serial,
                product: &activation.product,
                now,
            },
            request,
        ))
    }

    /// What the device will sign with, if it brings a public key or its
    /// product takes nothing but signatures.
    fn signing(
        &self,
        activation: &Activation,
        product: &OpenProduct,
        enrolment: Option<&Enrolment>,
        now: Timestamp,
    ) -> Result<Option<Key>, Declined> {
        let (id, serial) = (&activation.product, &activation.serial);
        match (enrolment, product.record.proof) {
            (Some(_), ProofPolicy::Code) => Err(Declined::SigningDisabled),
            (Some(enrolment), _) => {
                let Enrolment {
                    public_key,
                    challenge,
                    signature,
                } = enrolment;
                if !self.challenger.knows(challenge, id, serial, now) {
                    return Err(Declined::ChallengeExpired);
                }
                match public_key.answers(id, serial, challenge, signature) {
                    true => Ok(Some(Key::Public(*public_key))),
                    false => Err(Declined::SignatureWrong),
                }
            }
            (None, ProofPolicy::Signed) => Ok(Some(Key::Derived(activation.generation))),
            (None, ProofPolicy::Code | ProofPolicy::Either) => Ok(None),
        }
    }

    async fn grant(
        &self,
        activation: &Activation,
        signing: Option<Key>,
        word: OnWordOf,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Granted, NotIssued> {
        let mut paced = false;
        loop {
            let (device, product) = self.load(activation.feed).await?;
            if device.serial != activation.serial {
                return Err(NotIssued::Refused(Refusal::WrongCode));
            }
            let allowed = match word {
                // The code was right when the session began; its secret may have
                // been ended since.
                OnWordOf::Device if !product.record.accepts(activation.generation, now) => {
                    Err(Refusal::SecretEnded)
                }
                OnWordOf::Device => decide::activation(&device, &product.record, now),
                OnWordOf::Operator => decide::may_stay(&device, &product.record)
                    .and(device.may_activate(product.record.reactivation, now)),
                OnWordOf::Admin => decide::may_stay(&device, &product.record),
            };
            let seat = self.seat(&device, &product.record).await?;
            if let Err(refusal) = allowed.and(seat) {
                self.refuse_proved(&device, source, refusal, now).await;
                return Err(NotIssued::Refused(refusal));
            }
            if !std::mem::replace(&mut paced, true) {
                self.pace_issue(&device, source, now).await?;
            }
            let board = match word {
                OnWordOf::Device => self.board(&device, &product, request, source, now).await?,
                // An operator's request comes from no board.
                OnWordOf::Operator | OnWordOf::Admin => Compared::unchanged(&device.hardware),
            };
            // Drawn for those who get it: a refusal takes no longer than one of
            // somebody whom nobody knows.
            let granted = match signing {
                Some(key) => Granted::Signing(key),
                None => Granted::ApiKey(ApiKey::generate(&*self.entropy)),
            };
            let changed = device
                .issue(granted.key(), activation.generation, now)
                .on_board(board, now);
            if self.commit_seated(changed, &product.record).await? == Commit::Done {
                self.totals.issued.fetch_add(1, Ordering::Relaxed);
                return Ok(granted);
            }
        }
    }

    /// Refuses a device that fetches credentials faster than they are of any
    /// use, and a product whose devices fetch theirs over and over.
    async fn pace_issue(
        &self,
        device: &Device,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), NotIssued> {
        let refusal = Refusal::Throttled;
        if self.writes.take(Writer::Issue(device.feed), now).is_err() {
            self.attempts.keep(device.feed, source, refusal, now);
            return Err(NotIssued::Refused(refusal));
        }
        let product = &device.product;
        // Nobody has more first credentials than devices.
        if device.keys == Keys::None
            || self
                .writes
                .take(Writer::Again(product.clone()), now)
                .is_ok()
        {
            return Ok(());
        }
        if let Some(count) = self.folded.due(Folding::Product(product.clone()), now) {
            tracing::warn!(%product, count, "a product's devices fetch their credentials over and over: they are held up");
            let subject = Subject::Product(product.clone());
            let kind = EventKind::IssuingHeldUp { count };
            self.note(NewEvent {
                at: now,
                subject,
                kind,
            })
            .await;
        }
        self.attempts.keep(device.feed, source, refusal, now);
        Err(NotIssued::Refused(refusal))
    }

    /// What is known of an activating device's board from now on.
    async fn board(
        &self,
        device: &Device,
        product: &Arc<OpenProduct>,
        request: &ProvisionRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Compared, NotIssued> {
        let shown = &request.hardware;
        if shown.is_empty() {
            return match product.record.hardware.mode {
                HardwareMode::Enforce => Err(Declined::HardwareRequired.into()),
                _ => Ok(Compared::unchanged(&device.hardware)),
            };
        }
        Ok(self
            .judge_board(device, product, (shown, Showing::Activation), source, now)
            .await?)
    }
}
