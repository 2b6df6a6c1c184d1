//! Facts of boards whose files are listed in `tests/boards`, in the shape that
//! the kernels of those boards give them. The numbers are made up.

use std::fs;
use std::os::unix::fs::symlink;

use firstwake_connector::{Fact, Inventory, Machine};

/// The files of a board, laid out in a directory.
pub(crate) struct Board(tempfile::TempDir);

impl Board {
    /// Lays out the files of this name. A list has lines `file PATH`, each
    /// followed by its content (`| ` a line, `- ` one without an end), and
    /// `link PATH TARGET`; a backslash begins `\\`, `\0` or `\xHH`.
    pub(crate) fn named(name: &str) -> Self {
        let lists = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/boards");
        let list = fs::read_to_string(format!("{lists}/{name}.txt")).expect("a list");
        let board = Self(tempfile::tempdir().expect("directory"));
        let (mut path, mut content) = (None, Vec::new());
        for line in list.lines() {
            let (kind, rest) = line.split_at(line.find(' ').map_or(line.len(), |at| at + 1));
            match kind {
                "# " => {}
                "| " | "|" => content.extend([&bytes(rest)[..], b"\n"].concat()),
                "- " => content.extend(bytes(rest)),
                "file " => {
                    board.lay(path.replace(rest), std::mem::take(&mut content));
                }
                "link " => {
                    let (link, target) = rest.split_once(' ').expect("two paths");
                    symlink(target, board.place(link)).expect("linked");
                }
                _ => panic!("{line}"),
            }
        }
        board.lay(path, content);
        board
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::under(self.0.path())
    }

    fn lay(&self, path: Option<&str>, content: Vec<u8>) {
        if let Some(path) = path {
            fs::write(self.place(path), content).expect("written");
        }
    }

