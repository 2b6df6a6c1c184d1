//! A connection of the pool, for as long as it is needed, and what its errors
//! mean.

use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::RegistryError;

/// How long the server may take for a statement before it gives up.
const STATEMENT: &str = "10s";
/// How long this side waits for one more connection, and for a statement's
/// answer: longer than the server, which says what it was waiting for.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);

/// A connection. It goes back to the pool only if it is [given
/// back](Lease::give_back); otherwise, and above all if nobody waits for its
/// answer any more, it is closed: it may be in the midst of a transaction.
pub(super) struct Lease(Option<Object>);

/// Why nothing came of asking the database.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing has happened, and it may go well if it is tried again: another
    /// server was faster, a deadlock was broken, or the connection was lost.
    Again(String),
    /// It is no use to try again at once.
    Refused(RegistryError),
}

impl Lease {
    /// Takes a connection from the pool.
    pub(super) async fn take(pool: &Pool) -> Result<Self, RegistryError> {
        let taken = within(pool.get()).await?;
        let object = taken.map_err(|error| unavailable(&said_by_pool(&error)))?;
        let is_new = Object::metrics(&object).recycle_count == 0;
        let lease = Self(Some(object));
        if is_new {
            let prepared = within(lease.batch_execute(&session())).await?;
            prepared.map_err(|error| unavailable(&said(&error)))?;
        }
        Ok(lease)
    }

    /// Nothing is open on it: somebody else may have it.
    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Lease {
    type Target = ClientWrapper;

    #[expect(clippy::expect_used, reason = "it is there until it is given back")]
    fn deref(&self) -> &ClientWrapper {
        self.0.as_ref().expect("it has not been given back")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// What each connection is told first. Whatever the database's own settings
/// are, nothing of ours waits for ever, and rows are found by their keys: plans
/// are kept, and must not be those of the day when the tables were empty.
pub(super) fn session() -> String {
    format!(
        "SET statement_timeout = '{STATEMENT}';
         SET idle_in_transaction_session_timeout = '{STATEMENT}';
         SET default_transaction_isolation = 'read committed';
         SET default_transaction_read_only = off;
         SET search_path = pg_catalog;
         SET plan_cache_mode = force_generic_plan;
         SET enable_seqscan = off;
         SET enable_hashjoin = off;
         SET enable_mergejoin = off;
         SET jit = off"
    )
}

/// Waits, but not for ever.
pub(super) async fn within<T>(answer: impl Future<Output = T>) -> Result<T, RegistryError> {
    let late = |_| unavailable("the database does not answer");
    tokio::time::timeout(PATIENCE, answer).await.map_err(late)
}

pub(super) fn unavailable(reason: &str) -> RegistryError {
    RegistryError::Unavailable(reason.to_owned())
}

/// An error in words. Its details are left out: they may show a row.
pub(super) fn said(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("the database says: {}", error.message());
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("the database: {error}: {cause}"),
        None => format!("the database: {error}"),
    }
}

fn said_by_pool(error: &deadpool_postgres::PoolError) -> String {
    match error {
        deadpool_postgres::PoolError::Backend(error) => said(error),
        other => format!("the database: {other}"),
    }
}

impl Failure {
    /// What an error means that came before anything was to be committed.
    pub(super) fn of(error: &Error) -> Self {
        let passing = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
        ];
        let code = error.code();
        if code == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Self::Refused(unavailable("a command has the registry for itself"));
        }
        let lost = code.is_none() && (error.is_closed() || is_broken(error));
        match lost || code.is_some_and(|code| passing.contains(code)) {
            true => Self::Again(said(error)),
            false => Self::Refused(unavailable(&said(error))),
        }
    }
}

/// How often something was tried.
pub(super) struct Tries {
    left: usize,
}

impl Tries {
    pub(super) fn at_most(times: usize) -> Self {
        Self { left: times }
    }

    /// Says whether to try again, or how it ends.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), RegistryError> {
        self.left = self.left.saturating_sub(1);
        match failure {
            Failure::Again(_) if self.left > 0 => Ok(()),
            Failure::Again(reason) => Err(RegistryError::Unavailable(reason)),
            Failure::Refused(error) => Err(error),
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error)
    }
}

/// Whether the connection broke under it.
fn is_broken(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.is_some_and(|cause| cause.is::<std::io::Error>())
}
