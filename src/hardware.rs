//! What a device is made of, as hashes that say nothing to others.
//!
//! A fact is something that can be read on a board: the CPU's serial, a MAC
//! address. The server never learns facts, only their HMAC under a pepper of
//! the product. Whoever has the pepper can guess short ones; whoever has not
//! can compare nothing.

mod policy;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::Entropy;

pub use self::policy::{Compared, FactSet, HardwareMode, HardwarePolicy};
pub use self::value::{FactValue, InvalidFactValue};

/// Something that can be read on a board. Rows hold the position in this list:
/// new facts come at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The number burnt into the CPU.
    CpuSerial,
    /// The board's revision and model.
    Board,
    /// Permanent addresses of real network interfaces.
    Mac,
    /// The SD card's CID register.
    SdCard,
    /// The serial of the disk that the system runs from.
    RootDisk,
    /// `/etc/machine-id`: of the installation, not of the hardware.
    MachineId,
    /// The hash of `/proc/cpuinfo`: the same on every board of a kind, and
    /// another with each kernel.
    Cpuinfo,
}

/// A text names no fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact is cpu_serial, board, mac, sd_card, root_disk, machine_id or cpuinfo")]
pub struct InvalidFact;

impl Fact {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 7] = [
        Self::CpuSerial,
        Self::Board,
        Self::Mac,
        Self::SdCard,
        Self::RootDisk,
        Self::MachineId,
        Self::Cpuinfo,
    ];

    /// The name in claims, files and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuSerial => "cpu_serial",
            Self::Board => "board",
            Self::Mac => "mac",
            Self::SdCard => "sd_card",
            Self::RootDisk => "root_disk",
            Self::MachineId => "machine_id",
            Self::Cpuinfo => "cpuinfo",
        }
    }

    /// As it is hashed: a factory's scanner and a kernel write the same number
    /// in different ways.
    fn normalise(self, value: &str) -> String {
        let value = value.trim_matches(|symbol: char| symbol == '\0' || symbol.is_whitespace());
        let value = value.to_ascii_lowercase();
        match self {
            Self::Mac => value::mac(&value).unwrap_or_else(|| value.replace('-', ":")),
            _ => value,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Fact {
    type Err = InvalidFact;

    fn from_str(text: &str) -> Result<Self, InvalidFact> {
        let named = |fact: &Self| fact.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(InvalidFact)
    }
}

/// What a product's facts are hashed under: 32 bytes that its devices know.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// Draws a new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads the 64 hex characters; `None` if they are not that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The 64 lower-case hex characters, for devices and factories.
    pub fn expose_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// The first 16 bytes of HMAC-SHA256(pepper, `"firstwake fact v1" ‖ 0x00 ‖ name
/// ‖ 0x00 ‖ value`), written as 32 hex characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FactHash([u8; 16]);

impl FactHash {
    /// Hashes a value as it was read.
    pub fn of(pepper: &Pepper, fact: Fact, value: &str) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104)"
        )]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&pepper.0).expect("HMAC takes a key of any length");
        mac.update(b"firstwake fact v1\0");
        mac.update(fact.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(fact.normalise(value).as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Self(hash)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FactHash({self})")
    }
}

/// What is known of a board, by hashes. A board may have several of a fact,
/// such as addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts(BTreeMap<Fact, Vec<FactHash>>);

/// A text is not an object of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "facts are a JSON object such as {{\"cpu_serial\":\"…\",\"mac\":[\"…\",\"…\"]}} of hashes of 32 hex characters, at most 8 of each"
)]
pub struct InvalidFacts;

impl Facts {
    /// Hashes of one fact that are kept.
    pub const MOST: usize = 8;

