//! The tables, and every statement that names one.
//!
//! Keys are compared as bytes, so paging and prefixes are what they are in the
//! store in a directory. Each name says its schema: nobody's search path
//! matters.

use deadpool_postgres::ClientWrapper;
use futures_util::future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::super::rows::Table;

/// A row with its key.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// In the order in which rows of several are locked.
pub(super) const TABLES: [Table; 5] = [
    Table::Meta,
    Table::Devices,
    Table::Index,
    Table::Events,
    Table::Mail,
];

/// Behind every key.
pub(super) const END: [u8; 9] = [u8::MAX; 9];

/// Which rows to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Select {
    /// One, if it is there.
    Row(Table, Vec<u8>),
    /// Those with these keys that are there, in the order of their keys.
    Rows(Table, Vec<Vec<u8>>),
    /// Those from one key on, before another, in the order of their keys.
    Range {
        /// Where.
        table: Table,
        /// The first.
        from: Vec<u8>,
        /// Behind the last.
        until: Vec<u8>,
        /// So many at most.
        limit: usize,
    },
}

impl Select {
    /// All rows whose keys begin so.
    pub(super) fn under(table: Table, prefix: &[u8]) -> Self {
        Self::Range {
            table,
            from: prefix.to_vec(),
            until: behind(prefix),
            limit: usize::MAX,
        }
    }

    pub(super) async fn prepare(&self, client: &ClientWrapper) -> Result<Statement, Error> {
        let sql = match self {
            Self::Row(table, _) => {
                let table = name(*table);
                format!("SELECT key, row FROM {table} WHERE key = $1")
            }
            Self::Rows(table, _) => {
                let table = name(*table);
                format!("SELECT key, row FROM {table} WHERE key = ANY($1::bytea[]) ORDER BY key")
            }
            Self::Range { table, .. } => {
                let table = name(*table);
                format!(
                    "SELECT key, row FROM {table} WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"
                )
            }
        };
        client.prepare_cached(&sql).await
    }

    pub(super) async fn run(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<Vec<Pair>, Error> {
        let rows = match self {
            Self::Row(_, key) => client.query(statement, &[key]).await?,
            Self::Rows(_, keys) => client.query(statement, &[keys]).await?,
            Self::Range {
                from, until, limit, ..
            } => {
                let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
                let bounds: [&(dyn ToSql + Sync); 3] = [from, until, &limit];
                client.query(statement, &bounds).await?
            }
        };
        rows.iter().map(pair).collect()
    }
}

/// Reads rows and keeps them as they are until the transaction ends. Keys that
/// are not there yet are not kept: another server may write them meanwhile.
pub(super) async fn lock(
    client: &ClientWrapper,
    table: Table,
    keys: &[&[u8]],
) -> Result<Vec<Pair>, Error> {
    let table = name(table);
    let sql = format!(
        "SELECT key, row FROM {table} WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&keys]).await?;
    rows.iter().map(pair).collect()
}

/// The same for all rows whose keys begin so.
pub(super) async fn lock_under(
    client: &ClientWrapper,
    table: Table,
    prefix: &[u8],
) -> Result<Vec<Pair>, Error> {
    let table = name(table);
    let sql = format!(
        "SELECT key, row FROM {table} WHERE key >= $1 AND key < $2 ORDER BY key FOR UPDATE"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client
        .query(&statement, &[&prefix, &behind(prefix)])
        .await?;
    rows.iter().map(pair).collect()
}

/// What is to be written to one table. All of it is ordered by key.
#[derive(Debug, Default)]
pub(super) struct TableChanges {
    /// Rows that are not there. If one is, somebody was faster.
    pub(super) inserted: Vec<Pair>,
    /// Rows that are there, and locked.
    pub(super) updated: Vec<Pair>,
    /// Rows that are there, and locked.
    pub(super) deleted: Vec<Vec<u8>>,
}

/// A statement with what it is given, ready to be sent.
pub(super) struct Ready<'a> {
    statement: Statement,
    columns: Vec<Vec<&'a [u8]>>,
}

impl TableChanges {
    /// The statements that make the changes.
    pub(super) async fn prepare<'a>(
        &'a self,
        client: &ClientWrapper,
        table: Table,
    ) -> Result<Vec<Ready<'a>>, Error> {
        let name = name(table);
        let given = "unnest($1::bytea[], $2::bytea[]) AS given(key, row)";
        let mut all = Vec::new();
        if !self.deleted.is_empty() {
            let sql = format!("DELETE FROM {name} WHERE key = ANY($1::bytea[])");
            all.push(Ready {
                statement: client.prepare_cached(&sql).await?,
                columns: vec![self.deleted.iter().map(Vec::as_slice).collect()],
            });
        }
        if !self.updated.is_empty() {
            let sql = format!(
                "UPDATE {name} AS kept SET row = given.row FROM {given} WHERE kept.key = given.key"
            );
            all.push(Ready {
                statement: client.prepare_cached(&sql).await?,
                columns: columns(&self.updated),
            });
        }
        if !self.inserted.is_empty() {
            let sql = format!("INSERT INTO {name} (key, row) SELECT key, row FROM {given}");
            all.push(Ready {
                statement: client.prepare_cached(&sql).await?,
                columns: columns(&self.inserted),
            });
        }
        Ok(all)
    }
}

