//! What a device keeps: its key and its feed id, in a file of their own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// It has no `Debug`, so that the key is not printed by accident.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    /// 48 characters.
    pub(crate) apikey: String,
    /// The device's own channel.
    pub(crate) feed_id: u32,
}

impl Credentials {
    /// Reads the server's answer.
    pub(crate) fn of(answer: &str) -> Option<Self> {
        serde_json::from_str(answer).ok()
    }
}

/// Where they are kept, as the server sent them.
pub(crate) struct CredentialsFile {
    path: PathBuf,
}

impl CredentialsFile {
    /// There or not.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What is kept, if anything is.
    pub(crate) fn load(&self) -> Result<Option<Credentials>> {
        let path = self.path.display();
        match fs::read_to_string(&self.path) {
            // A person should look: it may be the only copy of a key that works.
            Ok(text) => Credentials::of(&text).map(Some).with_context(|| {
                format!("{path} is damaged: restore it, or move it away and have the device reset")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
        }
    }

    /// Whatever moment the power fails at, there is either the old file or the
    /// new one, whole. When it returns, the key may be used.
    pub(crate) fn store(&self, answer: &str) -> io::Result<()> {
        let fresh = self.path.with_added_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(answer.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }
}
