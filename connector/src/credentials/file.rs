//! The file that keeps a device's credentials.
//!
//! It is read by whoever owns it and nobody else, and never overwritten by
//! itself where it cannot be read or belongs to another device: a person
//! should look.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use firstwake::Serial;

use super::document::NotCredentials;
use super::{Credentials, Stored};
use crate::counter::CounterFile;
use crate::error::{LoadError, StoreError};
use crate::private_file::{Disk, Local, Lock, PrivateFile};

/// Where a device keeps its credentials.
#[derive(Clone, Debug)]
pub struct CredentialsFile {
    file: PrivateFile,
}

impl CredentialsFile {
    /// The file at this path, there or not. A missing directory is made when
    /// something is stored.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(Local), path)
    }

    /// The same on another disk than this machine's.
    pub fn on(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        Self {
            file: PrivateFile::on(disk, path),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads what is stored for this device; no file is `Ok(None)`.
    pub fn load(&self, serial: &Serial) -> Result<Option<Stored>, LoadError> {
        let path = || self.path().to_owned();
        let Some(json) = self.file.read()? else {
            return Ok(None);
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
        Ok(Some(Stored(credentials)))
    }

    /// Makes these credentials durable; when it returns, they may be used.
    pub fn store(&self, credentials: Credentials) -> Result<Stored, StoreError> {
        let json = credentials.to_json().map_err(|error| StoreError {
            step: "encode",
            path: self.path().to_owned(),
            cause: error.into(),
        })?;
        self.file.replace(&json)?;
        Ok(Stored(credentials))
    }

    /// Writes down that a login with the secret succeeded.
    pub fn confirm(&self, stored: &Stored) -> Result<Stored, StoreError> {
        self.store(stored.0.confirmed())
    }

    /// The counter of this device's requests, in a file beside this one.
    pub fn counter(&self) -> CounterFile {
        CounterFile::beside(&self.file)
    }

    /// Keeps other processes from enrolling the same device meanwhile; `None`
    /// if one is about it.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, StoreError> {
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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

        fn beside(&self) -> PathBuf {
            self.directory.path().join("device.json.new")
        }

        fn write(&self, text: &str, mode: u32) {
            let path = self.file().path().to_owned();
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        }

        fn load(&self) -> Result<Option<Stored>, LoadError> {
            self.file().load(&self.serial)
        }

        fn has(&self, key: char) -> bool {
            let stored = self.load().expect("readable").expect("present");
            stored.has_secret_of(&Stored::for_test("S1", key))
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
        assert!(loaded.has_secret_of(&stored));
        let mode = fs::metadata(fixture.file().path()).expect("metadata");
        assert_eq!(mode.permissions().mode() & 0o7777, 0o600);
        let names = fs::read_dir(fixture.directory.path()).expect("listing");
        assert_eq!(names.count(), 1, "nothing is left beside the file");
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_only() {
        let fixture = Fixture::new();
        let directory = fixture.directory.path().join("firstwake");
        let file = CredentialsFile::at(directory.join("device.json"));
        file.store(credentials('a')).expect("stored");
        let mode = fs::metadata(directory).expect("metadata").permissions();
        assert_eq!(mode.mode() & 0o7777, 0o700);
    }

    #[test]
    fn an_interrupted_write_leaves_the_old_file() {
        let fixture = Fixture::new();
        let file = fixture.file();
        file.store(credentials('a')).expect("stored");

        // The power goes after the new file is whole, before it is renamed…
        let json = credentials('b').to_json().expect("json");
        let _lost = file.file.stage(&json).expect("staged");
        assert!(fixture.has('a'));
        // …or while it is being written.
        fs::write(fixture.beside(), &json[..20]).expect("half");
        assert!(fixture.has('a'));

        file.store(credentials('c')).expect("stored");
        assert!(fixture.has('c'));
        assert!(!fixture.beside().exists());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let fixture = Fixture::new();
        fixture.file().store(credentials('a')).expect("stored");
        fs::create_dir(fixture.beside()).expect("in the way");
        let error = fixture.file().store(credentials('b')).expect_err("blocked");
        assert_eq!(error.step, "clear the way for");
        assert!(fixture.has('a'));
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

    #[test]
    fn one_process_at_a_time_enrols() {
        let fixture = Fixture::new();
        let first = fixture.file().lock().expect("locked").expect("nobody else");
        assert!(fixture.file().lock().expect("asked").is_none());
        drop(first);
        assert!(fixture.file().lock().expect("asked").is_some());
    }
}
