//! Keeping sources out, and following what is written about that.

use std::time::Duration;

use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::event::{Event, EventKind, NewEvent, Subject};
use crate::identity::ProductId;
use crate::provision::Provisioner;
use crate::registry::{Commit, RegistryError, Write};

/// Characters of the reason for a ban, at most.
const REASON: usize = 200;

/// Why a source cannot be banned, or let in again.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    /// The reason is not fit.
    #[error("a reason is one line of at most {REASON} characters")]
    Reason,
    /// There is no such ban.
    #[error("{0} is not banned; `firstwake ban list` shows what is")]
    Unknown(Network),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Provisioner {
    /// Bans a source, for a while or until it is let in again. A ban of the
    /// same network is replaced.
    pub async fn ban(
        &self,
        network: Network,
        span: Option<Duration>,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<Ban, BanError> {
        let fits =
            |text: &String| text.chars().count() <= REASON && !text.contains(char::is_control);
        if !reason.as_ref().is_none_or(fits) {
            return Err(BanError::Reason);
        }
        let ban = Ban {
            network,
            reason,
            at: now,
            until: span.map(|span| now.plus(span)),
        };
        let event = NewEvent {
            at: now,
            subject: Subject::Source(network),
            kind: EventKind::SourceBanned {
                until: ban.until,
                reason: ban.reason.clone(),
            },
        };
        self.registry
            .commit(Write::Ban(ban.clone()), vec![event])
            .await?;
        self.bans.put(network, ban.until);
        Ok(ban)
    }

    /// Lets a source in again.
    pub async fn unban(&self, network: Network, now: Timestamp) -> Result<(), BanError> {
        let event = NewEvent {
            at: now,
            subject: Subject::Source(network),
            kind: EventKind::SourceUnbanned,
        };
        match self
            .registry
            .commit(Write::RemoveBan(network), vec![event])
            .await?
        {
            Commit::Done => {
                self.bans.remove(&network);
                Ok(())
            }
            Commit::Lost => Err(BanError::Unknown(network)),
        }
    }

    /// The bans that hold now, in the order of their networks.
    pub async fn standing_bans(&self, now: Timestamp) -> Result<Vec<Ban>, RegistryError> {
        let mut bans = self.registry.bans().await?;
        bans.retain(|ban| ban.holds(now));
        bans.sort_by_key(|ban| ban.network);
        Ok(bans)
    }

    /// Forgets bans that have ended by themselves. Their end was told with
    /// their beginning, so it is no event.
    pub async fn drop_ended_bans(&self, now: Timestamp) -> Result<(), RegistryError> {
        for ban in self.registry.bans().await? {
            if !ban.holds(now) {
                // Only this one: it may have been replaced meanwhile.
                let write = Write::DropBan(ban.clone());
                self.registry.commit(write, Vec::new()).await?;
            }
        }
        self.bans.drop_ended(now);
        Ok(())
    }

    /// Brings what is kept in memory up to a change in the log, whoever wrote
    /// it. Whoever ends sessions for an event follows it first.
    pub async fn follow(&self, event: &Event) -> Result<(), RegistryError> {
        match (&event.body.subject, &event.body.kind) {
            (Subject::Source(network), EventKind::SourceBanned { until, .. }) => {
                self.bans.put(*network, *until);
            }
            (Subject::Source(network), EventKind::SourceUnbanned) => self.bans.remove(network),
            (Subject::Product(id), _) => self.reload_product(id).await?,
            _ => {}
        }
        Ok(())
    }

    /// Has decisions follow a product as it is in the registry now.
    pub(in crate::provision) async fn reload_product(
        &self,
        id: &ProductId,
    ) -> Result<(), RegistryError> {
        let Some(record) = self.registry.product(id).await? else {
            self.catalogue.remove(id);
            return Ok(());
        };
        match self.catalogue.put(record) {
            Ok(_) => Ok(()),
            Err(error) => Err(RegistryError::Damaged(error.to_string())),
        }
    }
}
