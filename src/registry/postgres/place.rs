//! The state that all servers of a registry have in common beside its rows:
//! the counters, and the epoch of their hints.

use deadpool_postgres::Pool;

use super::super::RegistryError;
use super::super::rows::{COUNTERS_KEY, Counters};
use super::known::decode_counters;
use super::lease::{Lease, said, unavailable, within};

/// Random bytes that the database draws for each server that begins to listen.
pub(super) type Epoch = [u8; 16];

/// Where hints are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The database's number in its cluster.
    pub(super) database: String,
    /// The newest one.
    pub(super) epoch: Epoch,
}

const READ: &str = "SELECT
        (SELECT row FROM firstwake.meta WHERE key = $1),
        (SELECT epoch FROM firstwake.hint_epoch),
        (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = current_database())";

/// The counters and the place as they are now.
pub(super) async fn read(pool: &Pool) -> Result<(Counters, Place), RegistryError> {
    let lease = Lease::take(pool).await?;
    let read = async {
        let statement = lease.prepare_cached(READ).await?;
        let row = lease.query_one(&statement, &[&COUNTERS_KEY]).await?;
        Ok::<_, tokio_postgres::Error>((
            row.try_get::<_, Option<Vec<u8>>>(0)?,
            row.try_get::<_, Option<Vec<u8>>>(1)?,
            row.try_get::<_, String>(2)?,
        ))
    };
    let read = within(read).await?;
    let (counters, epoch, database) = read.map_err(|error| unavailable(&said(&error)))?;
    lease.give_back();
    let epoch = epoch.and_then(|epoch| epoch.try_into().ok());
    let epoch = epoch.ok_or_else(|| RegistryError::Damaged("there is no epoch".to_owned()))?;
    let counters = decode_counters(counters.as_ref())?;
    Ok((counters, Place { database, epoch }))
}

/// Draws another epoch, and reads what there is then.
pub(super) async fn renew(pool: &Pool) -> Result<(Counters, Place), RegistryError> {
    let lease = Lease::take(pool).await?;
    let draw = "UPDATE firstwake.hint_epoch SET epoch = uuid_send(gen_random_uuid())";
    let drawn = within(lease.batch_execute(draw)).await?;
    drawn.map_err(|error| unavailable(&said(&error)))?;
    lease.give_back();
    read(pool).await
}
