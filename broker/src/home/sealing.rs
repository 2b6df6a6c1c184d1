//! The sealing key's file, and the one that is to replace it.
//!
//! A registry is sealed anew in one write, and the key's file replaced in one
//! step: but between the two anything may happen. So the next key is on disk,
//! in a file of its own, before the registry is touched; and whoever opens the
//! registry asks it which of the two it knows, and finishes what was begun. A
//! key that the registry does not know changes nothing.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::registry::Registry;
use firstwake::{Provisioner, Resealed, SealingKey, StartError, Timestamp};
use zeroize::Zeroizing;

use super::{Home, Lock, write_private};
use crate::edge::OsEntropy;

impl Home {
    fn sealing_key(&self) -> PathBuf {
        self.0.join("sealing.key")
    }

    fn next_key(&self) -> PathBuf {
        self.0.join("sealing.key.next")
    }
}

impl Lock {
    /// A key is made only together with the registry: one that is missing
    /// later is lost, not to be replaced by another.
    pub(super) fn sealing_key(&self, fresh: bool) -> Result<SealingKey> {
        let path = self.home.sealing_key();
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => SealingKey::parse(text.trim())
                .with_context(|| format!("{} does not hold 64 hex characters", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => {
                let key = SealingKey::generate(&OsEntropy);
                write_private(&path, &key.expose_hex())?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} is missing: put the file back that was made with this registry",
                path.display()
            ),
            Err(error) => Err(anyhow!(error).context(format!("{} cannot be read", path.display()))),
        }
    }

    /// Starts what decides over a registry, with the key that it knows.
    pub(super) async fn start(
        &self,
        registry: Arc<dyn Registry>,
        sealing: SealingKey,
    ) -> Result<Provisioner> {
        let (path, next_path) = (self.home.sealing_key(), self.home.next_key());
        let next = match fs::read_to_string(&next_path).map(Zeroizing::new) {
            Ok(text) => Some(SealingKey::parse(text.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let told = format!("{} cannot be read", next_path.display());
                return Err(anyhow!(error).context(told));
            }
        };
        let start = |key| Provisioner::start(Arc::clone(&registry), key, Arc::new(OsEntropy));
        let started = match (start(sealing).await, next) {
            // It never came to sealing anew.
            (Ok(provisioner), Some(_)) => {
                fs::remove_file(&next_path)
                    .with_context(|| format!("{} cannot be removed", next_path.display()))?;
                Ok(provisioner)
            }
            (Err(wrong @ StartError::Sealing(_)), Some(Some(next))) => match start(next).await {
                Ok(provisioner) => {
                    self.put_next_key()?;
                    Ok(provisioner)
                }
                Err(StartError::Sealing(_)) => Err(wrong),
                Err(error) => Err(error),
            },
            (started, _) => started,
        };
        started.map_err(|error| match error {
            StartError::Sealing(_) => anyhow!(error).context(path.display().to_string()),
            StartError::Registry(_) => error.into(),
        })
    }

    /// Draws another key and seals everything with it. Whatever ends this in
    /// between, the registry opens with the one key or the other.
    pub(crate) async fn reseal(&self, now: Timestamp) -> Result<Resealed> {
        let (provisioner, _) = self.open(now).await?;
        let next = SealingKey::generate(&OsEntropy);
        write_private(&self.home.next_key(), &next.expose_hex())?;
        let resealed = provisioner.reseal(&next).await?;
        self.put_next_key()?;
        Ok(resealed)
    }

    /// Puts the next key in the place of the one before.
    fn put_next_key(&self) -> Result<()> {
        let (path, next) = (self.home.sealing_key(), self.home.next_key());
        fs::rename(&next, &path)
            .and_then(|()| File::open(self.home.path())?.sync_all())
            .with_context(|| format!("{} cannot be replaced", path.display()))
    }
}
