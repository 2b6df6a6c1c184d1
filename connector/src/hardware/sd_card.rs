//! The identification register of the SD card: 16 bytes that its maker burnt
//! in, the card's serial number among them.
//!
//! Only cards in a slot of the board itself show it; a USB reader does not.
//! Copying a card copies everything but this. (There are cards whose register
//! can be written, for those who look for them.)

use std::path::Path;

use super::Reading;
use super::placeholder::is_placeholder;
use super::root_device;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    let mut cards: Vec<String> = tree
        .names("sys/block")
        .into_iter()
        .filter(|name| name.starts_with("mmcblk"))
        .collect();
    let of_root: Vec<String> = root_device::disks(tree)
        .iter()
        .filter_map(|disk| Some(disk.file_name()?.to_str()?.to_owned()))
        .collect();
    // Stable: among the rest, the names' order stays.
    cards.sort_by_key(|name| !of_root.contains(name));
    let registers = cards.iter().filter_map(|name| register(tree, name));
    Reading::of(registers, "there is no SD card in a slot of this board")
}

fn register(tree: &Tree, name: &str) -> Option<String> {
    let device = Path::new("sys/block").join(name).join("device");
    let is_sd = tree.text(device.join("type"))? == "SD";
    let register = tree.text(device.join("cid"))?;
    (is_sd && !is_placeholder(&register)).then_some(register)
}
