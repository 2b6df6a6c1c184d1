//! What a copy of a registry is, whichever store makes it: a directory with a
//! list of what has to be in it.
//!
//! ```text
//! DIR/
//!   backup.json   what it holds; there only if it is complete
//!   registry/     the copy, which opens
//! ```
//!
//! A copy never holds the sealing key: whoever finds the copy has digests and
//! sealed secrets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::FORMAT;
use super::{OpenError, RegistryError};
use crate::clock::Timestamp;

/// The layout of [`Inventory`] and of the directory.
const LAYOUT: u32 = 1;

const LIST: &str = "backup.json";
const STORE: &str = "registry";

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    firstwake_backup: u32,
    /// The format of the store.
    pub format: u32,
    /// The moment that it shows.
    pub made_at: Timestamp,
    /// Devices in it.
    pub devices: u64,
    /// The number of its newest event.
    pub newest_event: u64,
    /// The newest feed that was given out.
    pub newest_feed: u32,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// The copy's files, each with its SHA-256 in hex.
    pub files: BTreeMap<PathBuf, String>,
}

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
pub enum NotBackedUp {
    /// The store has tools of its own for that.
    #[error(
        "this registry is not in a directory of its own: it is backed up with its database's \
         tools, PostgreSQL's with pg_dump"
    )]
    OwnTools,
    /// It would be mixed up with something else.
    #[error("{0} is not empty: name a directory that is new or empty")]
    NotEmpty(PathBuf),
    /// Somebody is, or was, at it.
    #[error(
        "{0} is there: another backup to this place is under way, or one was cut off; if none is \
         under way, remove it"
    )]
    UnderWay(PathBuf),
    /// Whoever wanted it has gone.
    #[error("the backup was given up before it was complete, and nothing is left of it")]
    GivenUp,
    /// A file cannot be written.
    #[error("{path} cannot be written: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The copy cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The registry cannot be read, or the copy not be written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a copy was not put into place. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// There is no list in it.
    #[error("{0} holds no complete backup: it has no {LIST}")]
    NoBackup(PathBuf),
    /// The list says something else.
    #[error("{0} is no list of a backup that this program knows: use the program that made it")]
    Unknown(PathBuf),
    /// Written by a newer program.
    #[error(
        "the backup is of a registry in format {found}, this program knows format {FORMAT}: use \
         the newer program"
    )]
    NewerFormat {
        /// What the list says.
        found: u32,
    },
    /// What is there stays.
    #[error("{0} is there: a registry is never written over; move it away first")]
    Occupied(PathBuf),
    /// Not as it was made.
    #[error("the backup is damaged: {0} is not as it was made")]
    Damaged(PathBuf),
    /// A row is missing, or there is one too many.
    #[error("the backup is damaged: table {table} has {found} rows, its list says {listed}")]
    Rows {
        /// Which.
        table: &'static str,
        /// In the list.
        listed: u64,
        /// In the copy.
        found: u64,
    },
    /// Feeds would be given out that there may be.
    #[error("no feed behind {0} can be given out: name an earlier one with --feeds-after")]
    NoFeeds(u64),
    /// A file cannot be read or written.
    #[error("{path} cannot be copied: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The copy cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A directory that is to hold a copy: made beside its place, and moved there
/// when it is complete and on disk.
#[derive(Debug)]
pub(super) struct Draft {
    place: PathBuf,
    beside: PathBuf,
    /// Set once it is in its place.
    kept: bool,
}

impl Draft {
    /// Begins one for a place that is new or empty.
    pub(super) fn begin(place: &Path) -> Result<Self, NotBackedUp> {
        let file = |path: &Path, error| NotBackedUp::File {
            path: path.to_owned(),
            error,
        };
        match fs::read_dir(place) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(NotBackedUp::NotEmpty(place.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file(place, error)),
        }
        let beside = beside(place, "partial");
        match private_directory(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(NotBackedUp::UnderWay(beside))
            }
            Err(error) => Err(file(&beside, error)),
            Ok(()) => Ok(Self {
                place: place.to_owned(),
                beside,
                kept: false,
            }),
        }
    }

    /// Where the copy of the store comes.
    pub(super) fn store(&self) -> PathBuf {
        self.beside.join(STORE)
    }

    /// Writes the list, brings everything to disk and moves it into place.
    pub(super) fn keep(mut self, inventory: &mut Inventory) -> Result<(), NotBackedUp> {
        let list = self.beside.join(LIST);
        let mut keep = || {
            inventory.files = digests(&self.store())?;
            let mut file = File::create_new(&list)?;
            serde_json::to_writer_pretty(&mut file, &*inventory)?;
            file.write_all(b"\n")?;
            sync_all(&self.beside)?;
            fs::rename(&self.beside, &self.place)?;
            sync_parent(&self.place)
        };
        keep().map_err(|error| NotBackedUp::File {
            path: self.place.clone(),
            error,
        })?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_dir_all(&self.beside)
        {
            tracing::warn!(%error, path = %self.beside.display(), "what is left of a backup could not be removed");
        }
    }
}

