//! Which board this is: `<revision> <model>`, whichever of the two are there.
//!
//! A board's revision stands in `/proc/cpuinfo` and its model in the device
//! tree: thousands of machines have the same. A PC has them in its DMI tables,
//! with a serial number of its own in the revision's place, which only root
//! may read: show the facts always as root, or never.

use super::Reading;
use super::placeholder::is_placeholder;
use super::tree::Tree;

pub(super) fn read(tree: &Tree) -> Reading {
    let (revision, model) = match of_a_board(tree) {
        (None, None) => of_a_pc(tree),
        found => found,
    };
    let parts: Vec<String> = [revision, model].into_iter().flatten().collect();
    let words: Vec<&str> = parts
        .iter()
        .flat_map(|part| part.split_whitespace())
        .collect();
    let name = (!words.is_empty()).then(|| words.join(" "));
    Reading::of(name, "neither a device tree nor DMI tables name the board")
}

fn of_a_board(tree: &Tree) -> (Option<String>, Option<String>) {
    let revision = tree.cpuinfo("Revision");
    let model = tree.device_tree("model").or_else(|| tree.cpuinfo("Model"));
    (revision.filter(|text| !is_placeholder(text)), model)
}

fn of_a_pc(tree: &Tree) -> (Option<String>, Option<String>) {
    let dmi = |name: &str| {
        let text = tree.text(format!("sys/class/dmi/id/{name}"))?;
        (!is_placeholder(&text)).then_some(text)
    };
    let named = |vendor: &str, name: &str| Some(format!("{} {}", dmi(vendor)?, dmi(name)?));
    let model = named("board_vendor", "board_name").or_else(|| named("sys_vendor", "product_name"));
    (dmi("product_serial"), model)
}
