//! The database as the checker reads it, while nobody else has it open.

use async_trait::async_trait;
use deadpool_postgres::Pool;

use super::super::RegistryError;
use super::super::check::{Changed, Shelves};
use super::super::rows::Table;
use super::lease::{Lease, said, unavailable, within};
use super::reading;
use super::tables::{self, Pair, Select, TABLES};

/// All tables, by way of the pool.
pub(super) struct Tables<'a>(pub(super) &'a Pool);

#[async_trait]
impl Shelves for Tables<'_> {
    async fn page(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError> {
        let select = Select::Range {
            table,
            from: after.map_or_else(Vec::new, |key| [key, &[0]].concat()),
            until: tables::END.to_vec(),
            limit,
        };
        reading::all(self.0, &select).await
    }

    async fn rows(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, RegistryError> {
        let found = reading::all(self.0, &Select::Rows(table, keys.to_vec())).await?;
        let row = |key: &Vec<u8>| {
            let at = found.binary_search_by(|(found, _)| found.cmp(key)).ok()?;
            Some(found[at].1.clone())
        };
        Ok(keys.iter().map(row).collect())
    }

    async fn put(&self, rows: Changed) -> Result<(), RegistryError> {
        let lease = Lease::take(self.0).await?;
        let written = async {
            lease.batch_execute("BEGIN").await?;
            for table in TABLES {
                let of_table = rows.iter().filter(|((of, _), _)| *of == table);
                let (mut kept, mut removed): (Vec<Pair>, Vec<&[u8]>) = Default::default();
                for ((_, key), row) in of_table {
                    match row {
                        Some(row) => kept.push((key.clone(), row.clone())),
                        None => removed.push(key),
                    }
                }
                tables::put(&lease, table, &kept, &removed).await?;
            }
            lease.batch_execute("COMMIT").await
        };
        let written = within(written).await?;
        written.map_err(|error| unavailable(&said(&error)))?;
        lease.give_back();
        Ok(())
    }
}
