//! The file that keeps a device's credentials: private, atomic, durable.
//!
//! A power cut at any moment leaves either the old file or the new one, whole.
//! The steps: a new file beside it (mode 0600), written and synced; renamed
//! over it; the directory synced. A file that cannot be read, or that others
//! can read, is never overwritten by itself: a person should look.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use firstwake::Serial;
use zeroize::Zeroizing;

use super::{Credentials, NotCredentials, Stored};
use crate::error::{LoadError, StoreError};

/// No credentials file is larger, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;

/// Where a device keeps its credentials.
#[derive(Clone, Debug)]
pub struct CredentialsFile {
    path: PathBuf,
}

impl CredentialsFile {
    /// The file at this path, there or not. Its directory must exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is stored for this device; no file is `Ok(None)`.
    pub fn load(&self, serial: &Serial) -> Result<Option<Stored>, LoadError> {
        let path = || self.path.clone();
        let json = match self.read_private()? {
            Some(json) => json,
            None => return Ok(None),
        };
        let credentials = Credentials::from_json(&json).map_err(|error| match error {
            NotCredentials::Garbled { line, column } => LoadError::Garbled {
                path: path(),
                line,
                column,
            },
            NotCredentials::Version(version) => LoadError::Version {
                path: path(),
                version,
            },
        })?;
        if credentials.serial != *serial {
            return Err(LoadError::OtherDevice {
                path: path(),
                serial: credentials.serial,
            });
        }
        // Whoever wrote it may have been killed just before this last step.
        self.sync_directory().map_err(|cause| LoadError::Read {
            path: path(),
            cause,
        })?;
        Ok(Some(Stored(credentials)))
    }

    /// Makes these credentials durable; when it returns, they may be used.
    pub fn store(&self, credentials: Credentials) -> Result<Stored, StoreError> {
        let json = credentials
            .to_json()
            .map_err(|error| self.failed("encode", error.into()))?;
        self.stage(&json)?.publish()?;
        Ok(Stored(credentials))
    }

    /// Writes down that a login with the key succeeded.
    pub fn confirm(&self, stored: &Stored) -> Result<Stored, StoreError> {
        self.store(stored.0.confirmed())
    }

    /// Writes and syncs the new file beside the old one.
    fn stage(&self, json: &[u8]) -> Result<Staged<'_>, StoreError> {
        let staged = Staged {
            target: self,
            path: self.beside(),
        };
        // One left by a power cut may hold a key that nobody else removes.
        match fs::remove_file(&staged.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("clear the way for", error));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged.path)
            .map_err(|error| self.failed("create", error))?;
        file.write_all(json)
            .map_err(|error| self.failed("write", error))?;
        file.sync_all()
            .map_err(|error| self.failed("sync", error))?;
        Ok(staged)
    }

    fn read_private(&self) -> Result<Option<Zeroizing<Vec<u8>>>, LoadError> {
        let failed = |cause| LoadError::Read {
            path: self.path.clone(),
            cause,
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(LoadError::Exposed {
                path: self.path.clone(),
                mode,
            });
        }
        let mut json = Zeroizing::new(Vec::with_capacity(MAX_LENGTH as usize));
        file.take(MAX_LENGTH)
            .read_to_end(&mut json)
            .map_err(failed)?;
        Ok(Some(json))
    }

    /// `FILE.new`, in the same directory: a rename must not cross file systems.
    fn beside(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".new");
        path.into()
    }

    /// Makes a rename last.
    fn sync_directory(&self) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }

    fn failed(&self, step: &'static str, cause: io::Error) -> StoreError {
        StoreError {
            step,
            path: self.path.clone(),
            cause,
        }
    }
}

/// A new file, whole and synced, that nobody sees yet.
#[must_use = "until it is published, the old file counts"]
struct Staged<'a> {
    target: &'a CredentialsFile,
    path: PathBuf,
}

