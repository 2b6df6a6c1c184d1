//! What people call a device.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What people call a device: 1 to 128 characters on one line, none of them a
/// space at either end, where nobody sees one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

/// A text is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a label is 1 to 128 characters on one line, with no space at either end")]
pub struct InvalidLabel;

impl Label {
    /// Characters that it may have.
    pub const MAX: usize = 128;

    /// Checks a label.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let fits = (1..=Self::MAX).contains(&text.chars().count());
        if fits && !text.contains(deceives) && text.trim() == text {
            Ok(Self(text.into()))
        } else {
            Err(InvalidLabel)
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character ends a line, is not seen, or turns others around: two
/// labels that look alike would not be.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Label {
    type Error = InvalidLabel;

    fn try_from(text: String) -> Result<Self, InvalidLabel> {
        Self::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.as_str().to_owned()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_line_of_some_length() {
        let longest = "é".repeat(Label::MAX);
        for good in ["kitchen lamp", "é", longest.as_str()] {
            assert_eq!(Label::parse(good).map(String::from), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "two\nlines",
            "\t",
            " x",
            "x ",
            " ",
            &format!("{longest}x"),
        ] {
            assert_eq!(Label::parse(bad), Err(InvalidLabel), "{bad:?}");
        }
    }
}
