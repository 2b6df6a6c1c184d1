//! Why a store is not opened, in sentences that say what to do.

use std::path::{Path, PathBuf};

use super::super::RegistryError;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a newer program.
    #[error(
        "{path} was written in format {found}, this program knows format {known}: use the newer program"
    )]
    NewerFormat {
        /// Where the store is.
        path: PathBuf,
        /// What is written there.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// A journal is damaged before writes that are whole. Nothing was changed.
    #[error(
        "{path} cannot be opened: its journal {journal} is damaged at byte {at}, and writes behind \
         that are whole; {lost}. Nothing was changed. Keep the directory and restore a backup; if \
         there is none, `firstwake registry check --repair --accept-loss` gives up what is damaged"
    )]
    Damaged {
        /// Where the store is.
        path: PathBuf,
        /// The journal's file name.
        journal: String,
        /// Bytes before the damage.
        at: u64,
        /// Which events are concerned.
        lost: String,
    },
    /// The store ends before what it had acknowledged. Nothing was changed.
    #[error(
        "{path} cannot be opened: it ends before what it had acknowledged, as after damage to its \
         newest files or when older files were put in their place; {lost}. Nothing was changed. \
         Keep the directory and restore a backup; if there is none, `firstwake registry check \
         --repair --accept-loss` goes on with what is there"
    )]
    Behind {
        /// Where the store is.
        path: PathBuf,
        /// Which events are concerned.
        lost: String,
    },
    /// Anything else.
    #[error("{path} cannot be opened: {reason}")]
    Store {
        /// Where the store is.
        path: PathBuf,
        /// What the store says.
        reason: String,
    },
}

impl OpenError {
    /// The same of the store in another place.
    #[must_use]
    pub(super) fn of(mut self, place: &Path) -> Self {
        let (Self::NewerFormat { path, .. }
        | Self::Damaged { path, .. }
        | Self::Behind { path, .. }
        | Self::Store { path, .. }) = &mut self;
        place.clone_into(path);
        self
    }
}

/// Why a store could not be checked to its end.
#[derive(Debug, thiserror::Error)]
pub enum NotChecked {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read on, or not be written.
    #[error(transparent)]
    Store(#[from] RegistryError),
}
