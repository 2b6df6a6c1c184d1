//! Adding and removing those who log in with a name and a password.

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::event::{EventKind, NewEvent, Subject};
use crate::operator::{InvalidOperator, Operator, OperatorName, PasswordHash, Role};
use crate::provision::Provisioner;
use crate::registry::{Commit, RegistryError, Write};
use crate::token::TokenId;
use crate::topic::TopicFilter;

/// An operator to be added, or one to be given other rights.
pub struct NewOperator {
    /// What it logs in with.
    pub name: OperatorName,
    /// Kept only as a hash.
    pub password: Zeroizing<String>,
    /// What it may do by default.
    pub role: Role,
    /// Topics it may publish to, beside those of its role.
    pub publish: Vec<TopicFilter>,
    /// Topics it may read, beside those of its role.
    pub subscribe: Vec<TopicFilter>,
}

/// Why something cannot be done with an operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The password is not fit.
    #[error(transparent)]
    Invalid(#[from] InvalidOperator),
    /// No such operator.
    #[error("there is no operator {0}")]
    Unknown(OperatorName),
    /// What a token is for, in too many words.
    #[error("a token's label is at most 128 characters on one line")]
    Label,
    /// It has as many tokens as anybody may have.
    #[error("{0} has 100 tokens: remove those that nobody uses")]
    TooManyTokens(OperatorName),
    /// It makes one after the other.
    #[error("{0} makes tokens all the time: ten a minute are made, try again in a few seconds")]
    TooFast(OperatorName),
    /// No such token.
    #[error("there is no token {0}")]
    UnknownToken(TokenId),
    /// Without it there would be no admin.
    #[error("{0} is the last admin: make another operator admin first")]
    LastAdmin(OperatorName),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Provisioner {
    /// Adds an operator. One of that name is replaced, password, role, filters
    /// and all; its open sessions end.
    pub async fn add_operator(
        &self,
        new: NewOperator,
        now: Timestamp,
    ) -> Result<Operator, OperatorError> {
        let entropy = std::sync::Arc::clone(&self.entropy);
        let password = new.password;
        let hashed =
            tokio::task::spawn_blocking(move || PasswordHash::create(&password, &*entropy)).await;
        let password = hashed
            .map_err(|_| RegistryError::Unavailable("the server is stopping".to_owned()))??;
        let _alone = self.several_rows.lock().await;
        loop {
            let found = self.registry.operator(&new.name).await?;
            if new.role != Role::Admin {
                self.leaves_an_admin(&new.name).await?;
            }
            let operator = Operator {
                name: new.name.clone(),
                version: found.map_or(0, |operator| operator.version),
                password: password.clone(),
                role: new.role,
                publish: new.publish.clone(),
                subscribe: new.subscribe.clone(),
                created_at: now,
            };
            let event = NewEvent {
                at: now,
                subject: Subject::Operator(new.name.clone()),
                kind: EventKind::OperatorAdded { role: new.role },
            };
            let write = Write::Operator(operator.clone());
            if self.registry.commit(write, vec![event]).await? == Commit::Done {
                return Ok(operator);
            }
        }
    }

    /// Removes an operator; its open sessions end.
    pub async fn remove_operator(
        &self,
        name: &OperatorName,
        now: Timestamp,
    ) -> Result<(), OperatorError> {
        let _alone = self.several_rows.lock().await;
        self.leaves_an_admin(name).await?;
        let event = NewEvent {
            at: now,
            subject: Subject::Operator(name.clone()),
            kind: EventKind::OperatorRemoved,
        };
        let write = Write::RemoveOperator(name.clone());
        match self.registry.commit(write, vec![event]).await? {
            Commit::Done => Ok(()),
            Commit::Lost => Err(OperatorError::Unknown(name.clone())),
        }
    }

    /// Checks that this operator can go or lose its role: a registry without an
    /// admin could be administered on the server's own machine only.
    async fn leaves_an_admin(&self, name: &OperatorName) -> Result<(), OperatorError> {
        let operators = self.registry.operators().await?;
        let mut admins = operators.iter().filter(|it| it.role == Role::Admin);
        match admins.next() {
            Some(only) if only.name == *name && admins.next().is_none() => {
                Err(OperatorError::LastAdmin(name.clone()))
            }
            _ => Ok(()),
        }
    }
}
