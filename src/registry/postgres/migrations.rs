//! Makes the tables what this program expects, once, whichever of several
//! servers comes first, and refuses those that a newer program made.

use deadpool_postgres::Pool;
use tokio_postgres::Error;

use tokio_postgres::error::SqlState;

use super::super::RegistryError;
use super::super::rows::{self, COUNTERS_KEY, Counters, FORMAT, FORMAT_KEY, Table};
use super::OpenError;
use super::lease::{Lease, said, unavailable, within};
use super::tables::{Pair, Select};

/// What is done to a database in turn. One that was applied anywhere is never
/// changed again.
pub(super) const MIGRATIONS: [&str; 2] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
];
/// How often it is tried where several begin at once.
const ATTEMPTS: usize = 5;

/// Brings the database to what this program expects. All of it, or nothing.
pub(super) async fn apply(pool: &Pool) -> Result<(), OpenError> {
    let mut tries = ATTEMPTS;
    loop {
        tries -= 1;
        match apply_once(pool).await {
            // Another server has made the schema, or the table, at this moment.
            Err(Trouble::Overtaken(_)) if tries > 0 => {}
            Err(Trouble::Overtaken(error) | Trouble::Lasting(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Why it was not brought up to date.
enum Trouble {
    /// Something is there that was not there a moment before.
    Overtaken(OpenError),
    Lasting(OpenError),
}

async fn apply_once(pool: &Pool) -> Result<(), Trouble> {
    let lease = Lease::take(pool).await?;
    ask(lease.batch_execute("BEGIN; SET LOCAL synchronous_commit = on")).await?;
    make_room(&lease).await?;
    // Whoever made one of them has the others wait here. No more than a
    // statement may: then this is an error that says so.
    let lock = "LOCK TABLE firstwake.migrations IN EXCLUSIVE MODE";
    ask(lease.batch_execute(lock)).await?;
    apply_missing(&lease).await?;
    check_format(&lease).await?;
    ask(lease.batch_execute("COMMIT")).await?;
    lease.give_back();
    Ok(())
}

/// Makes the schema and the table of migrations, where they are not.
async fn make_room(lease: &Lease) -> Result<(), Trouble> {
    let make = async |sql: &str| {
        let overtaken = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::DUPLICATE_TABLE,
        ];
        let made = within(lease.batch_execute(sql)).await?;
        made.map_err(|error| {
            let told = OpenError::Database(said(&error));
            match error.code().is_some_and(|code| overtaken.contains(code)) {
                true => Trouble::Overtaken(told),
                false => Trouble::Lasting(told),
            }
        })
    };
    let sql = "SELECT to_regnamespace('firstwake') IS NOT NULL,
                      to_regclass('firstwake.migrations') IS NOT NULL";
    let there = ask(lease.query_one(sql, &[])).await?;
    if !there.get::<_, bool>(0) {
        make("CREATE SCHEMA firstwake").await?;
    }
    if !there.get::<_, bool>(1) {
        make(
            "CREATE TABLE firstwake.migrations (
                 number integer PRIMARY KEY,
                 applied_at timestamptz NOT NULL DEFAULT now()
             )",
        )
        .await?;
    }
    Ok(())
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
    // Whoever has it open expects the tables as they are. The first version had
    // no such table.
    if applied > 1 {
        let lock = "LOCK TABLE firstwake.presence IN EXCLUSIVE MODE NOWAIT";
        let locked = within(lease.batch_execute(lock)).await?;
        locked.map_err(|error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => OpenError::InUse,
            _ => OpenError::Database(said(&error)),
        })?;
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

impl<E: Into<OpenError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Lasting(error.into())
    }
}