impl Inventory {
    pub(super) fn new(made_at: Timestamp) -> Self {
        Self {
            firstwake_backup: LAYOUT,
            format: FORMAT,
            made_at,
            devices: 0,
            newest_event: 0,
            newest_feed: 0,
            rows: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Reads the list of a copy that is complete and of a format that this
    /// program knows.
    pub fn read(backup: &Path) -> Result<Self, NotRestored> {
        let path = backup.join(LIST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NotRestored::NoBackup(backup.to_owned()));
            }
            Err(error) => return Err(NotRestored::File { path, error }),
        };
        let read: Self =
            serde_json::from_slice(&text).map_err(|_| NotRestored::Unknown(path.clone()))?;
        match read {
            Self {
                firstwake_backup: LAYOUT,
                ..
            } if read.format <= FORMAT => Ok(read),
            Self {
                firstwake_backup: LAYOUT,
                format,
                ..
            } => Err(NotRestored::NewerFormat { found: format }),
            _ => Err(NotRestored::Unknown(path)),
        }
    }
}

/// Copies a backup's store beside the place that it is to have, to disk.
/// What an earlier attempt has left there goes.
pub(super) fn fetch(
    backup: &Path,
    inventory: &Inventory,
    place: &Path,
) -> Result<PathBuf, NotRestored> {
    if fs::symlink_metadata(place).is_ok() {
        return Err(NotRestored::Occupied(place.to_owned()));
    }
    let beside = beside(place, "restoring");
    let file = |path: &Path| {
        let path = path.to_owned();
        |error| NotRestored::File { path, error }
    };
    match fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(file(&beside)(error));
        }
        _ => {}
    }
    let from = backup.join(STORE);
    let copied = copy_all(&from, &beside).and_then(|()| digests(&beside));
    let compared = copied.map_err(file(&from)).and_then(|found| {
        let mut listed = inventory.files.iter();
        let other = listed.find(|(path, digest)| found.get(*path) != Some(*digest));
        let other = other.map(|(path, _)| path).or_else(|| {
            let mut found = found.keys();
            found.find(|path| !inventory.files.contains_key(*path))
        });
        match other {
            Some(path) => Err(NotRestored::Damaged(from.join(path))),
            None => Ok(()),
        }
    });
    if compared.is_err() {
        // What is wrong with the backup is what matters.
        drop(fs::remove_dir_all(&beside));
    }
    compared.map(|()| beside)
}

/// Brings a store to disk and into its place.
pub(super) fn settle(beside: &Path, place: &Path) -> io::Result<()> {
    sync_all(beside)?;
    fs::rename(beside, place)?;
    sync_parent(place)
}

/// A name beside a place, for what is not yet what belongs there.
pub(super) fn beside(place: &Path, what: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    place.with_file_name(name)
}

pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// What a backup is made of. Anything else might never end.
enum Kind {
    Directory,
    File,
}

impl Kind {
    fn of(entry: &fs::DirEntry) -> io::Result<Self> {
        let found = entry.file_type()?;
        match (found.is_dir(), found.is_file()) {
            (true, _) => Ok(Self::Directory),
            (_, true) => Ok(Self::File),
            _ => Err(io::Error::other(format!(
                "{} is no file of a backup",
                entry.path().display()
            ))),
        }
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    private_directory(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match Kind::of(&entry)? {
            Kind::Directory => copy_all(&entry.path(), &to)?,
            Kind::File => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// Every file below a directory, by its path from there.
fn digests(directory: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        match Kind::of(&entry)? {
            Kind::Directory => {
                let below = digests(&entry.path())?.into_iter();
                found.extend(below.map(|(path, digest)| (name.join(path), digest)));
            }
            Kind::File => drop(found.insert(name, digest(&entry.path())?)),
        }
    }
    Ok(found)
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&part[..read]),
        }
    }
}

/// Brings everything below a directory to disk, and it itself.
fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_all(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(directory)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    // A bare name stands in this directory.
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
