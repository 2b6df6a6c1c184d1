//! The one way in.
//!
//! [`Provisioner`] asks the registry, lets [`decide`] judge, and writes what
//! follows; whoever holds one cannot let anybody in by other means, because an
//! [`Admission`] is made nowhere else. Every rule about who gets in stands in
//! `decide` and in the lifecycle table of [`Device`](crate::Device), never here.

mod admission;
mod admit;
mod answer;
mod attempts;
mod catalogue;
mod decide;
mod explain;
mod issue;
mod operators;
mod post;
mod steward;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::admission::{Activation, Admission, DeviceLogin, NotAdmitted, OperatorLogin};
pub use self::admit::Attempt;
pub use self::answer::{Answer, Detail, InvalidRequest, ProvisionRequest};
pub use self::attempts::RefusedAttempt;
pub use self::catalogue::OpenProduct;
pub use self::explain::Explanation;
pub use self::issue::NotIssued;
pub use self::operators::{NewOperator, OperatorError};
pub use self::post::{Body, NotPosted, Posted};
pub use self::steward::{DeviceError, NewProduct, ProductError};
pub use self::tally::{Source, Tally, TallyEntry};

use self::attempts::Attempts;
use self::catalogue::Catalogue;
use self::tally::{Folded, Refusals};
use crate::entropy::Entropy;
use crate::event::NewEvent;
use crate::registry::{Registry, RegistryError, Write};
use crate::sealing::SealingKey;
use crate::secret::ProductSecret;

/// How many operators' passwords are checked at once. Each check takes 19 MiB
/// and tens of milliseconds, so strangers must not be able to ask for many.
const PASSWORD_PERMITS: usize = 2;
/// How many may wait for that; more are refused as overload.
const PASSWORD_QUEUE: usize = 64;

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
    catalogue: Catalogue,
    /// Unknown serials are checked against this: same work, never right.
    decoy: ProductSecret,
    passwords: Arc<Semaphore>,
    password_queue: Queue,
    attempts: Attempts,
    refusals: Refusals,
    folded: Folded,
    totals: Totals,
}

/// Places for those who wait. Whoever finds none is not let wait.
struct Queue(Semaphore);

impl Queue {
    fn new(places: usize) -> Self {
        Self(Semaphore::new(places))
    }

    fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.0.try_acquire().ok()
    }
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
    /// does not fit.
    pub async fn start(
        registry: Arc<dyn Registry>,
        sealing: SealingKey,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        let catalogue = Catalogue::load(&*registry, sealing).await?;
        Ok(Self {
            decoy: ProductSecret::generate(&*entropy),
            registry,
            entropy,
            catalogue,
            passwords: Arc::new(Semaphore::new(PASSWORD_PERMITS)),
            password_queue: Queue::new(PASSWORD_QUEUE),
            attempts: Attempts::default(),
            refusals: Refusals::default(),
            folded: Folded::default(),
            totals: Totals::default(),
        })
    }

    /// The registry that this provisioner decides over.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
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

    /// Writes events that belong to no change. A registry in trouble is logged:
    /// whoever caused the event is refused either way.
    async fn note(&self, event: NewEvent) {
        if let Err(error) = self.registry.commit(Write::Note, vec![event]).await {
            tracing::warn!(%error, "an event could not be written");
        }
    }
}

#[cfg(test)]
mod tests;
