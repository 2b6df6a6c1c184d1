//! A small file that is private, atomic and durable.
//!
//! A power cut at any moment leaves either the old content or the new, whole.
//! The steps: a new file beside it (mode 0600), written and synced; renamed
//! over it; the directory synced. A file that others can read is never read: a
//! person should look.

mod disk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{LoadError, StoreError};

pub(crate) use self::disk::Local;
pub use self::disk::{Disk, Draft, Found, Lock, Made};

/// No such file is larger, in bytes.
pub(crate) const MAX_LENGTH: u64 = 64 * 1024;

/// Where it is, there or not.
#[derive(Clone, Debug)]
pub(crate) struct PrivateFile {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl PrivateFile {
    pub(crate) fn on(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            disk,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of this ending beside it, on the same disk.
    pub(crate) fn beside(&self, ending: &str) -> Self {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        Self::on(Arc::clone(&self.disk), path)
    }

    /// What is in it; `None` if it is not there.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, LoadError> {
        let failed = |cause| LoadError::Read {
            path: self.path.clone(),
            cause,
        };
        let Some(found) = self.disk.read(&self.path, MAX_LENGTH).map_err(failed)? else {
            return Ok(None);
        };
        if found.mode & 0o077 != 0 {
            return Err(LoadError::Exposed {
                path: self.path.clone(),
                mode: found.mode,
            });
        }
        // Whoever wrote it may have been killed just before this last step.
        self.sync_directory().map_err(failed)?;
        Ok(Some(found.bytes))
    }

    /// Puts this in it; when it returns, it is there to stay.
    pub(crate) fn replace(&self, content: &[u8]) -> Result<(), StoreError> {
        self.stage(content)?.publish()
    }

    /// Keeps other processes from the same file; waits for one that is there.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        self.prepare()?;
        let lock = self.beside(".lock");
        let locked = self.disk.lock(&lock.path);
        locked.map_err(|error| self.failed("lock", error))
    }

    /// The same without waiting; `None` if another process was faster.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, StoreError> {
        self.prepare()?;
        let lock = self.beside(".lock");
        let locked = self.disk.try_lock(&lock.path);
        locked.map_err(|error| self.failed("lock", error))
    }

    /// Writes and syncs the new file beside the old one.
    pub(crate) fn stage(&self, content: &[u8]) -> Result<Staged<'_>, StoreError> {
        self.prepare()?;
        let staged = Staged {
            target: self,
            path: self.beside(".new").path,
        };
        // One left by a power cut may hold a key that nobody else removes.
        self.disk
            .remove(&staged.path)
            .map_err(|error| self.failed("clear the way for", error))?;
        let mut draft = self
            .disk
            .create(&staged.path)
            .map_err(|error| self.failed("create", error))?;
        draft
            .write(content)
            .map_err(|error| self.failed("write", error))?;
        draft.sync().map_err(|error| self.failed("sync", error))?;
        Ok(staged)
    }

    /// A directory that is not there is made, for its owner only, to stay.
    fn prepare(&self) -> Result<(), StoreError> {
        let directory = self.directory();
        let made = match self.disk.make_directory(directory) {
            Ok(Made::Before) => Ok(()),
            Ok(Made::Now) => {
                let above = directory.parent().map_or(Path::new("."), or_here);
                self.disk.sync_directory(above)
            }
            Err(error) => Err(error),
        };
        made.map_err(|error| self.failed("make the directory of", error))
    }

    /// Makes a rename last.
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory(self.directory())
    }

    fn directory(&self) -> &Path {
        self.path.parent().map_or(Path::new("."), or_here)
    }

    fn failed(&self, step: &'static str, cause: io::Error) -> StoreError {
        StoreError {
            step,
            path: self.path.clone(),
            cause,
        }
    }
}

/// The parent of a bare name is the directory that the process is in.
fn or_here(path: &Path) -> &Path {
    if path == Path::new("") {
        Path::new(".")
    } else {
        path
    }
}

/// A new file, whole and synced, that nobody sees yet.
#[must_use = "until it is published, the old file counts"]
pub(crate) struct Staged<'a> {
    target: &'a PrivateFile,
    path: PathBuf,
}

impl Staged<'_> {
    /// Puts it in the old one's place, and makes that durable too.
    fn publish(self) -> Result<(), StoreError> {
        let Self { target, path } = self;
        target
            .disk
            .rename(&path, &target.path)
            .map_err(|error| target.failed("rename", error))?;
        target
            .sync_directory()
            .map_err(|error| target.failed("sync the directory of", error))
    }
}
