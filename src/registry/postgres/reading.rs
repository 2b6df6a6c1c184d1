//! Reading what was committed.
//!
//! Rows that belong together are read in one statement, or in one transaction
//! that sees one instant. A connection that turns out to be lost is replaced
//! once or twice: the server may have been restarted since it was used.

use deadpool_postgres::Pool;
use futures_util::future;
use tokio_postgres::Error;

use super::super::RegistryError;
use super::super::rows::{self, Row, Table};
use super::lease::{Failure, Lease, Tries, within};
use super::tables::{Pair, Select};

/// How often a read is tried, each time over another connection.
const ATTEMPTS: usize = 4;

/// Says, from the rows that were read first, which further ones to read.
pub(super) type Then = fn(Vec<Pair>) -> Result<Select, RegistryError>;

/// One row.
pub(super) async fn row<T: Row>(
    pool: &Pool,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, RegistryError> {
    let found = all(pool, &Select::Row(table, key.to_vec())).await?;
    let row = found.first().map(|(_, row)| rows::decode(row));
    row.transpose()
}

/// All that are selected.
pub(super) async fn all(pool: &Pool, select: &Select) -> Result<Vec<Pair>, RegistryError> {
    let mut tries = Tries::at_most(ATTEMPTS);
    loop {
        match once(pool, select).await {
            Ok(found) => return Ok(found),
            Err(failure) => tries.failed(failure)?,
        }
    }
}

/// Those that the first ones name, as they were at the same instant.
pub(super) async fn all_then(
    pool: &Pool,
    first: &Select,
    then: Then,
) -> Result<Vec<Pair>, RegistryError> {
    let mut tries = Tries::at_most(ATTEMPTS);
    loop {
        match at_one_instant(pool, first, then).await {
            Ok(found) => return Ok(found),
            Err(failure) => tries.failed(failure)?,
        }
    }
}

async fn once(pool: &Pool, select: &Select) -> Result<Vec<Pair>, Failure> {
    let lease = Lease::take(pool).await?;
    let found = ask(async {
        let statement = select.prepare(&lease).await?;
        select.run(&lease, &statement).await
    });
    let found = found.await?;
    lease.give_back();
    Ok(found)
}

async fn at_one_instant(pool: &Pool, first: &Select, then: Then) -> Result<Vec<Pair>, Failure> {
    let lease = Lease::take(pool).await?;
    let statement = ask(first.prepare(&lease)).await?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let read = future::try_join(lease.batch_execute(begin), first.run(&lease, &statement));
    let ((), found) = ask(read).await?;
    let further = then(found)?;
    let statement = ask(further.prepare(&lease)).await?;
    let read = future::try_join(
        further.run(&lease, &statement),
        lease.batch_execute("COMMIT"),
    );
    let (found, ()) = ask(read).await?;
    lease.give_back();
    Ok(found)
}

async fn ask<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    within(answer).await?.map_err(|error| Failure::of(&error))
}
