//! The name of one series of values.

use std::fmt;
use std::str::FromStr;

use crate::error::InvalidLine;

/// A datastream id: 1 to 128 ASCII letters, digits and `_ - + .`
///
/// Xively's alphabet without its non-ASCII letters. The bound keeps the topic
/// below the 512 bytes that a device's topic may have, even if all were `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datastream(String);

impl Datastream {
    /// The longest name, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(Self::in_alphabet) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLine::Datastream)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn in_alphabet(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte)
    }
}

impl fmt::Display for Datastream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Datastream {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, InvalidLine> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, valid: bool| {
            assert_eq!(Datastream::parse(text).is_ok(), valid, "{text:?}");
        };
        check("temperature", true);
        check("a_Z-0+1.2", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        for wrong in ["", "a b", "a/b", "a#", "é", "a=b", "%2B"] {
            check(wrong, false);
        }
    }
}
