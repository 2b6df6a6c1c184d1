//! What it means that a board shows other facts than it was enrolled with.
//!
//! A replaced SD card is not a stolen identity; a changed CPU serial is. Which
//! facts may change, and what follows when others do, a product says.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Fact, Facts, InvalidFact};

/// What a product makes of its devices' facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HardwareMode {
    /// They are not even kept.
    Off,
    /// They are kept, and their changes noted.
    #[default]
    Record,
    /// A fact that must not change raises a clone alarm; the device gets in.
    Warn,
    /// It is refused, too.
    Enforce,
}

impl HardwareMode {
    /// All modes, as a command line offers them.
    pub const ALL: [Self; 4] = [Self::Off, Self::Record, Self::Warn, Self::Enforce];

    /// The name in configuration and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Record => "record",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for HardwareMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HardwareMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| "use off, record, warn or enforce".to_owned())
    }
}

/// Some of the facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactSet(BTreeSet<Fact>);

impl FactSet {
    /// What an ordinary repair or update changes.
    pub fn replaceable() -> Self {
        [Fact::SdCard, Fact::RootDisk, Fact::MachineId, Fact::Cpuinfo]
            .into_iter()
            .collect()
    }

    /// Whether the fact is among them.
    pub fn contains(&self, fact: Fact) -> bool {
        self.0.contains(&fact)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, in the order they are shown.
    pub fn iter(&self) -> impl Iterator<Item = Fact> {
        self.0.iter().copied()
    }
}

impl FromIterator<Fact> for FactSet {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        Self(facts.into_iter().collect())
    }
}

/// `sd_card,machine_id`, or `none`.
impl fmt::Display for FactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(|fact| fact.as_str()).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for FactSet {
    type Err = InvalidFact;

    fn from_str(text: &str) -> Result<Self, InvalidFact> {
        match text {
            "none" => Ok(Self::default()),
            list => list.split(',').map(|name| name.trim().parse()).collect(),
        }
    }
}

/// What a product says about its devices' hardware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwarePolicy {
    /// What follows.
    pub mode: HardwareMode,
    /// Facts that may change without anything following.
    pub may_change: FactSet,
}

impl Default for HardwarePolicy {
    fn default() -> Self {
        Self {
            mode: HardwareMode::default(),
            may_change: FactSet::replaceable(),
        }
    }
}

/// What holding shown facts against enrolled ones found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Facts that must not change and do not fit, or are not shown any more.
    pub broken: FactSet,
    /// Facts that may change and have, or that are new.
    pub changed: FactSet,
    /// What is to be kept from now on, if the board is believed.
    pub next: Facts,
}

impl Compared {
    /// That nothing was looked at.
    pub(crate) fn unchanged(enrolled: &Facts) -> Self {
        Self {
            next: enrolled.clone(),
            ..Self::default()
        }
    }

    /// Without facts that were never enrolled: they are not enrolled now.
    pub(crate) fn without_new(mut self, enrolled: &Facts) -> Self {
        for fact in Fact::ALL {
            if enrolled.hashes(fact).is_empty() {
                self.changed.0.remove(&fact);
                self.next.drop(fact);
            }
        }
        self
    }

    /// That the board is believed, whatever it shows.
    pub(crate) fn believed(mut self, shown: &Facts) -> Self {
        for fact in std::mem::take(&mut self.broken).0 {
            if !shown.hashes(fact).is_empty() {
                self.changed.0.insert(fact);
                self.next.take(fact, shown);
            }
        }
        self
    }
}

impl HardwarePolicy {
    /// Holds what a board shows against what was enrolled, fact by fact. A
    /// fact fits if any of its enrolled values is among those shown: a board
    /// that gained an interface is the same board.
    pub fn compare(&self, enrolled: &Facts, shown: &Facts) -> Compared {
        let mut compared = Compared {
            next: enrolled.clone(),
            ..Compared::default()
        };
        for fact in Fact::ALL {
            let (before, now) = (enrolled.hashes(fact), shown.hashes(fact));
            let fits = before.iter().any(|hash| now.contains(hash));
            match (before.is_empty(), now.is_empty()) {
                (true, true) => {}
                (true, false) => {
                    compared.changed.0.insert(fact);
                    compared.next.take(fact, shown);
                }
                _ if fits => {}
                _ if !self.may_change.contains(fact) => {
                    compared.broken.0.insert(fact);
                }
                (false, false) => {
                    compared.changed.0.insert(fact);
                    compared.next.take(fact, shown);
                }
                // Taken out, for now: it is known still if it comes back.
                (false, true) => {}
            }
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pepper;
    use super::*;

    fn facts(values: &[(Fact, &str)]) -> Facts {
        let pepper = Pepper::parse(&"0b".repeat(32)).expect("hex");
        Facts::of(&pepper, values.iter().copied())
    }

    fn names(set: &FactSet) -> String {
        set.to_string()
    }

    #[test]
    fn a_board_is_compared_fact_by_fact() {
        let enrolled = facts(&[
            (Fact::CpuSerial, "1"),
            (Fact::Mac, "a"),
            (Fact::Mac, "b"),
            (Fact::SdCard, "x"),
        ]);
        let policy = HardwarePolicy::default();
        let check = |shown: &[(Fact, &str)], broken: &str, changed: &str| {
            let compared = policy.compare(&enrolled, &facts(shown));
            assert_eq!(names(&compared.broken), broken, "{shown:?}");
            assert_eq!(names(&compared.changed), changed, "{shown:?}");
            compared.next
        };
        let same = [(Fact::CpuSerial, "1"), (Fact::Mac, "b"), (Fact::Mac, "c")];
        assert_eq!(check(&same, "none", "none"), enrolled);

        let card = [
            (Fact::CpuSerial, "1"),
            (Fact::Mac, "a"),
            (Fact::SdCard, "y"),
        ];
        let next = check(&card, "none", "sd_card");
        assert_eq!(
            next.hashes(Fact::SdCard),
            facts(&card).hashes(Fact::SdCard),
            "the new card is the one that counts"
        );
        assert_eq!(next.hashes(Fact::Mac).len(), 2);

        // The card in another board, a board that says nothing, one more fact.
        let moved = [
            (Fact::CpuSerial, "2"),
            (Fact::Mac, "c"),
            (Fact::SdCard, "x"),
        ];
        assert_eq!(check(&moved, "cpu_serial,mac", "none"), enrolled);
        check(&[], "cpu_serial,mac", "none");
        let more = [
            (Fact::CpuSerial, "1"),
            (Fact::Mac, "a"),
            (Fact::Board, "c03111"),
        ];
        let next = check(&more, "none", "board");
        assert_eq!(next.hashes(Fact::Board).len(), 1);
    }

    #[test]
    fn sets_have_one_spelling() {
        let set: FactSet = "machine_id,sd_card".parse().expect("facts");
        assert_eq!(set.to_string(), "sd_card,machine_id");
        assert_eq!("none".parse(), Ok(FactSet::default()));
        assert!("".parse::<FactSet>().is_err());
        assert!("sd-card".parse::<FactSet>().is_err());
    }
}
