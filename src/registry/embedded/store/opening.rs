//! Opening the database: making it where nothing is, bringing an earlier
//! format to this one, and telling what is wrong with files that are damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io, panic};

use fjall::config::{BlockSizePolicy, PartitioningPolicy, PinningPolicy};
use fjall::{Database, KeyspaceCreateOptions, Readable};

use super::super::super::backup;
use super::super::super::rows::{
    COUNTERS_KEY, Counters, FORMAT, FORMAT_KEY, Table, decode, encode, product_census_key,
};
use super::super::super::{ProductCensus, RegistryError};
use super::super::OpenError;
use super::super::at_hand::AtHand;
use super::{Store, told, unavailable};
use crate::device::Device;
use crate::identity::ProductId;

/// The file that `fjall` writes once a database is whole.
const MARKER: &str = "version";

impl Store {
    /// Makes a store in `path` if there is nothing. It is made beside its place,
    /// so that one which was cut off in the making is none.
    pub(in super::super) fn make_if_empty(path: &Path) -> Result<(), OpenError> {
        let store = |error: String| OpenError::Store {
            path: path.to_owned(),
            reason: error,
        };
        let is_empty = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(store(error.to_string())),
        };
        if is_empty {
            let beside = backup::beside(path, "new");
            let make = || {
                match fs::remove_dir_all(&beside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error.to_string());
                    }
                    _ => {}
                }
                let made = Self::open_tables(&beside).map_err(|error| error.to_string())?;
                made.begin().map_err(|error| error.to_string())?;
                drop(made);
                backup::settle(&beside, path).map_err(|error| error.to_string())
            };
            make().map_err(store)?;
        }
        Ok(())
    }

    /// Opens the store in `path`, where one is: a disk that is gone is not
    /// taken for a registry without devices.
    pub(in super::super) fn open(path: &Path) -> Result<(Self, Counters), OpenError> {
        Self::look(path)?;
        let store = |reason: String| OpenError::Store {
            path: path.to_owned(),
            reason,
        };
        // It asserts some of what it finds in its files.
        let opened = panic::catch_unwind(|| Self::open_tables(path));
        let rows = match opened {
            Ok(opened) => opened.map_err(|error| store(told(&error)))?,
            Err(_) => {
                return Err(store(
                    "its files are damaged, so restore a backup".to_owned(),
                ));
            }
        };
        let damaged = |error: RegistryError| store(error.to_string());
        match rows.read::<u32>(Table::Meta, FORMAT_KEY).map_err(damaged)? {
            Some(FORMAT) => {}
            Some(earlier) if earlier < FORMAT => {
                tracing::info!(
                    earlier,
                    now = FORMAT,
                    "the registry is brought to this format"
                );
                rows.count_devices().map_err(damaged)?;
            }
            Some(found) => {
                return Err(OpenError::NewerFormat {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            None => return Err(store("its format is missing".to_owned())),
        }
        let counters = rows.counters().map_err(damaged)?;
        Ok((rows, counters))
    }

    /// Refuses a directory that holds no store; changes nothing.
    pub(in super::super) fn look(path: &Path) -> Result<(), OpenError> {
        let sentence = match path.join(MARKER).try_exists() {
            Ok(true) => return Ok(()),
            Ok(false) => {
                "there is no complete registry; if its disk is there, restore a backup".to_owned()
            }
            Err(error) => error.to_string(),
        };
        Err(OpenError::Store {
            path: path.to_owned(),
            reason: sentence,
        })
    }

    pub(in super::super) fn open_tables(path: &Path) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .max_journaling_size(128 * 1024 * 1024)
            .cache_size(256 * 1024 * 1024)
            // Of several, one spins for as long as another merges files: a sixth
            // of an import's time went there.
            .worker_threads(1)
            .open()?;
        // A table is made with these and keeps them.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(16 * 1024 * 1024);
        let table = |name: &str| database.keyspace(name, options);
        // Most rows of devices are read once in years, each by a block: so blocks
        // are small, and what says where they lie waits in memory, which takes
        // six to eight bytes a device.
        let scattered = || {
            options()
                .data_block_size_policy(BlockSizePolicy::all(2 * 1024))
                .index_block_partitioning_policy(PartitioningPolicy::all(false))
                .index_block_pinning_policy(PinningPolicy::all(true))
                .filter_block_partitioning_policy(PartitioningPolicy::all(false))
                .filter_block_pinning_policy(PinningPolicy::all(true))
        };
        // Nobody asks these for a row that is not there, so they need no filters
        // where nearly all of their rows are.
        let full = |options: KeyspaceCreateOptions| options.expect_point_read_hits(true);
        Ok(Self {
            meta: table("meta")?,
            devices: database.keyspace("devices", || full(scattered()))?,
            index: database.keyspace("index", scattered)?,
            events: database.keyspace("events", || full(options()))?,
            mail: table("mail")?,
            at_hand: AtHand::nothing(),
            database,
        })
    }

    /// Makes an empty store one of this format.
    fn begin(&self) -> Result<(), RegistryError> {
        let mut batch = self.batch();
        let fresh = encode(&Counters::default());
        self.insert(&mut batch, Table::Meta, COUNTERS_KEY, fresh);
        self.insert(&mut batch, Table::Meta, FORMAT_KEY, encode(&FORMAT));
        batch.commit().map_err(unavailable)
    }

    /// Counts each product's devices anew. The first format did not know how
    /// many come with which secret.
    fn count_devices(&self) -> Result<(), RegistryError> {
        let mut by_product: BTreeMap<ProductId, ProductCensus> = BTreeMap::new();
        for item in self.instant().range::<&[u8], _>(&self.devices, ..) {
            let device: Device = decode(&item.value().map_err(unavailable)?)?;
            let census = by_product.entry(device.product.clone()).or_default();
            census.add(&device);
        }
        let mut batch = self.batch();
        for (product, census) in by_product {
            let key = product_census_key(&product);
            self.insert(&mut batch, Table::Meta, &key, encode(&census));
        }
        // How the first format remembered that it had counted.
        batch.remove(&self.meta, *b"counted");
        self.insert(&mut batch, Table::Meta, FORMAT_KEY, encode(&FORMAT));
        batch.commit().map_err(unavailable)
    }
}
