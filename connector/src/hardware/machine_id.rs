//! The number that the operating system drew when it was installed.
//!
//! It lies on the card: whoever copies the card copies it. What it tells apart
//! is two installations on one board.

use super::Reading;
use super::placeholder::is_placeholder;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    let id = ["etc/machine-id", "var/lib/dbus/machine-id"]
        .into_iter()
        .filter_map(|path| tree.text(path))
        .find(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .filter(|id| !is_placeholder(id));
    Reading::of(id, "this system has no machine id")
}
