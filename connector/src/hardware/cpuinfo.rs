//! SHA-256 of the whole of `/proc/cpuinfo`.
//!
//! Weak, and here because people ask for it: boards of one model differ in
//! nothing but the serial, and a new kernel may print the file otherwise. A PC
//! prints the clock rates of the moment, so there the hash changes from second
//! to second and is no fact at all.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Reading;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    if tree.cpuinfo("cpu MHz").is_some() {
        return Reading::Nothing("/proc/cpuinfo of this processor changes as it runs");
    }
    let hash = tree
        .bytes("proc/cpuinfo")
        .map(|bytes| hex(&Sha256::digest(bytes)));
    Reading::of(hash, "there is no /proc/cpuinfo")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
