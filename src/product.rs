//! A kind of device: its secrets, its datastreams, its policies.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::ProductId;
use crate::sealing::SealedSecret;

/// A kind of device, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The name that machines use.
    pub id: ProductId,
    /// Counts the writes to this product.
    pub version: u64,
    /// The name that people use.
    pub name: String,
    /// One or two live secrets, newest first.
    pub secrets: Vec<ProductSecretSlot>,
    /// What a device of this product is told it may send.
    pub datastreams: Vec<DatastreamId>,
    /// Whether a code works again after it was used.
    pub reactivation: Reactivation,
    /// Whether its devices are kept out.
    pub block: Block,
    /// How many datastreams that the product does not name a device may add.
    pub new_datastreams: u32,
    /// When the product was made.
    pub created_at: Timestamp,
}

impl Product {
    /// Datastreams that a device may add, unless the product says otherwise.
    pub const NEW_DATASTREAMS: u32 = 100;
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

/// One of a product's secrets, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductSecretSlot {
    /// Counts a product's secrets from 1; never reused.
    pub generation: u32,
    /// The secret under the registry's sealing key.
    pub sealed: SealedSecret,
    /// From then on the secret is no longer accepted.
    pub expires_at: Option<Timestamp>,
}

impl ProductSecretSlot {
    /// Whether codes made with this secret are still accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
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
/// and `_ - + .`, as Xively had it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatastreamId(Arc<str>);

/// A text is not a datastream id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a datastream id is 1 to 64 letters, digits and _ - + .")]
pub struct InvalidDatastream;

impl DatastreamId {
    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidDatastream> {
        let in_alphabet = |symbol: char| symbol.is_alphanumeric() || "_-+.".contains(symbol);
        if (1..=64).contains(&text.chars().count()) && text.chars().all(in_alphabet) {
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
        for wrong in ["", "a b", "a/b", "a,b", "a\"b", "#", &"x".repeat(65)] {
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
