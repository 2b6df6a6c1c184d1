//! What is asked of the writer, and what became of it.
//!
//! A request is staged more than once: first to find out which rows it needs,
//! at last in earnest.

use tokio::sync::oneshot;

use super::super::staging::{Ground, Staging};
use super::super::{Batch, Commit, Registration, RegistryError, Write};
use crate::event::NewEvent;
use crate::identity::FeedId;
use crate::mailbox::{Change, Outcome};

/// Where an outcome goes.
type Answer<T> = oneshot::Sender<Result<T, RegistryError>>;

/// What is asked of the writer.
pub(super) enum Request {
    Commit {
        write: Box<Write>,
        events: Vec<NewEvent>,
        answer: Answer<Commit>,
    },
    Register {
        batch: Batch,
        answer: Answer<Vec<Registration>>,
    },
    Mailbox {
        feed: FeedId,
        change: Change,
        answer: Answer<Outcome>,
    },
}

/// What becomes of a request if its batch is committed.
#[derive(Debug)]
pub(super) enum Staged {
    Commit(Result<Commit, RegistryError>),
    Register(Result<Vec<Registration>, RegistryError>),
    Mailbox(Result<Outcome, RegistryError>),
}

impl Request {
    /// How much it is, roughly: so many things of which each is a few rows.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Register { batch, .. } => batch.devices.len().max(1),
            Self::Commit { .. } | Self::Mailbox { .. } => 1,
        }
    }

    pub(super) fn stage<G: Ground>(&self, staging: &mut Staging<'_, G>) -> Staged {
        match self {
            Self::Commit { write, events, .. } => {
                Staged::Commit(staging.write(write.as_ref().clone(), events))
            }
            Self::Register { batch, .. } => Staged::Register(staging.register(batch)),
            Self::Mailbox { feed, change, .. } => {
                Staged::Mailbox(staging.change_mailbox(*feed, change.clone()))
            }
        }
    }

    /// Tells whoever asked, unless it has gone; what was written stands either
    /// way.
    pub(super) fn settle(self, staged: Staged) {
        match (self, staged) {
            (Self::Commit { answer, .. }, Staged::Commit(outcome)) => drop(answer.send(outcome)),
            (Self::Register { answer, .. }, Staged::Register(outcome)) => {
                drop(answer.send(outcome));
            }
            (Self::Mailbox { answer, .. }, Staged::Mailbox(outcome)) => drop(answer.send(outcome)),
            (request, _) => {
                let mixed_up = RegistryError::Damaged("outcomes were mixed up".to_owned());
                request.refuse(&mixed_up);
            }
        }
    }

    pub(super) fn refuse(self, error: &RegistryError) {
        match self {
            Self::Commit { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Register { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Mailbox { answer, .. } => drop(answer.send(Err(error.clone()))),
        }
    }
}
