//! Operators and services that log in, with a password or a token.

use std::net::IpAddr;

use super::admission::{Admission, NotAdmitted, OperatorLogin};
use super::tally::Folding;
use crate::clock::Timestamp;
use crate::event::{EventKind, NewEvent, Subject};
use crate::operator::OperatorName;
use crate::provision::Provisioner;
use crate::refusal::Refusal;
use crate::registry::RegistryError;
use crate::secret::OperatorToken;
use crate::source::Source;
use crate::throttle::Pace;

impl Provisioner {
    /// Whether an operator is still there, with the rights it logged in with,
    /// and its token, if it used one.
    pub async fn recheck_operator(&self, login: &OperatorLogin) -> Result<(), NotAdmitted> {
        if let Some(digest) = login.token()
            && self.registry.token(digest).await?.is_none()
        {
            return Err(Refusal::WrongOperator.into());
        }
        match self.registry.operator(login.name()).await? {
            Some(operator) if operator.version == login.version() => Ok(()),
            _ => Err(Refusal::WrongOperator.into()),
        }
    }

    pub(in crate::provision) async fn admit_operator(
        &self,
        username: &str,
        password: &[u8],
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let name = OperatorName::parse(username).map_err(|_| Refusal::Malformed)?;
        let source = Source::from(source);
        // The one place where failures keep somebody out: a check is dear. It
        // comes first, so that it does not tell whether there is such a name.
        if self.failures.pace(source, now) == Pace::Slowly {
            return Err(Refusal::Throttled.into());
        }
        let Some(operator) = self.registry.operator(&name).await? else {
            return Err(Refusal::Malformed.into());
        };
        let ended = |reason: &str| RegistryError::Unavailable(reason.to_owned());
        let queued = self.passwords.enter(source).ok_or(Refusal::Overloaded)?;
        let turn = queued
            .turn()
            .await
            .ok_or_else(|| ended("the server is stopping"))?;
        if self.failures.pace(source, now) == Pace::Slowly {
            // It failed too often while this one waited.
            return Err(Refusal::Throttled.into());
        }
        let (hash, password) = (
            operator.password.clone(),
            zeroize::Zeroizing::new(password.to_vec()),
        );
        let right = tokio::task::spawn_blocking(move || {
            let right = hash.verify(&password);
            drop(turn);
            right
        })
        .await
        .map_err(|_| ended("the server is stopping"))?;
        if right {
            return Ok(Admission::Operator(OperatorLogin::of(&operator, None)));
        }
        if let Some(count) = self.folded.due(Folding::Operator(name.clone()), now) {
            self.note(NewEvent {
                at: now,
                subject: Subject::Operator(name),
                kind: EventKind::OperatorRefused { count },
            })
            .await;
        }
        Err(Refusal::WrongOperator.into())
    }

    pub(in crate::provision) async fn admit_token(
        &self,
        username: Option<&str>,
        token: &OperatorToken,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let digest = token.digest();
        let found = self.registry.token(&digest).await?;
        let found = found.filter(|token| token.is_live(now));
        let token = found.ok_or(Refusal::WrongOperator)?;
        if username.is_some_and(|name| name != token.operator.as_str()) {
            return Err(Refusal::WrongOperator.into());
        }
        match self.registry.operator(&token.operator).await? {
            Some(operator) => {
                let login = OperatorLogin::of(&operator, Some(token));
                Ok(Admission::Operator(login))
            }
            None => Err(Refusal::WrongOperator.into()),
        }
    }
}
