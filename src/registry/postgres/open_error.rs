//! Why a database is not opened, in sentences that say what to do.

use super::super::RegistryError;

/// Why a database cannot be opened as a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its tables were made by a newer program.
    #[error(
        "the database has tables of version {found}, this program knows version {known}: use the newer program"
    )]
    NewerTables {
        /// What is noted there.
        found: usize,
        /// What this program makes.
        known: usize,
    },
    /// Its rows were written by another program.
    #[error(
        "the database was written in format {found}, this program knows format {known}: use the program that wrote it"
    )]
    OtherFormat {
        /// What is noted there.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// Its tables have to be changed, and servers have it open.
    #[error(
        "the database has to be brought to this version and servers of an earlier one are running: stop them first"
    )]
    InUse,
    /// There is none, and there was one.
    #[error(
        "the database holds no registry any more: restore it, or take registry.used out of the \
         data directory to begin a new one"
    )]
    Gone,
    /// Somebody has it for itself.
    #[error("another command has the registry for itself: try again when it has ended ({by})")]
    Taken {
        /// Its connection, in words.
        by: String,
    },
    /// It was to be opened alone, and others have it open.
    #[error("other servers or commands have the registry open: stop them first ({by})")]
    NotAlone {
        /// Their connections, in words.
        by: String,
    },
    /// Anything else.
    #[error("{0}")]
    Database(String),
}

impl From<RegistryError> for OpenError {
    fn from(error: RegistryError) -> Self {
        Self::Database(error.to_string())
    }
}
