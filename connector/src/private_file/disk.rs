//! What is asked of a disk: the seam at which a test pulls the plug.
//!
//! Every step by itself, so that the order in which they are taken is the
//! caller's, and can be seen. Nothing here decides anything.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// A place for small files.
pub trait Disk: fmt::Debug + Send + Sync {
    /// At most `most` bytes of the file and its permission bits; `None` if it
    /// is not there.
    fn read(&self, path: &Path, most: u64) -> io::Result<Option<Found>>;
    /// A directory for its owner only. One that is there is left as it is.
    fn make_directory(&self, path: &Path) -> io::Result<Made>;
    /// Removes the file; one that is not there is removed already.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// A new file for its owner only, which must not be there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Draft>>;
    /// Puts a file in another's place, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in it last.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Keeps other processes out until it is dropped; waits where another one
    /// keeps this one out.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
    /// The same without waiting: `None`.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Lock>>;
}

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was not there.
    Now,
    /// It was there.
    Before,
}

/// A file that is being written.
pub trait Draft {
    /// Appends these bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written last.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file as it was read.
pub struct Found {
    /// What is in it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Who may do what with it.
    pub mode: u32,
}

/// While it lives, no other process has the same.
#[derive(Debug)]
pub struct Lock {
    /// None on a disk that no other process can see.
    _file: Option<File>,
}

impl Lock {
    /// On a disk that belongs to this process alone.
    pub fn unshared() -> Self {
        Self { _file: None }
    }
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl Disk for Local {
    fn read(&self, path: &Path, most: u64) -> io::Result<Option<Found>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        // Room for all of it at once: growing would leave copies of a key behind.
        let room = usize::try_from(most).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(Found { bytes, mode }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<Made> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(Made::Now),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Made::Before),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Draft>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = lock_file(path)?;
        file.lock()?;
        Ok(Lock { _file: Some(file) })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = lock_file(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: Some(file) })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

impl Draft for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
