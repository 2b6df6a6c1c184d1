//! The database as the checker reads it.

use std::ops::Bound;

use async_trait::async_trait;
use fjall::Readable;

use super::super::RegistryError;
use super::super::check::{Changed, Shelves};
use super::super::rows::Table;
use super::super::staging::Ground;
use super::store::{Store, unavailable};

#[async_trait]
impl Shelves for Store {
    async fn page(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        let rows = self
            .instant()
            .range::<Vec<u8>, _>(self.keyspace(table), (start, Bound::Unbounded));
        rows.take(limit)
            .map(|item| {
                let (key, row) = item.into_inner().map_err(unavailable)?;
                Ok((key.to_vec(), row.to_vec()))
            })
            .collect()
    }

    async fn rows(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, RegistryError> {
        let row = |key: &Vec<u8>| {
            let row = self.row(table, key)?;
            Ok(row.map(|row| row.as_ref().to_vec()))
        };
        keys.iter().map(row).collect()
    }

    async fn put(&self, rows: Changed) -> Result<(), RegistryError> {
        self.write_rows(rows)
    }
}
