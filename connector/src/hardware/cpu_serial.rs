//! The serial number of the processor, or of the board it is soldered to.
//!
//! `Serial` in `/proc/cpuinfo`, or the device tree's `serial-number`, which
//! has it where newer kernels no longer print it. On a Raspberry Pi both come
//! from the chip's fuses; on other boards from where the boot loader looks:
//! fuses, an EEPROM, or nowhere. A PC has none.

use super::Reading;
use super::placeholder::is_placeholder;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    let serial = tree
        .cpuinfo("Serial")
        .filter(|serial| !is_placeholder(serial))
        .or_else(|| tree.device_tree("serial-number"))
        .filter(|serial| !is_placeholder(serial));
    Reading::of(serial, "Linux shows no serial number of this processor")
}
