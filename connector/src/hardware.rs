//! What this machine is made of: the facts that tell it from a copy.
//!
//! Everything is read from files that Linux shows to anybody (one of them to
//! root only), below a root that a test can choose. A fact that is not really
//! there is not shown: a serial of zeros, an address that was drawn at random
//! and a maker's "to be filled in" say nothing about a machine. Nothing here
//! decides what a fact is worth; `docs/connector.md` tells.

mod board;
mod cpu_serial;
mod cpuinfo;
mod mac;
mod machine_id;
mod placeholder;
mod root_device;
mod root_disk;
mod sd_card;
mod tree;

use std::path::PathBuf;

use firstwake::hardware::Fact;

use self::tree::Tree;

/// No fact has more values than this; a server takes no more either.
const MOST_VALUES: usize = 8;

/// The machine whose `/proc`, `/sys` and `/etc` lie below a directory.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self::under("/")
    }

    /// One whose files were copied below `root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Reads what there is to know. Every fact is in the answer, if only with
    /// the reason why it has no value.
    pub fn inventory(&self) -> Inventory {
        let tree = Tree::below(&self.root);
        Inventory(
            Fact::ALL
                .into_iter()
                .map(|fact| (fact, read(&tree, fact)))
                .collect(),
        )
    }
}

fn read(tree: &Tree, fact: Fact) -> Reading {
    let mut reading = match fact {
        Fact::CpuSerial => cpu_serial::read(tree),
        Fact::Board => board::read(tree),
        Fact::Mac => mac::read(tree),
        Fact::SdCard => sd_card::read(tree),
        Fact::RootDisk => root_disk::read(tree),
        Fact::MachineId => machine_id::read(tree),
        Fact::Cpuinfo => cpuinfo::read(tree),
    };
    if let Reading::Values(values) = &mut reading {
        values.truncate(MOST_VALUES);
    }
    reading
}

/// What was found about one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// At least one value, the most telling first.
    Values(Vec<String>),
    /// None, and why.
    Nothing(&'static str),
}

impl Reading {
    /// These values, or the reason for having none.
    fn of(values: impl IntoIterator<Item = String>, otherwise: &'static str) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        if values.is_empty() {
            Self::Nothing(otherwise)
        } else {
            Self::Values(values)
        }
    }
}

/// All facts of a machine, in the order of [`Fact::ALL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory(Vec<(Fact, Reading)>);

impl Inventory {
    /// Every fact with what was found.
    pub fn iter(&self) -> impl Iterator<Item = (Fact, &Reading)> {
        self.0.iter().map(|(fact, reading)| (*fact, reading))
    }

    /// Every value with its fact; facts without a value are passed over.
    pub fn values(&self) -> impl Iterator<Item = (Fact, &str)> {
        self.iter().flat_map(|(fact, reading)| {
            let values = match reading {
                Reading::Values(values) => values.as_slice(),
                Reading::Nothing(_) => &[],
            };
            values.iter().map(move |value| (fact, value.as_str()))
        })
    }
}