impl Staged<'_> {
    /// Puts it in the old one's place, and makes that durable too.
    fn publish(self) -> Result<(), StoreError> {
        let Self { target, path } = self;
        fs::rename(&path, &target.path).map_err(|error| target.failed("rename", error))?;
        target
            .sync_directory()
            .map_err(|error| target.failed("sync the directory of", error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Handover;
    use super::*;

    struct Fixture {
        directory: tempfile::TempDir,
        serial: Serial,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().expect("directory"),
                serial: Serial::parse("S1").expect("serial"),
            }
        }

        fn file(&self) -> CredentialsFile {
            CredentialsFile::at(self.directory.path().join("device.json"))
        }

        fn write(&self, text: &str, mode: u32) {
            let path = self.file().path;
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        }

        fn load(&self) -> Result<Option<Stored>, LoadError> {
            self.file().load(&self.serial)
        }

        fn loaded_key(&self) -> String {
            let stored = self.load().expect("readable").expect("present");
            stored.api_key().expose().to_owned()
        }
    }

    fn credentials(key: char) -> Credentials {
        Stored::for_test("S1", key).0
    }

    #[test]
    fn stored_credentials_come_back_private_and_alone() {
        let fixture = Fixture::new();
        assert!(fixture.load().expect("no file").is_none());
        let stored = fixture.file().store(credentials('a')).expect("stored");
        fixture.file().confirm(&stored).expect("confirmed");

        let loaded = fixture.load().expect("readable").expect("present");
        assert_eq!(loaded.0.handover(), Handover::Confirmed);
        assert!(loaded.has_key_of(&stored));
        let mode = fs::metadata(fixture.file().path()).expect("metadata");
        assert_eq!(mode.permissions().mode() & 0o7777, 0o600);
        let names = fs::read_dir(fixture.directory.path()).expect("listing");
        assert_eq!(names.count(), 1, "nothing is left beside the file");
    }

    #[test]
    fn an_interrupted_write_leaves_the_old_file() {
        let fixture = Fixture::new();
        fixture.file().store(credentials('a')).expect("stored");

        // The power goes after the new file is whole, before it is renamed…
        let json = credentials('b').to_json().expect("json");
        let _lost = fixture.file().stage(&json).expect("staged");
        assert_eq!(fixture.loaded_key(), "a".repeat(48));
        // …or while it is being written.
        fs::write(fixture.file().beside(), &json[..20]).expect("half");
        assert_eq!(fixture.loaded_key(), "a".repeat(48));

        fixture.file().store(credentials('c')).expect("stored");
        assert_eq!(fixture.loaded_key(), "c".repeat(48));
        assert!(!fixture.file().beside().exists());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let fixture = Fixture::new();
        fixture.file().store(credentials('a')).expect("stored");
        fs::create_dir(fixture.file().beside()).expect("in the way");
        let error = fixture.file().store(credentials('b')).expect_err("blocked");
        assert_eq!(error.step, "clear the way for");
        assert_eq!(fixture.loaded_key(), "a".repeat(48));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let fixture = Fixture::new();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fixture.write("{}", mode);
            let error = fixture.load().expect_err("exposed");
            assert!(
                matches!(error, LoadError::Exposed { mode: found, .. } if found == mode),
                "{error}"
            );
        }
    }

    #[test]
    fn a_damaged_file_is_reported_and_not_quoted() {
        let fixture = Fixture::new();
        let json = credentials('k').to_json().expect("json");
        let whole = std::str::from_utf8(&json).expect("text");
        for text in [
            "",
            "garbage",
            &whole[..whole.len() / 2],
            &whole.replace("123456", "\"kkkkkkkk\""),
            &whole.replace("kkkk", "k!k"),
        ] {
            fixture.write(text, 0o600);
            let error = fixture.load().expect_err("damaged");
            assert!(matches!(error, LoadError::Garbled { .. }), "{error}");
            assert!(!error.to_string().contains("kkk"), "{error}");
            let left = fs::read_to_string(fixture.file().path()).expect("still there");
            assert_eq!(left, text);
        }
    }

    #[test]
    fn another_devices_file_is_refused() {
        let fixture = Fixture::new();
        fixture.file().store(credentials('a')).expect("stored");
        let other = Serial::parse("S2").expect("serial");
        let error = fixture.file().load(&other).expect_err("not ours");
        assert!(error.to_string().ends_with("belongs to the device S1"));
    }
}
