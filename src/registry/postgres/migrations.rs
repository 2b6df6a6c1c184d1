//! Makes the tables what this program expects, once, whichever of several
//! servers comes first, and refuses those that a newer program made.

use deadpool_postgres::Pool;
use tokio_postgres::Error;

use super::super::RegistryError;
use super::super::rows::{self, COUNTERS_KEY, Counters, FORMAT, FORMAT_KEY, Table};
use super::known::decode_counters;
use super::lease::{Lease, said, unavailable, within};
use super::tables::{Pair, Select};
use super::{MIGRATION_LOCK, OPEN_LOCK, OpenError};

/// What is done to a database in turn. One that was applied anywhere is never
/// changed again.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/1.sql")];

/// Brings the database to what this program expects. All of it, or nothing.
pub(super) async fn apply(pool: &Pool) -> Result<Counters, OpenError> {
    let lease = Lease::take(pool).await?;
    ask(lease.batch_execute(&format!(
        "BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
    )))
    .await?;
    apply_missing(&lease).await?;
    check_format(&lease).await?;
    ask(lease.batch_execute("COMMIT")).await?;
    lease.give_back();
    Ok(counters(pool).await?)
}

/// Sees to it that there is a registry, and makes nothing.
pub(super) async fn require(pool: &Pool) -> Result<(), OpenError> {
    let lease = Lease::take(pool).await?;
    let sql = "SELECT to_regclass('firstwake.meta') IS NOT NULL";
    let there = ask(lease.query_one(sql, &[])).await?;
    let there = there.get::<_, bool>(0) && read(&lease, FORMAT_KEY).await?.is_some();
    lease.give_back();
    match there {
        true => Ok(()),
        false => Err(OpenError::Gone),
    }
}

async fn apply_missing(lease: &Lease) -> Result<(), OpenError> {
    let applied = applied(lease).await?;
    let known = MIGRATIONS.len();
    let Some(missing) = MIGRATIONS.get(applied..) else {
        return Err(OpenError::NewerTables {
            found: applied,
            known,
        });
    };
    if missing.is_empty() {
        return Ok(());
    }
    if applied > 0 {
        // Whoever has it open expects the tables as they are.
        let sql = format!("SELECT pg_try_advisory_xact_lock({OPEN_LOCK})");
        let is_free = ask(lease.query_one(&sql, &[])).await?;
        if !is_free.get::<_, bool>(0) {
            return Err(OpenError::InUse);
        }
    }
    ask(lease.batch_execute("SET LOCAL statement_timeout = 0")).await?;
    for (number, sql) in MIGRATIONS.iter().enumerate().skip(applied) {
        let number = number + 1;
        tracing::info!(number, "the registry's tables are brought to this version");
        // However long it takes.
        let done = lease.batch_execute(sql).await;
        done.map_err(|error| OpenError::Database(said(&error)))?;
        let note = format!("INSERT INTO firstwake.migrations (number) VALUES ({number})");
        ask(lease.batch_execute(&note)).await?;
    }
    Ok(())
}

/// How many have been applied.
async fn applied(lease: &Lease) -> Result<usize, OpenError> {
    let sql = "SELECT to_regnamespace('firstwake') IS NOT NULL,
                      to_regclass('firstwake.migrations') IS NOT NULL";
    let there = ask(lease.query_one(sql, &[])).await?;
    if !there.get::<_, bool>(0) {
        ask(lease.batch_execute("CREATE SCHEMA firstwake")).await?;
    }
    if !there.get::<_, bool>(1) {
        let sql = "CREATE TABLE firstwake.migrations (
                       number integer PRIMARY KEY,
                       applied_at timestamptz NOT NULL DEFAULT now()
                   )";
        ask(lease.batch_execute(sql)).await?;
    }
    let sql = "SELECT coalesce(max(number), 0) FROM firstwake.migrations";
    let newest: i32 = ask(lease.query_one(sql, &[])).await?.get(0);
    Ok(usize::try_from(newest).unwrap_or(0))
}

/// Makes an empty registry one of this format; what a newer program wrote is
/// not touched.
async fn check_format(lease: &Lease) -> Result<(), OpenError> {
    match read(lease, FORMAT_KEY).await? {
        Some((_, row)) => match rows::decode::<u32>(&row)? {
            FORMAT => Ok(()),
            found => Err(OpenError::OtherFormat {
                found,
                known: FORMAT,
            }),
        },
        None => {
            let sql = "INSERT INTO firstwake.meta (key, row) VALUES ($1, $2), ($3, $4)";
            let format = rows::encode(&FORMAT);
            let counters = rows::encode(&Counters::default());
            ask(lease.execute(sql, &[&FORMAT_KEY, &format, &COUNTERS_KEY, &counters])).await?;
            Ok(())
        }
    }
}

/// The counters as they are now.
pub(super) async fn counters(pool: &Pool) -> Result<Counters, RegistryError> {
    let lease = Lease::take(pool).await?;
    let found = read(&lease, COUNTERS_KEY).await?;
    lease.give_back();
    decode_counters(found.as_ref().map(|(_, row)| row))
}

async fn read(lease: &Lease, key: &[u8]) -> Result<Option<Pair>, RegistryError> {
    let select = Select::Row(Table::Meta, key.to_vec());
    let read = async {
        let statement = select.prepare(lease).await?;
        select.run(lease, &statement).await
    };
    let read = within(read).await?;
    let mut found = read.map_err(|error| unavailable(&said(&error)))?;
    Ok(found.pop())
}

async fn ask<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, OpenError> {
    let answered = within(answer).await?;
    answered.map_err(|error| OpenError::Database(said(&error)))
}
