//! A file that a command writes for an operator.
//!
//! It is written beside the one that is named, readable by its owner only, and
//! takes its place when it is whole and on disk. Nothing that is there is
//! opened: a link to another file is replaced and not followed, and a pipe or a
//! device is refused.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// A file beside the one that it is to become.
pub(super) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins it.
    pub(super) fn beside(path: &Path) -> Result<Self> {
        // Of a link, the kind of what it leads to: /dev/stdout is one.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            bail!("{} is not a file", path.display());
        }
        let beside = NamedTempFile::new_in(parent(path));
        let file = beside.with_context(|| format!("{} cannot be written", path.display()))?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// The file that it is to become.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place, and makes sure that both are on disk.
    pub(super) fn keep(self) -> Result<()> {
        let Self { file, path } = self;
        let keep = || {
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(parent(&path))?.sync_all()
        };
        keep().with_context(|| format!("{} cannot be written", path.display()))
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The directory that a file lies in. A bare name lies in this one.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn write(path: &Path, text: &str) -> Result<()> {
        let mut file = WholeFile::beside(path)?;
        file.write_all(text.as_bytes())?;
        file.keep()
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (victim, link) = (place.path().join("victim"), place.path().join("link"));
        fs::write(&victim, "precious").expect("written");
        for target in [victim.clone(), place.path().join("not there")] {
            drop(fs::remove_file(&link));
            symlink(&target, &link).expect("a link");
            write(&link, "new").expect("written");
            let found = fs::symlink_metadata(&link).expect("it is there");
            assert!(found.is_file());
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&link).expect("readable"), "new");
        }
        assert_eq!(fs::read_to_string(&victim).expect("readable"), "precious");
        assert!(!place.path().join("not there").exists());
    }

    #[test]
    fn pipes_devices_and_directories_are_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let pipe = place.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let linked = place.path().join("linked");
        symlink(&pipe, &linked).expect("a link");
        for path in [&pipe, &linked, Path::new("/dev/null"), place.path()] {
            let told = write(path, "new").expect_err("refused").to_string();
            assert!(told.ends_with("is not a file"), "{told}");
        }
        let found = fs::symlink_metadata(&pipe).expect("it is there");
        assert!(found.file_type().is_fifo());
    }

    #[test]
    fn one_that_is_not_kept_leaves_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file");
        drop(WholeFile::beside(&path).expect("begun"));
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 0);
    }
}
