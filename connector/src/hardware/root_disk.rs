//! The serial number of the disk that the root file system lies on.
//!
//! Each kind of disk shows it in another file. For an eMMC or an SD card it is
//! the whole identification register. Several disks, where the root lies on
//! several.

use std::path::Path;

use super::Reading;
use super::placeholder::is_placeholder;
use super::root_device;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    let disks = root_device::disks(tree);
    let serials = disks.iter().filter_map(|disk| serial(tree, disk));
    Reading::of(
        serials,
        "the root file system lies on no disk that shows a serial number",
    )
}

fn serial(tree: &Tree, disk: &Path) -> Option<String> {
    // eMMC and SD; NVMe; virtio; SCSI, SATA and USB; NVMe without a serial.
    [
        "device/cid",
        "device/serial",
        "serial",
        "device/wwid",
        "wwid",
    ]
    .into_iter()
    .filter_map(|file| tree.text(disk.join(file)))
    .find(|serial| !is_placeholder(serial))
    .or_else(|| unit_serial(&tree.bytes(disk.join("device/vpd_pg80"))?))
}

/// SCSI's page of the unit's serial number: four bytes, then the text.
fn unit_serial(page: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(page.get(4..)?).trim().to_owned();
    (!is_placeholder(&text)).then_some(text)
}
