//! Signs that one identity is used by two.
//!
//! A copied key cannot be told from the original; two that use it can. Each
//! sign is written down with what was seen, so that an operator can find out
//! which is the real one. None of them is proof.

mod rivals;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hardware::FactSet;

pub(crate) use self::rivals::Rivals;
pub use self::rivals::{Peer, Takeover};

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloneSignal {
    /// A right signature came from other hardware than was enrolled.
    HardwareMismatch,
    /// A token that was used before, or is older than the last one.
    TokenReplayed,
    /// A used code was shown again, by other hardware.
    SpentCode,
    /// Two addresses take the identity from each other.
    TwoAddresses,
    /// Two clients take the identity from each other.
    TwoClientIds,
}

impl CloneSignal {
    /// The name in events and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardwareMismatch => "hardware_mismatch",
            Self::TokenReplayed => "token_replayed",
            Self::SpentCode => "spent_code",
            Self::TwoAddresses => "two_addresses",
            Self::TwoClientIds => "two_client_ids",
        }
    }
}

impl fmt::Display for CloneSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was seen. It holds no secret: facts by their names, never their
/// hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where the one that raised the alarm came from.
    pub source: IpAddr,
    /// Where the other is.
    pub other: Option<IpAddr>,
    /// Facts that do not fit what was enrolled.
    pub facts: FactSet,
    /// What the two call themselves.
    pub client_ids: Vec<String>,
}

impl Evidence {
    /// That somebody came from there.
    pub(crate) fn from_source(source: IpAddr) -> Self {
        Self {
            source,
            other: None,
            facts: FactSet::default(),
            client_ids: Vec::new(),
        }
    }
}

/// What follows a sign that a product's device was cloned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnClone {
    /// Operators are told.
    #[default]
    Alert,
    /// The device is put aside, too, until an operator releases it.
    Quarantine,
}

impl OnClone {
    /// Both, as a command line offers them.
    pub const ALL: [Self; 2] = [Self::Alert, Self::Quarantine];

    /// The name in configuration and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Quarantine => "quarantine",
        }
    }
}

impl fmt::Display for OnClone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OnClone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| "use alert or quarantine".to_owned())
    }
}
