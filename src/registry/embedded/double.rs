//! A double of a store, for a check that must not change it: opening one cuts
//! journals, flushes what they hold, and brings it to this format.
//!
//! Tables are never written again once they are whole, so the double has the
//! same files under names of its own; everything else is copied. It lies beside
//! the store, and goes with the value.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{OpenError, journal};
use crate::registry::backup;

/// The directory of `fjall` that holds a table's files.
const TABLES: &str = "tables";

/// A directory that opens as the store does.
#[derive(Debug)]
pub(super) struct Double(PathBuf);

impl Double {
    /// Removes one that a check of the store in `path` left when it was killed:
    /// it keeps tables on the disk that the store has replaced.
    pub(super) fn clear(path: &Path) {
        drop(Self(Self::place(path)));
    }

    fn place(path: &Path) -> PathBuf {
        backup::beside(path, "checking")
    }

    /// Makes one of the store in `path`, which nothing has open.
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        let beside = Self::place(path);
        let made = remove(&beside).and_then(|()| {
            let double = Self(beside);
            copy(path, &double.0, Files::Copied)?;
            Ok(double)
        });
        made.map_err(|error| OpenError::Store {
            path: path.to_owned(),
            reason: format!("it cannot be read beside its place: {error}"),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the double of the registry could not be removed");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How the files of a directory come into the double.
#[derive(Clone, Copy)]
enum Files {
    Copied,
    Linked,
}

fn copy(from: &Path, to: &Path, files: Files) -> io::Result<()> {
    backup::private_directory(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            let files = match entry.file_name() == TABLES {
                true => Files::Linked,
                false => files,
            };
            copy(&path, &to, files)?;
            continue;
        }
        let linked = match files {
            Files::Linked => fs::hard_link(&path, &to),
            Files::Copied => Err(io::ErrorKind::Unsupported.into()),
        };
        // A file system without links has them copied.
        match (linked, path.extension() == Some("jnl".as_ref())) {
            (Ok(()), _) => {}
            // Without the room that `fjall` keeps behind the last batch.
            (Err(_), true) => fs::write(&to, journal::used(&path)?)?,
            (Err(_), false) => drop(fs::copy(&path, &to)?),
        }
    }
    Ok(())
}