    /// Where a path lies, with all directories above it.
    fn place(&self, path: &str) -> std::path::PathBuf {
        let place = self.0.path().join(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("directories");
        place
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (byte, length) = match escape.as_bytes() {
            [b'\\', ..] => (b'\\', 1),
            [b'0', ..] => (0, 1),
            [b'x', ..] => (u8::from_str_radix(&escape[1..3], 16).expect("hex"), 3),
            _ => panic!("{text}"),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

fn inventory(board: &str) -> Inventory {
    Board::named(board).machine().inventory()
}

/// Everything but the hash of `/proc/cpuinfo`, a line for each value.
fn check(board: &str, expected: &[&str]) {
    let found: Vec<String> = inventory(board)
        .values()
        .filter(|(fact, _)| *fact != Fact::Cpuinfo)
        .map(|(fact, value)| format!("{} {value}", fact.as_str()))
        .collect();
    assert_eq!(found, expected, "{board}");
}

fn cpuinfo(board: &str) -> Option<String> {
    let inventory = inventory(board);
    let mut values = inventory.values();
    let found = values.find(|(fact, _)| *fact == Fact::Cpuinfo);
    found.map(|(_, hash)| hash.to_owned())
}

#[test]
fn raspberry_pis() {
    check(
        "raspberry-pi-zero-w",
        &[
            "cpu_serial 00000000a1b2c3d4",
            "board 9000c1 Raspberry Pi Zero W Rev 1.1",
            "mac b8:27:eb:e7:96:81",
            "sd_card 035344535531364780a1b2c3d4014a00",
            "root_disk 035344535531364780a1b2c3d4014a00",
            "machine_id 5e0c4a1f8b7d4c6e9a3f2b1d0c8e7f65",
        ],
    );
    // Before device trees: the model is not named, and the id lies elsewhere.
    check(
        "raspberry-pi-1b-2014",
        &[
            "cpu_serial 000000005d3f7a21",
            "board 000e",
            "mac b8:27:eb:3f:7a:21",
            "sd_card 1b534d303030303010f1e2d3c4000d00",
            "root_disk 1b534d303030303010f1e2d3c4000d00",
            "machine_id b1d0c8e7f655e0c4a1f8b7d4c6e9a3f2",
        ],
    );
    // Wi-Fi under an address that was drawn is not shown.
    check(
        "raspberry-pi-3b-plus",
        &[
            "cpu_serial 00000000765fc593",
            "board a020d3 Raspberry Pi 3 Model B Plus Rev 1.3",
            "mac b8:27:eb:5f:c5:93",
            "sd_card 275048534433324760c0ffee0100fb00",
            "root_disk 275048534433324760c0ffee0100fb00",
            "machine_id 0d1c2b3a495867768594a3b2c1d0e0f1",
        ],
    );
    // The root lies on an encrypted USB disk, the card beside it.
    check(
        "raspberry-pi-4b",
        &[
            "cpu_serial 10000000a3f9c1d7",
            "board c03112 Raspberry Pi 4 Model B Rev 1.2",
            "mac dc:a6:32:f9:c1:d7",
            "mac dc:a6:32:f9:c1:d8",
            "sd_card ad4c53534433324720b16b00b5016300",
            "root_disk S4B0NS0R912345X",
            "machine_id c4d5e6f708192a3b4c5d6e7f80910a2b",
        ],
    );
    // No `Hardware` in its cpuinfo, and no card: it starts from NVMe.
    check(
        "raspberry-pi-5",
        &[
            "cpu_serial 8f2b1c6d40e7a953",
            "board d04170 Raspberry Pi 5 Model B Rev 1.0",
            "mac 2c:cf:67:2b:1c:6d",
            "mac 2c:cf:67:2b:1c:6e",
            "root_disk S6Z2NJ0W123456",
            "machine_id 9a8b7c6d5e4f30211203f4e5d6c7b8a9",
        ],
    );
}

#[test]
fn other_boards() {
    // Zeros in cpuinfo, the real serial in the device tree. The root lies on
    // the eMMC, which is no SD card; a data card is.
    check(
        "beaglebone-black",
        &[
            "cpu_serial 1814BBBK0001",
            "board TI AM335x BeagleBone Black",
            "mac 9c:1d:58:aa:10:01",
            "sd_card 02544d534130344709deadbeef00e300",
            "root_disk 70010030303430343601abcdef123500",
            "machine_id 6f5e4d3c2b1a09f8e7d6c5b4a3928170",
        ],
    );
    // Its only address is made from the serial, and says that nobody assigned it.
    check(
        "orange-pi-zero",
        &[
            "cpu_serial 02c00142e4b5a687",
            "board Xunlong Orange Pi Zero",
            "sd_card 9f54495344313647000badcafe011700",
            "root_disk 9f54495344313647000badcafe011700",
            "machine_id 11aa22bb33cc44dd55ee66ff77008899",
        ],
    );
    check(
        "jetson-nano",
        &[
            "cpu_serial 1421219087654",
            "board NVIDIA Jetson Nano Developer Kit",
            "mac 00:04:4b:e7:12:34",
            "sd_card 035344534336344780feedface012b00",
            "root_disk 035344534336344780feedface012b00",
            "machine_id ab54a98ceb1f0ad2ab54a98ceb1f0ad2",
        ],
    );
}

#[test]
fn pcs_and_what_runs_in_them() {
    // Two ports of a bond, and a root on a volume over two disks.
    check(
        "x86-server",
        &[
            "board 7QX3WK3 Dell Inc. 0C4P7H",
            "mac b0:26:28:10:20:30",
            "mac b0:26:28:10:20:31",
            "root_disk naa.5000c500a1b2c3d4",
            "root_disk naa.5000c500a1b2c3d5",
            "machine_id 4e3d2c1b0a9f8e7d6c5b4a3928171605",
        ],
    );
    check(
        "x86-vm",
        &[
            "board QEMU Standard PC (Q35 + ICH9, 2009)",
            "root_disk vol-0a1b2c3d4e5f",
        ],
    );
    check("container", &[]);
}

#[test]
fn the_hash_of_cpuinfo() {
    // As `sha256sum` prints it.
    assert_eq!(
        cpuinfo("raspberry-pi-5").as_deref(),
        Some("3ad1d3771c0f3ef63ec9c34f57721028d1a2e878d0b39f17d42631df43797774")
    );
    assert_ne!(cpuinfo("raspberry-pi-4b"), cpuinfo("raspberry-pi-5"));
    // A PC's changes from second to second.
    assert_eq!(cpuinfo("x86-server"), None);
}

#[test]
fn what_is_not_there_is_said() {
    let nowhere = Machine::under("/no/such/directory").inventory();
    for inventory in [inventory("container"), nowhere] {
        assert_eq!(inventory.iter().count(), Fact::ALL.len());
        for (fact, reading) in inventory.iter() {
            let shown = format!("{reading:?}");
            assert!(shown.starts_with("Nothing(\""), "{fact:?}: {shown}");
        }
    }
}
