//! The lists of a table's files, held against their checksums: `fjall` writes
//! the checksum of the newest list beside it, and reads the list without
//! looking at it.
//!
//! ```text
//! keyspaces/N/current  list:u64 checksum:u128 0     (little endian; 0 is XXH3)
//! keyspaces/N/vLIST    the list
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// The first list in a store that is not as it was written.
pub(super) fn damaged(path: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(path.join("keyspaces"))? {
        let directory = entry?.path();
        let current = match fs::read(directory.join("current")) {
            Ok(current) => current,
            // A table that was cut off in the making, which is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some((list, checksum)) = parsed(&current) else {
            return Ok(Some(directory.join("current")));
        };
        let list = directory.join(format!("v{list}"));
        match fs::read(&list) {
            Ok(bytes) if xxh3_128(&bytes) == checksum => {}
            _ => return Ok(Some(list)),
        }
    }
    Ok(None)
}

fn parsed(current: &[u8]) -> Option<(u64, u128)> {
    let (list, rest) = current.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let known = (u64::from_le_bytes(*list), u128::from_le_bytes(*checksum));
    (rest == [0]).then_some(known)
}
