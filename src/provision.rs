//! The one way in.
//!
//! [`Provisioner`] asks the registry, lets [`decide`](door::decide) judge, and
//! writes what follows; whoever holds one cannot let anybody in by other means,
//! because an [`Admission`] is made nowhere else. Every rule about who gets in
//! stands in `decide` and in the lifecycle table of [`Device`](crate::Device),
//! never here.
//!
//! At the [`door`] it is decided who gets in, over the [`handover`] goes what
//! those who are in are given, at the [`desk`] operators act.

mod catalogue;
mod desk;
mod door;
mod handover;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

pub use self::catalogue::OpenProduct;
pub use self::desk::bans::BanError;
pub use self::desk::devices::{DeviceError, NewSerial};
pub use self::desk::explain::Explanation;
pub use self::desk::lists::Imported;
pub use self::desk::once::{Begun, Once};
pub use self::desk::operators::{NewOperator, OperatorError};
pub use self::desk::products::{NewProduct, ProductChange, ProductError};
pub use self::desk::reading::{DeviceFilter, Found};
pub use self::desk::reseal::Resealed;
pub use self::desk::secrets::{Indexing, Rotated, SecretError};
pub use self::door::admission::{Activation, Admission, DeviceLogin, NotAdmitted, OperatorLogin};
pub use self::door::admit::Attempt;
pub use self::door::attempts::{RefusedAttempt, SessionProblem};
pub use self::door::tally::{NearMiss, ReasonCount, Tally, TallyEntry};
pub use self::handover::activate::{Claimed, Voucher};
pub use self::handover::answer::Answer;
pub use self::handover::datastreams::{Named, NoDatastream};
pub use self::handover::issue::{Declined, NotIssued};
pub use self::handover::post::{Body, NotPosted, Posted};
pub use self::handover::request::{
    AnswerFormat, Ask, Detail, Enrolment, InvalidRequest, ProvisionRequest,
};
pub use self::handover::values::NotKept;

use self::catalogue::Catalogue;
use self::door::attempts::Attempts;
use self::door::inquiry::Inquiries;
use self::door::passwords::Passwords;
use self::door::tally::{Folded, Folding, Reasons, Refusals};
use self::door::writes::Writes;
use crate::ban::Bans;
use crate::clock::Timestamp;
use crate::clones::Rivals;
use crate::enrolment::Challenger;
use crate::entropy::Entropy;
use crate::event::NewEvent;
use crate::identity::FeedId;
use crate::keypair::{PrivateKey, PublicKey};
use crate::refusal::Refusal;
use crate::registry::{HintCredentials, Registry, RegistryError, Write};
use crate::sealing::SealingKey;
use crate::secret::ProductSecret;
use crate::source::Source;
use crate::throttle::{Failures, Pace, Rate};

/// Why a provisioner cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The wrong key file.
    #[error(transparent)]
    Sealing(#[from] crate::sealing::UnsealError),
}

/// Decides who gets in, and hands out keys.
pub struct Provisioner {
    registry: Arc<dyn Registry>,
    entropy: Arc<dyn Entropy>,
    /// The newest event when everything below was loaded.
    loaded: u64,
    catalogue: Catalogue,
    /// Unknown serials are checked against this: same work, never right.
    decoy: ProductSecret,
    /// A device that was there a moment ago: whoever is unknown is looked up at
    /// the price of this one.
    somebody: AtomicU32,
    /// The same for signatures.
    decoy_key: PublicKey,
    challenger: Challenger,
    /// Read or made when a licence is first asked for.
    licence_key: OnceLock<PrivateKey>,
    rivals: Rivals,
    passwords: Passwords,
    failures: Failures,
    bans: Arc<Bans>,
    attempts: Attempts,
    inquiries: Inquiries,
    /// Since when attempts are remembered; `None` where nobody serves.
    since: Option<Timestamp>,
    refusals: Refusals,
    reasons: Reasons,
    folded: Folded,
    writes: Writes,
    totals: Totals,
    /// Held by acts whose condition spans several rows: how many tokens or
    /// admins there are, whether a secret is another product's. They are rare.
    /// Servers on one database do not share it: there, two such acts in the same
    /// moment may both be done.
    several_rows: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Totals {
    issued: AtomicU64,
    confirmed: AtomicU64,
    refused: AtomicU64,
}

/// What has happened since the provisioner started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys issued.
    pub issued: u64,
    /// Keys confirmed.
    pub confirmed: u64,
    /// Attempts refused, for whatever reason.
    pub refused: u64,
}

