//! Which devices make up a fleet.
//!
//! A specification is `PREFIX:COUNT` or the name of a file with one serial a
//! line.

use std::path::PathBuf;
use std::str::FromStr;

use firstwake::{InvalidName, Serial};

/// Where a fleet's serials come from.
///
/// A text that ends in `:` and digits is `PREFIX:COUNT`, split at its last
/// colon since a prefix may hold colons itself; anything else names a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialSource {
    /// See [`Serial::numbered`]. These are made when the text is parsed, so that a
    /// wrong prefix is wrong usage.
    Generated(Vec<Serial>),
    /// One serial a line; blank lines are skipped.
    File(PathBuf),
}

/// Why serials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SerialsError {
    /// The generated names would not be serials.
    #[error("PREFIX:COUNT does not make serials: {0}")]
    Prefix(InvalidName),
    /// The number after the colon is zero or too large.
    #[error("COUNT in PREFIX:COUNT is a number from 1 to 10000000")]
    Count,
    /// The file cannot be read.
    #[error("cannot read serials from {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line is not a serial.
    #[error("{path}, line {line}: {cause}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: InvalidName,
    },
}

/// More devices than any one machine can hold open.
const MOST: u32 = 10_000_000;

impl FromStr for SerialSource {
    type Err = SerialsError;

    fn from_str(text: &str) -> Result<Self, SerialsError> {
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.rsplit_once(':') {
            Some((prefix, digits)) if all_digits(digits) => {
                let count = digits.parse().map_err(|_| SerialsError::Count)?;
                if !(1..=MOST).contains(&count) {
                    return Err(SerialsError::Count);
                }
                let serials = Serial::numbered(prefix, count).map_err(SerialsError::Prefix)?;
                Ok(Self::Generated(serials))
            }
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl SerialSource {
    /// The serials, in order.
    pub fn load(self) -> Result<Vec<Serial>, SerialsError> {
        let path = match self {
            Self::Generated(serials) => return Ok(serials),
            Self::File(path) => path,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                parse_lines(&text).map_err(|(line, cause)| SerialsError::Line { path, line, cause })
            }
            Err(cause) => Err(SerialsError::Unreadable { path, cause }),
        }
    }
}

fn parse_lines(text: &str) -> Result<Vec<Serial>, (usize, InvalidName)> {
    let mut serials = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() {
            serials.push(Serial::parse(line).map_err(|cause| (index + 1, cause))?);
        }
    }
    Ok(serials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(serials: &[Serial]) -> Vec<&str> {
        serials.iter().map(Serial::as_str).collect()
    }

    #[test]
    fn generated_names_are_padded_to_six_digits() {
        let serials = Serial::numbered("demo-", 3).expect("a valid prefix");
        assert_eq!(
            names(&serials),
            ["demo-000000", "demo-000001", "demo-000002"]
        );
        assert!(Serial::numbered("de mo", 1).is_err());
        assert!(Serial::numbered(&"x".repeat(59), 1).is_err());
    }

    #[test]
    fn a_specification_ends_in_a_colon_and_digits() {
        let generated = |text: &str, expected: &[&str]| match text.parse() {
            Ok(SerialSource::Generated(serials)) => assert_eq!(names(&serials), expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        generated("a:2", &["a000000", "a000001"]);
        generated("a:b:1", &["a:b000000"]);
        generated(":1", &["000000"]);

        let file = |text: &str| match text.parse() {
            Ok(SerialSource::File(path)) => assert_eq!(path, PathBuf::from(text)),
            other => panic!("{text}: {other:?}"),
        };
        file("serials.txt");
        file("a:");
        file("a:1b");
        file("dir:7/serials");

        for wrong in ["a:0", "a:10000001", "a:99999999999999999999", "a b:1"] {
            assert!(wrong.parse::<SerialSource>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_has_one_serial_a_line() {
        let serials = parse_lines("one\n\n two \r\nthree").expect("valid lines");
        assert_eq!(names(&serials), ["one", "two", "three"]);
        assert_eq!(parse_lines("one\nt/wo").map_err(|(line, _)| line), Err(2));
    }
}
