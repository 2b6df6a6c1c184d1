//! A kind of device: its secrets, its datastreams, its policies.

mod proof;
mod secrets;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::clones::OnClone;
use crate::hardware::HardwarePolicy;
use crate::identity::ProductId;
use crate::licence::Licence;
use crate::sealing::SealedSecret;

pub use self::proof::ProofPolicy;
pub use self::secrets::{Indexed, ProductSecretSlot, Progress};

/// A kind of device, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The name that machines use.
    pub id: ProductId,
    /// Counts the writes to this product.
    pub version: u64,
    /// The name that people use.
    pub name: String,
    /// One or two live secrets, and those that have ended and that devices may
    /// still sign with; newest first.
    pub secrets: Vec<ProductSecretSlot>,
    /// What a device of this product is told it may send.
    pub datastreams: Vec<Datastream>,
    /// Whether a code works again after it was used.
    pub reactivation: Reactivation,
    /// Whether its devices are kept out.
    pub block: Block,
    /// How many datastreams that the product does not name a device may add.
    pub new_datastreams: u32,
    /// When the product was made.
    pub created_at: Timestamp,
    /// What people are told about it.
    pub profile: Profile,
    /// What its devices may prove themselves with.
    pub proof: ProofPolicy,
    /// From then on no code is accepted.
    pub codes_until: Option<Timestamp>,
    /// What it makes of its devices' hardware.
    pub hardware: HardwarePolicy,
    /// What their facts are hashed under, sealed.
    pub pepper: Option<SealedSecret>,
    /// What follows a sign that a device was cloned.
    pub on_clone: OnClone,
    /// How many may be active, and for how long.
    pub licence: Licence,
}

impl Product {
    /// Datastreams that a device may add, unless the product says otherwise.
    pub const NEW_DATASTREAMS: u32 = 100;
    /// Datastreams that it may name.
    pub const DATASTREAMS: usize = 500;
    /// Bytes of its description.
    pub const DESCRIPTION: usize = 4096;

    /// Whether a code is accepted.
    pub(crate) fn takes_codes(&self, now: Timestamp) -> bool {
        self.codes_until.is_none_or(|end| now < end)
    }

    /// Whether the product names this datastream for all its devices.
    pub fn names(&self, datastream: &DatastreamId) -> bool {
        self.datastreams.iter().any(|known| known.id == *datastream)
    }

    /// Takes these datastreams in place of those it has. One that comes by its
    /// name alone keeps what is known of it.
    pub(crate) fn replace_datastreams(&mut self, mut next: Vec<Datastream>) {
        for datastream in next.iter_mut().filter(|next| next.is_bare()) {
            let known = self.datastreams.iter().find(|it| it.id == datastream.id);
            if let Some(known) = known {
                *datastream = known.clone();
            }
        }
        self.datastreams = next;
    }
}

/// An operator's act on all devices of a product, but for its exceptions.
///
/// A block has a number; a device that is excepted carries that number in its
/// own row. So a CONNECT looks up nothing more, however long the list is, and
/// a new block leaves no exception of an older one behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The number that was given out last; from 1 on.
    pub newest: u32,
    /// The block that holds now.
    pub current: Option<u32>,
}

/// What people are told about a product, and about its devices' feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// In a few sentences.
    pub description: String,
    /// How far it has come.
    pub stage: Stage,
    /// What the feeds of its devices are called.
    pub feed_defaults: FeedDefaults,
}

/// How far a product has come. It changes nothing that the server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Being made.
    #[default]
    Develop,
    /// In the field.
    Deploy,
}

/// What the feeds of a product's devices are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedDefaults {
    /// For people; the product's name if there is none.
    pub title: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// What apps are told.
    pub visibility: Visibility,
}

/// Whether apps are told that a feed is public. Nobody reads one without a
/// key, whatever it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// For everybody.
    Public,
    /// For those who may.
    #[default]
    Private,
}

/// One series of values that a product's devices send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datastream {
    /// What it is called.
    pub id: DatastreamId,
    /// For people.
    pub tags: Vec<String>,
    /// What its values are measured in.
    pub unit: Option<Unit>,
}

impl Datastream {
    /// Whether nothing is said but its name.
    fn is_bare(&self) -> bool {
        self.tags.is_empty() && self.unit.is_none()
    }
}

impl From<DatastreamId> for Datastream {
    fn from(id: DatastreamId) -> Self {
        Self {
            id,
            tags: Vec::new(),
            unit: None,
        }
    }
}

/// What values are measured in, in Xively's three words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Such as `Celsius`.
    pub label: Option<String>,
    /// Such as `C`.
    pub symbol: Option<String>,
    /// Such as `derivedSI`.
    pub kind: Option<String>,
}

/// What a product allows a device that shows its code again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reactivation {
    /// The code works until the first key made with it is used. A lost answer
    /// costs nothing; a copied code is worth nothing afterwards.
    UntilConfirmed,
    /// The code always works. A working device is not disturbed: its key ends
    /// only when a newer one is used.
    Always,
    /// The code works once. A lost answer needs an operator.
    Never,
}

impl Reactivation {
    /// All policies, as a command line offers them.
    pub const ALL: [Self; 3] = [Self::UntilConfirmed, Self::Always, Self::Never];

    /// The name in configuration and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UntilConfirmed => "until-confirmed",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for Reactivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reactivation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| "use until-confirmed, always or never".to_owned())
    }
}

/// The name of one series of values: 1 to 64 letters (of any script), digits
/// and `_ - + .`, as Xively had it, but for `.` and `..`, which no path can
/// hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatastreamId(Arc<str>);

/// A text is not a datastream id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a datastream id is 1 to 64 letters, digits and _ - + . (but not . or .. alone)")]
pub struct InvalidDatastream;

impl DatastreamId {
    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidDatastream> {
        let in_alphabet = |symbol: char| symbol.is_alphanumeric() || "_-+.".contains(symbol);
        let fits = (1..=64).contains(&text.chars().count()) && text.chars().all(in_alphabet);
        if fits && text != "." && text != ".." {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDatastream)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatastreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DatastreamId {
    type Error = InvalidDatastream;

    fn try_from(text: String) -> Result<Self, InvalidDatastream> {
        Self::parse(&text)
    }
}

impl From<DatastreamId> for String {
    fn from(id: DatastreamId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl FromStr for DatastreamId {
    type Err = InvalidDatastream;

    fn from_str(text: &str) -> Result<Self, InvalidDatastream> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datastream_ids() {
        for fine in ["0", "temperature", "a.b-c_d+e", "température", "温度"] {
            assert!(DatastreamId::parse(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a,b",
            "a\"b",
            "#",
            &"x".repeat(65),
        ] {
            assert!(DatastreamId::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn policies_have_one_spelling() {
        for policy in Reactivation::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        assert!("Always".parse::<Reactivation>().is_err());
    }
}