    /// Hashes what was read. Empty values are no facts; of more than
    /// [`MOST`](Self::MOST) values of a fact the first are taken.
    pub fn of<'a>(pepper: &Pepper, values: impl IntoIterator<Item = (Fact, &'a str)>) -> Self {
        let mut facts = Self::default();
        for (fact, value) in values {
            if !fact.normalise(value).is_empty() {
                facts.add(fact, FactHash::of(pepper, fact, value));
            }
        }
        facts
    }

    /// Reads the JSON object that [`to_json`](Self::to_json) writes. Names that
    /// are not known are left out: a later connector may send more.
    pub fn parse(text: &str) -> Result<Self, InvalidFacts> {
        let value = serde_json::from_str(text).map_err(|_| InvalidFacts)?;
        Self::from_json(&value)
    }

    /// The same, from JSON that was read already.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, InvalidFacts> {
        let object = value.as_object().ok_or(InvalidFacts)?;
        let mut facts = Self::default();
        for (name, value) in object {
            let Ok(fact) = name.parse::<Fact>() else {
                continue;
            };
            let texts = match value {
                serde_json::Value::Array(texts) => texts.as_slice(),
                one => std::slice::from_ref(one),
            };
            if texts.len() > Self::MOST {
                return Err(InvalidFacts);
            }
            for text in texts {
                let hash = text.as_str().and_then(FactHash::parse);
                facts.add(fact, hash.ok_or(InvalidFacts)?);
            }
        }
        Ok(facts)
    }

    /// `{"cpu_serial":"…","mac":["…","…"]}`.
    pub fn to_json(&self) -> serde_json::Value {
        let text = |hash: &FactHash| serde_json::Value::from(hash.to_string());
        let members = self.0.iter().map(|(fact, hashes)| {
            let value = match hashes.as_slice() {
                [one] => text(one),
                several => several.iter().map(text).collect(),
            };
            (fact.as_str().to_owned(), value)
        });
        serde_json::Value::Object(members.collect())
    }

    /// Each fact with its hashes.
    pub fn iter(&self) -> impl Iterator<Item = (Fact, &[FactHash])> {
        self.0
            .iter()
            .map(|(fact, hashes)| (*fact, hashes.as_slice()))
    }

    /// The hashes of one fact.
    pub fn hashes(&self, fact: Fact) -> &[FactHash] {
        self.0.get(&fact).map_or(&[], Vec::as_slice)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, fact: Fact, hash: FactHash) {
        let hashes = self.0.entry(fact).or_default();
        if hashes.len() < Self::MOST && !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }

    fn drop(&mut self, fact: Fact) {
        self.0.remove(&fact);
    }

    fn take(&mut self, fact: Fact, from: &Self) {
        if let Some(hashes) = from.0.get(&fact) {
            self.0.insert(fact, hashes.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper() -> Pepper {
        Pepper::parse(&"0b".repeat(32)).expect("hex")
    }

    #[test]
    fn the_hash_is_the_documented_hmac() {
        // Computed with: printf 'firstwake fact v1\0mac\0b8:27:eb:01:02:03' | openssl dgst -sha256
        //   -mac HMAC -macopt hexkey:0b0b…0b (32 bytes), the first 32 characters.
        let expected = "9938149ca73626dcb4f860a8595c5c06";
        for text in [
            "b8:27:eb:01:02:03",
            "B8:27:EB:01:02:03\n",
            " B8-27-eb-01-02-03\0",
            "B827EB010203",
            "b827.eb01.0203",
        ] {
            assert_eq!(
                FactHash::of(&pepper(), Fact::Mac, text).to_string(),
                expected
            );
        }
        let other = FactHash::of(&pepper(), Fact::CpuSerial, "b8:27:eb:01:02:03");
        assert_ne!(other.to_string(), expected);
    }

    #[test]
    fn facts_are_read_as_they_are_written() {
        let facts = Facts::of(
            &pepper(),
            [
                (Fact::Mac, "b8:27:eb:01:02:03"),
                (Fact::Mac, "b8:27:eb:01:02:04"),
                (Fact::Mac, "B8:27:EB:01:02:03"),
                (Fact::CpuSerial, "00000000abcdef01"),
                (Fact::SdCard, " \0"),
            ],
        );
        assert_eq!(facts.hashes(Fact::Mac).len(), 2);
        assert_eq!(facts.hashes(Fact::SdCard).len(), 0);
        let text = facts.to_json().to_string();
        assert!(text.starts_with(r#"{"cpu_serial":""#), "{text}");
        assert_eq!(Facts::parse(&text), Ok(facts));
    }

    #[test]
    fn what_is_no_fact() {
        assert_eq!(Facts::parse(r#"{"later":17}"#), Ok(Facts::default()));
        let nine = format!(r#"{{"mac":{:?}}}"#, vec!["0b".repeat(16); 9]);
        for wrong in ["", "[]", "7", r#"{"mac":7}"#, r#"{"mac":"0b"}"#, &nine] {
            assert_eq!(Facts::parse(wrong), Err(InvalidFacts), "{wrong}");
        }
    }
}
