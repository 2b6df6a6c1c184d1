//! The disks that the root file system lies on, as directories of sysfs.
//!
//! From the mount to its block device, from a partition to its disk, from an
//! encrypted, mapped or mirrored device to those below it. A root that is
//! nobody's disk (a container's, one over the network) has none.

use std::path::{Path, PathBuf};

use super::tree::Tree;

/// Devices upon devices: nobody stacks more.
const DEEPEST: usize = 8;

pub(super) fn disks(tree: &Tree) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(device) = of_root(tree) {
        descend(tree, device, DEEPEST, &mut found);
    }
    found
}

/// What is mounted on `/` now: the last mount there hides the earlier ones.
fn of_root(tree: &Tree) -> Option<PathBuf> {
    let mounts = tree.text("proc/self/mountinfo")?;
    let mount = mounts
        .lines()
        .filter_map(Mount::parse)
        .rfind(|mount| mount.point == "/")?;
    let numbered = tree.real(format!("sys/dev/block/{}", mount.number));
    // Some file systems (btrfs) have numbers of their own and only name the device.
    numbered.or_else(|| {
        let node = mount.source.strip_prefix("/dev/")?;
        let node = tree
            .real(format!("dev/{node}"))
            .unwrap_or_else(|| node.into());
        tree.real(Path::new("sys/class/block").join(node.file_name()?))
    })
}

fn descend(tree: &Tree, device: PathBuf, depth: usize, found: &mut Vec<PathBuf>) {
    let disk = if tree.has(device.join("partition")) {
        device.parent().map(Path::to_owned).unwrap_or(device)
    } else {
        device
    };
    let below = tree.names(disk.join("slaves"));
    if below.is_empty() {
        if !found.contains(&disk) {
            found.push(disk);
        }
        return;
    }
    for name in below.iter().filter(|_| depth > 0) {
        if let Some(device) = tree.real(Path::new("sys/class/block").join(name)) {
            descend(tree, device, depth - 1, found);
        }
    }
}

/// One line of `/proc/self/mountinfo`, as `proc_pid_mountinfo(5)` has it.
struct Mount<'a> {
    /// `major:minor` of the device.
    number: &'a str,
    point: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let number = fields.next()?;
        let point = fields.nth(1)?;
        let source = file_system.split(' ').nth(1)?;
        Some(Self {
            number,
            point,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mount;

    #[test]
    fn a_mount_with_and_without_optional_fields() {
        for line in [
            "26 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw",
            "26 1 179:2 / / rw,noatime - ext4 /dev/root rw",
            "26 1 179:2 / / rw shared:1 master:2 - ext4 /dev/root rw",
        ] {
            let mount = Mount::parse(line).expect("a mount");
            assert_eq!(
                (mount.number, mount.point, mount.source),
                ("179:2", "/", "/dev/root")
            );
        }
        assert!(Mount::parse("26 1 179:2 / /").is_none());
    }
}