impl Ready<'_> {
    pub(super) async fn run(&self, client: &ClientWrapper) -> Result<(), Error> {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns
            .map(|column| column as &(dyn ToSql + Sync))
            .collect();
        let written = client.execute(&self.statement, &columns).await?;
        let meant = self.columns.first().map_or(0, Vec::len);
        debug_assert_eq!(written, meant as u64, "each row is locked, or new");
        Ok(())
    }
}

/// Writes rows, whether they are there or not, and removes others.
pub(super) async fn put(
    client: &ClientWrapper,
    table: Table,
    kept: &[Pair],
    removed: &[&[u8]],
) -> Result<(), Error> {
    let name = name(table);
    if !removed.is_empty() {
        let sql = format!("DELETE FROM {name} WHERE key = ANY($1::bytea[])");
        client.execute(&sql, &[&removed]).await?;
    }
    if !kept.is_empty() {
        let sql = format!(
            "INSERT INTO {name} (key, row) SELECT * FROM unnest($1::bytea[], $2::bytea[])
             ON CONFLICT (key) DO UPDATE SET row = excluded.row"
        );
        let columns = columns(kept);
        client.execute(&sql, &[&columns[0], &columns[1]]).await?;
    }
    Ok(())
}

/// Sends statements one behind the other without waiting between them, and
/// waits for all of them.
pub(super) async fn run_all(client: &ClientWrapper, all: &[Ready<'_>]) -> Vec<Result<(), Error>> {
    future::join_all(all.iter().map(|ready| ready.run(client))).await
}

fn columns(pairs: &[Pair]) -> Vec<Vec<&[u8]>> {
    let keys = pairs.iter().map(|(key, _)| key.as_slice()).collect();
    let rows = pairs.iter().map(|(_, row)| row.as_slice()).collect();
    vec![keys, rows]
}

fn pair(row: &Row) -> Result<Pair, Error> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The smallest key behind all those that begin so.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Meta => "firstwake.meta",
        Table::Devices => "firstwake.devices",
        Table::Index => "firstwake.index",
        Table::Events => "firstwake.events",
        Table::Mail => "firstwake.mail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        let check = |prefix: &[u8], end: &[u8]| assert_eq!(behind(prefix), end);
        check(b"T", b"U");
        check(&[b'v', 0, 0, 0, 7], &[b'v', 0, 0, 0, 8]);
        check(&[b'v', 0, 0, 1, 255], &[b'v', 0, 0, 2]);
    }
}
