//! Tokens: what stands for an operator's password.

use std::time::Duration;

use super::operators::OperatorError;
use crate::clock::Timestamp;
use crate::event::{EventKind, NewEvent, Subject};
use crate::operator::OperatorName;
use crate::provision::Provisioner;
use crate::provision::door::writes::Writer;
use crate::registry::{Commit, RegistryError, Write};
use crate::secret::OperatorToken;
use crate::token::{Token, TokenId};

/// Tokens that one operator may have.
const EACH: usize = 100;

impl Provisioner {
    /// Makes a token for an operator. It is in the return value and nowhere
    /// else in the clear.
    pub async fn create_token(
        &self,
        operator: &OperatorName,
        label: &str,
        span: Option<Duration>,
        now: Timestamp,
    ) -> Result<(Token, OperatorToken), OperatorError> {
        if label.chars().count() > 128 || label.contains(char::is_control) {
            return Err(OperatorError::Label);
        }
        if self.registry.operator(operator).await?.is_none() {
            return Err(OperatorError::Unknown(operator.clone()));
        }
        let _alone = self.several_rows.lock().await;
        let own = self.tokens(now).await?;
        if own
            .iter()
            .filter(|token| token.operator == *operator)
            .count()
            >= EACH
        {
            return Err(OperatorError::TooManyTokens(operator.clone()));
        }
        if self
            .writes
            .take(Writer::Operator(operator.clone()), now)
            .is_err()
        {
            return Err(OperatorError::TooFast(operator.clone()));
        }
        let shown = OperatorToken::generate(&*self.entropy);
        let token = Token {
            id: TokenId::generate(&*self.entropy),
            operator: operator.clone(),
            label: label.to_owned(),
            digest: shown.digest(),
            created_at: now,
            expires_at: span.map(|span| now.plus(span)),
        };
        let kind = EventKind::TokenAdded {
            token: token.id.clone(),
            label: token.label.clone(),
        };
        let write = Write::Token(token.clone());
        let event = about(operator, kind, now);
        self.registry.commit(write, vec![event]).await?;
        Ok((token, shown))
    }

    /// Ends a token, and whatever was opened with it.
    pub async fn remove_token(&self, id: &TokenId, now: Timestamp) -> Result<(), OperatorError> {
        let tokens = self.registry.tokens().await?;
        let Some(token) = tokens.into_iter().find(|token| token.id == *id) else {
            return Err(OperatorError::UnknownToken(id.clone()));
        };
        match self.end_token(&token, now).await? {
            Commit::Done => Ok(()),
            Commit::Lost => Err(OperatorError::UnknownToken(id.clone())),
        }
    }

    /// The tokens that may be used, the oldest first.
    pub async fn tokens(&self, now: Timestamp) -> Result<Vec<Token>, RegistryError> {
        let mut tokens = self.registry.tokens().await?;
        tokens.retain(|token| token.is_live(now));
        tokens.sort_by(|one, two| (one.created_at, &one.id).cmp(&(two.created_at, &two.id)));
        Ok(tokens)
    }

    /// Removes tokens that have expired, so that what was opened with them
    /// ends.
    pub async fn drop_expired_tokens(&self, now: Timestamp) -> Result<(), RegistryError> {
        for token in self.registry.tokens().await? {
            if !token.is_live(now) {
                self.end_token(&token, now).await?;
            }
        }
        Ok(())
    }

    async fn end_token(&self, token: &Token, now: Timestamp) -> Result<Commit, RegistryError> {
        let kind = EventKind::TokenRemoved {
            token: token.id.clone(),
        };
        let write = Write::RemoveToken(token.digest);
        let event = about(&token.operator, kind, now);
        self.registry.commit(write, vec![event]).await
    }
}

fn about(operator: &OperatorName, kind: EventKind, now: Timestamp) -> NewEvent {
    NewEvent {
        at: now,
        subject: Subject::Operator(operator.clone()),
        kind,
    }
}
