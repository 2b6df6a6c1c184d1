//! Carrying out a request once, however often it is sent.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::once::{Occasion, OccasionId};
use crate::operator::Role;
use crate::provision::door::writes::Writer;
use crate::provision::{OperatorLogin, Provisioner};
use crate::registry::{Commit, RegistryError, Write};

/// So long a request is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be done with a request.
#[derive(Debug)]
pub enum Once {
    /// It is new: carry it out, then say how it ended.
    Begun(Begun),
    /// It was carried out and answered with this.
    Answered(Zeroizing<Vec<u8>>),
    /// It has begun and nobody has said how it ended: it is being carried out,
    /// or the server stopped in the middle of it.
    Unfinished,
    /// The key was used for something else.
    OtherRequest,
    /// An operator that may only look names requests all the time.
    TooOften,
}

/// A request that has begun.
#[derive(Debug)]
pub struct Begun {
    id: OccasionId,
    occasion: Occasion,
}

impl Provisioner {
    /// Begins a request that its operator names with a key; durable when it
    /// returns. `request` is a digest of all that was asked. An operator that
    /// was given other rights since has not asked it before.
    pub async fn begin_once(
        &self,
        login: &OperatorLogin,
        key: &str,
        request: [u8; 32],
        now: Timestamp,
    ) -> Result<Once, RegistryError> {
        let writer = || Writer::Operator(login.name().clone());
        if login.role() <= Role::Viewer && self.writes.take(writer(), now).is_err() {
            return Ok(Once::TooOften);
        }
        let id = OccasionId::of(login.name(), login.granted_at(), login.token(), key);
        loop {
            let occasion = Occasion {
                at: now,
                request,
                response: None,
            };
            let known = match self.registry.occasion(&id).await? {
                Some(known) if now < known.at.plus(REMEMBERED) => known,
                Some(_) => {
                    self.registry.commit(Write::Forget(id), Vec::new()).await?;
                    continue;
                }
                None => {
                    let begin = Write::Begin(id, occasion.clone());
                    match self.registry.commit(begin, Vec::new()).await? {
                        Commit::Done => return Ok(Once::Begun(Begun { id, occasion })),
                        Commit::Lost => continue,
                    }
                }
            };
            return Ok(match known.response {
                _ if known.request != request => Once::OtherRequest,
                None => Once::Unfinished,
                Some(sealed) => {
                    let opened = self.catalogue.sealing().unseal_bytes(&sealed, &bound(&id));
                    Once::Answered(
                        opened.map_err(|error| RegistryError::Damaged(error.to_string()))?,
                    )
                }
            });
        }
    }

    /// Remembers how a request was answered.
    pub async fn end_once(&self, begun: Begun, response: &[u8]) -> Result<(), RegistryError> {
        let Begun { id, mut occasion } = begun;
        let sealing = self.catalogue.sealing();
        occasion.response = Some(sealing.seal_bytes(response, &bound(&id), &*self.entropy));
        let end = Write::End(id, occasion);
        self.registry.commit(end, Vec::new()).await?;
        Ok(())
    }

    /// Forgets a request that changed nothing: it may be sent again.
    pub async fn forget_once(&self, begun: Begun) -> Result<(), RegistryError> {
        let forget = Write::Forget(begun.id);
        self.registry.commit(forget, Vec::new()).await?;
        Ok(())
    }

    /// Forgets requests that nobody will repeat any more.
    pub async fn forget_old_requests(&self, now: Timestamp) -> Result<(), RegistryError> {
        for (id, at) in self.registry.occasions().await? {
            if at.plus(REMEMBERED) <= now {
                self.registry.commit(Write::Forget(id), Vec::new()).await?;
            }
        }
        Ok(())
    }
}

/// What a sealed answer is bound to.
pub(super) fn bound(id: &OccasionId) -> Vec<u8> {
    [b"firstwake answer v1\0".as_slice(), id.as_bytes()].concat()
}
