//! Small files below a root, as the kernel shows them.
//!
//! A file that is not there, may not be read, or says nothing is `None`: which
//! of these it was makes no difference to a fact. What is read is bounded.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// More than any file here has; the largest is `/proc/cpuinfo` of a big server.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()),
        }
    }

    /// The whole file.
    pub(super) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let file = File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The file's text without the space and the NULs around it.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.bytes(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A value of `/proc/cpuinfo` that stands there once for the whole board.
    pub(super) fn cpuinfo(&self, name: &str) -> Option<String> {
        let text = self.text("proc/cpuinfo")?;
        let of_this_name = |line: &str| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        };
        text.lines()
            .find_map(of_this_name)
            .filter(|value| !value.is_empty())
    }

    /// A property of the device tree, which older kernels show in one place
    /// and newer ones in another.
    pub(super) fn device_tree(&self, property: &str) -> Option<String> {
        ["sys/firmware/devicetree/base", "proc/device-tree"]
            .into_iter()
            .find_map(|base| self.text(Path::new(base).join(property)))
    }

    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.root.join(path).exists()
    }

    /// The names in a directory, sorted; none if it is not there.
    pub(super) fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(directory))
            .into_iter()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// Where a path leads once all links are followed, relative to the root.
    pub(super) fn real(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let real = fs::canonicalize(self.root.join(path)).ok()?;
        Some(real.strip_prefix(&self.root).ok()?.to_owned())
    }
}
