//! The sealing key's file, and the one that is to replace it.
//!
//! A registry is sealed anew in one write, and the key's file replaced in one
//! step: but between the two anything may happen. So the next key is on disk,
//! in a file of its own, before the registry is touched; and whoever opens the
//! registry asks it which of the two it knows, and finishes what was begun.
//!
//! A key that the registry does not know changes nothing. A store tidies up
//! when it is opened, so a mark beside its files says whose they are before
//! that; the word of the registry itself counts for more.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use firstwake::registry::Registry;
use firstwake::{Provisioner, Resealed, SealingKey, StartError, Timestamp, UnsealError};
use zeroize::Zeroizing;

use super::{Home, Lock, write_private};
use crate::control::Unreachable;
use crate::database::Company;
use crate::edge::OsEntropy;

/// The keys that a data directory holds.
pub(super) struct Keys {
    current: SealingKey,
    /// One that was to replace it; nothing in it if it was not written whole.
    next: Option<Option<SealingKey>>,
}

impl Keys {
    /// Of the one and of the other; empty if there is no other.
    fn marks(&self) -> [String; 2] {
        let next = self.next.as_ref().and_then(Option::as_ref);
        let next = next.map(SealingKey::mark).unwrap_or_default();
        [self.current.mark(), next]
    }
}

impl Home {
    pub(crate) fn sealing_key(&self) -> PathBuf {
        self.0.join("sealing.key")
    }

    fn next_key(&self) -> PathBuf {
        self.0.join("sealing.key.next")
    }

    /// Says which key the registry was last opened with.
    fn mark(&self) -> PathBuf {
        self.registry().join("sealed-by")
    }
}

impl Lock {
    /// Reads the keys, and refuses those that are known to be wrong before
    /// anything is opened.
    pub(super) fn keys(&self, fresh: bool) -> Result<Keys> {
        let keys = Keys {
            current: self.current_key(fresh)?,
            next: read(&self.home.next_key())?.map(|text| SealingKey::parse(text.trim())),
        };
        match read(&self.home.mark())? {
            Some(mark) if !keys.marks().iter().any(|known| known == mark.trim()) => {
                Err(self.wrong(UnsealError.into()))
            }
            _ => Ok(keys),
        }
    }

    /// The key of a registry that there is.
    pub(super) fn known_key(&self) -> Result<SealingKey> {
        let keys = self.keys(false)?;
        match keys.next {
            None => Ok(keys.current),
            Some(_) => bail!(
                "{} is about to be replaced: start the server once, which finishes that",
                self.home.sealing_key().display()
            ),
        }
    }

    /// A key is made only together with the registry: one that is missing
    /// later is lost, not to be replaced by another.
    fn current_key(&self, fresh: bool) -> Result<SealingKey> {
        let path = self.home.sealing_key();
        match read(&path)? {
            Some(text) => SealingKey::parse(text.trim())
                .with_context(|| format!("{} does not hold 64 hex characters", path.display())),
            None if fresh => {
                let key = SealingKey::generate(&OsEntropy);
                write_private(&path, &key.expose_hex())?;
                Ok(key)
            }
            None => bail!(
                "{} is missing: put the file back that was made with this registry",
                path.display()
            ),
        }
    }

    /// Starts what decides over a registry, with the key that it knows.
    pub(super) async fn start(
        &self,
        registry: Arc<dyn Registry>,
        keys: Keys,
    ) -> Result<Provisioner> {
        let [current_mark, next_mark] = keys.marks();
        let Keys { current, next } = keys;
        let start = |key| Provisioner::start(Arc::clone(&registry), key, Arc::new(OsEntropy));
        match (start(current).await, next) {
            (Ok(provisioner), next) => {
                self.put_mark(&current_mark)?;
                if next.is_some() {
                    // It never came to sealing anew.
                    let path = self.home.next_key();
                    fs::remove_file(&path)
                        .with_context(|| format!("{} cannot be removed", path.display()))?;
                }
                Ok(provisioner)
            }
            (Err(wrong @ StartError::Sealing(_)), Some(Some(next))) => match start(next).await {
                Ok(provisioner) => {
                    self.put_next_key(&next_mark)?;
                    Ok(provisioner)
                }
                Err(StartError::Sealing(_)) => Err(self.wrong(wrong)),
                Err(error) => Err(error.into()),
            },
            (Err(error), _) => Err(self.wrong(error)),
        }
    }

    /// Why it did not start, with the file that is the reason.
    fn wrong(&self, error: StartError) -> Error {
        match error {
            StartError::Sealing(_) => {
                let path = self.home.sealing_key();
                Error::new(error).context(path.display().to_string())
            }
            StartError::Registry(_) => error.into(),
        }
    }

    /// Draws another key and seals everything with it. Whatever ends this in
    /// between, the registry opens with the one key or the other.
    pub(crate) async fn reseal(&self, now: Timestamp) -> Result<Resealed> {
        let opened = self.open(Company::Nobody, now).await;
        let (provisioner, _) = opened.map_err(Unreachable::because)?;
        let next = SealingKey::generate(&OsEntropy);
        write_private(&self.home.next_key(), &next.expose_hex())?;
        let resealed = provisioner.reseal(&next).await?;
        self.put_next_key(&next.mark())?;
        Ok(resealed)
    }

    /// Puts the next key in the place of the one before. The mark goes first:
    /// it must never name a key that no file holds.
    fn put_next_key(&self, mark: &str) -> Result<()> {
        self.put_mark(mark)?;
        put(&self.home.next_key(), &self.home.sealing_key())
    }

    /// Marks the store's files as those of this key. A registry that is kept
    /// elsewhere has none.
    fn put_mark(&self, mark: &str) -> Result<()> {
        let path = self.home.mark();
        if !self.home.registry().exists() || read(&path)?.is_some_and(|known| *known == mark) {
            return Ok(());
        }
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let told = format!("{} cannot be removed", new.display());
                return Err(Error::new(error).context(told));
            }
            _ => write_private(&new, mark)?,
        }
        put(&new, &path)
    }
}

/// What is in a file, if it is there.
fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(error).context(format!("{} cannot be read", path.display()))),
    }
}

/// Puts a file in the place of another one, durably.
fn put(file: &Path, place: &Path) -> Result<()> {
    fs::rename(file, place)
        .and_then(|()| File::open(place.parent().unwrap_or(place))?.sync_all())
        .with_context(|| format!("{} cannot be replaced", place.display()))
}
