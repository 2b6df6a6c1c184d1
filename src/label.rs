//! What people call a device, and which characters deceive those who read.

use std::borrow::Cow;
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

/// Whether a character ends a line, moves a terminal's cursor or more (C0, C1),
/// is not seen, or turns others around: two texts that look alike would not be.
pub fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text of any origin for a person to read, on one line: each character that
/// [deceives] is written as its number, `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, deceives)
}

/// The same where the text itself has lines.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && deceives(character))
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escapes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match escapes(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
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
    fn what_deceives_is_shown_by_its_number() {
        for harmless in ["", "kitchen lamp", "é, 灯, 💡", "a\\b \"c\""] {
            assert!(matches!(visible(harmless), Cow::Borrowed(it) if it == harmless));
        }
        for (text, shown) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            (
                "a\u{202e}b\u{2066}c\u{61c}",
                "a\\u{202e}b\\u{2066}c\\u{61c}",
            ),
            ("two\r\nlines\tx", "two\\u{d}\\u{a}lines\\u{9}x"),
            ("\u{200b}\u{feff}\u{e0041}", "\\u{200b}\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_lines("a\nb\r"), "a\nb\\u{d}");
        for bad in ["x\u{1b}y", "x\u{9b}y", "x\u{61c}y", "x\u{e0041}y"] {
            assert_eq!(Label::parse(bad), Err(InvalidLabel), "{bad:?}");
        }
    }

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