impl Provisioner {
    /// Opens every product's secrets, and refuses to start if the sealing key
    /// does not fit: nothing has been written then.
    pub async fn start(
        registry: Arc<dyn Registry>,
        sealing: SealingKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        // First: what another server writes meanwhile is followed later.
        let loaded = *registry.newest().borrow();
        let challenger = Challenger::new(&sealing);
        let hints = HintCredentials::draw(&sealing, &*entropy);
        let proof = registry.sealing_proof().await?;
        proof
            .as_ref()
            .map(|proof| sealing.check(proof))
            .transpose()?;
        let catalogue = Catalogue::load(&*registry, sealing).await?;
        if proof.is_none() {
            catalogue.prove(&*registry, &*entropy).await?;
        }
        let bans = Arc::new(Bans::default());
        for ban in registry.bans().await? {
            bans.put(ban.network, ban.until);
        }
        // Last: from now on it is certain that the key is the registry's.
        registry.seal_hints(hints);
        Ok(Self {
            decoy: ProductSecret::generate(&*entropy),
            decoy_key: PrivateKey::generate(&*entropy).public(),
            challenger,
            licence_key: OnceLock::new(),
            rivals: Rivals::default(),
            somebody: AtomicU32::new(FeedId::FIRST.as_u32()),
            registry,
            entropy,
            loaded,
            catalogue,
            passwords: Passwords::default(),
            failures: Failures::new(None),
            bans,
            attempts: Attempts::default(),
            inquiries: Inquiries::default(),
            since: None,
            refusals: Refusals::default(),
            reasons: Reasons::default(),
            folded: Folded::default(),
            writes: Writes::default(),
            totals: Totals::default(),
            several_rows: tokio::sync::Mutex::default(),
        })
    }

    /// Answers sources slowly that fail more often than this; `None`, the
    /// default, never.
    #[must_use]
    pub fn with_failures(mut self, rate: Option<Rate>) -> Self {
        self.failures = Failures::new(rate);
        self
    }

    /// Says when the server started: what happened before, it does not know.
    #[must_use]
    pub fn serving_since(mut self, now: Timestamp) -> Self {
        self.since = Some(now);
        self
    }

    /// How a peer from this address is told that it failed.
    pub fn pace(&self, source: IpAddr, now: Timestamp) -> Pace {
        self.failures.pace(Source::from(source), now)
    }

    /// Counts a peer that was turned away before it could show anything.
    pub fn count_turned_away(&self, source: IpAddr, refusal: Refusal) {
        self.totals.refused.fetch_add(1, Ordering::Relaxed);
        self.refusals.count(source, refusal);
        self.reasons.count(source, refusal.as_str());
    }

    /// Whom operators keep out by address.
    pub fn bans(&self) -> &Arc<Bans> {
        &self.bans
    }

    /// The registry that this provisioner decides over.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// The event that the provisioner started behind: it has to
    /// [`follow`](Self::follow) those that came later.
    pub fn loaded_at(&self) -> u64 {
        self.loaded
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            issued: self.totals.issued.load(Ordering::Relaxed),
            confirmed: self.totals.confirmed.load(Ordering::Relaxed),
            refused: self.totals.refused.load(Ordering::Relaxed),
        }
    }

    /// The unproved refusals since the last call, folded by source and reason.
    pub fn take_refusals(&self) -> Tally {
        self.refusals.take()
    }

    /// Everything refused since the last call, proved or not, and what went wrong
    /// in sessions: for the log, folded by source and reason.
    pub fn take_reasons(&self) -> Vec<ReasonCount> {
        self.reasons.take()
    }

    /// Writes events that belong to no change. A registry in trouble is logged:
    /// whoever caused the event is refused either way.
    async fn note(&self, event: NewEvent) {
        let now = event.at;
        if let Err(error) = self.registry.commit(Write::Note, vec![event]).await
            && let Some(count) = self.folded.due(Folding::Unwritten, now)
        {
            tracing::warn!(%error, count, "events could not be written");
        }
    }
}

#[cfg(test)]
mod tests;
