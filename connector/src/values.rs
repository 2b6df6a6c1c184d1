//! From a line of text to a value of a datastream. Pure.
//!
//! `NAME VALUE` or `NAME=VALUE`. Where a default datastream is known, a bare
//! line (one word, without `=`) is the value of that one. Nothing is guessed:
//! a line that is neither is an [`InvalidLine`].

use std::fmt;

use firstwake::DatastreamId;

use crate::error::InvalidLine;

/// The text of one value: 1 to 4,096 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    /// The longest value, in bytes; well below what one packet may carry.
    pub const MAX_LENGTH: usize = 4096;

    /// Checks the length.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        match text.len() {
            0 => Err(InvalidLine::Empty),
            1..=Self::MAX_LENGTH => Ok(Self(text.to_owned())),
            _ => Err(InvalidLine::TooLong),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One value on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Which series it belongs to.
    pub datastream: DatastreamId,
    /// What is published.
    pub payload: Payload,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.datastream, self.payload.as_str())
    }
}

/// Reads one line; a blank one is `Ok(None)`.
pub fn parse_line(
    line: &str,
    default: Option<&DatastreamId>,
) -> Result<Option<Value>, InvalidLine> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (datastream, text) = match line.split_once(|c: char| c == '=' || c.is_whitespace()) {
        Some((name, rest)) => (
            DatastreamId::parse(name)?,
            after_separator(line, name, rest),
        ),
        None => (default.ok_or(InvalidLine::NoDatastream)?.clone(), line),
    };
    let payload = Payload::parse(text)?;
    Ok(Some(Value {
        datastream,
        payload,
    }))
}

/// `NAME = VALUE` is `NAME=VALUE`: one `=` is the separator, with or without
/// space around it; a second one belongs to the value.
fn after_separator<'a>(line: &str, name: &str, rest: &'a str) -> &'a str {
    let separated_by_equals = line[name.len()..].starts_with('=');
    let rest = rest.trim_start();
    if separated_by_equals {
        rest
    } else {
        rest.strip_prefix('=').map_or(rest, str::trim_start)
    }
}

#[cfg(test)]
mod tests {
    use firstwake::InvalidDatastream;

    use super::*;

    fn read(line: &str, default: Option<&str>) -> Result<Option<String>, InvalidLine> {
        let default = default.map(|name| DatastreamId::parse(name).expect("datastream"));
        let value = parse_line(line, default.as_ref())?;
        Ok(value.map(|value| value.to_string()))
    }

    #[test]
    fn lines_with_a_name() {
        let check = |line: &str, expected: &str| {
            for default in [None, Some("other")] {
                assert_eq!(
                    read(line, default),
                    Ok(Some(expected.to_owned())),
                    "{line:?}"
                );
            }
        };
        check("temperature 21.5", "temperature=21.5");
        check("temperature=21.5", "temperature=21.5");
        check("  temperature \t 21.5\r\n", "temperature=21.5");
        check("temperature = 21.5", "temperature=21.5");
        check("temperature =21.5", "temperature=21.5");
        check("door wide open", "door=wide open");
        check("sum=a=b", "sum=a=b");
        check("sum==b", "sum==b");
        check("t+1.a -3", "t+1.a=-3");
        check("name 温度", "name=温度");
    }

    #[test]
    fn bare_lines() {
        let check = |line: &str, expected: Result<Option<String>, InvalidLine>| {
            assert_eq!(read(line, Some("level")), expected, "{line:?}");
        };
        check("21.5", Ok(Some("level=21.5".to_owned())));
        check("97%", Ok(Some("level=97%".to_owned())));
        check("\t-3\n", Ok(Some("level=-3".to_owned())));
        check("   ", Ok(None));
        assert_eq!(read("21.5", None), Err(InvalidLine::NoDatastream));
    }

    #[test]
    fn lines_that_are_no_value() {
        let check = |line: &str, expected| assert_eq!(read(line, None), Err(expected), "{line:?}");
        check("a/b 1", InvalidLine::Datastream(InvalidDatastream));
        check("# a comment", InvalidLine::Datastream(InvalidDatastream));
        check("= 1", InvalidLine::Datastream(InvalidDatastream));
        check("temperature=", InvalidLine::Empty);
        check("temperature = ", InvalidLine::Empty);
        let long = "x".repeat(Payload::MAX_LENGTH + 1);
        check(&format!("a {long}"), InvalidLine::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_read_again(line in "\\PC{0,40}", name in "[a-z+.]{1,8}[ =\t]{1,3}") {
            for line in [line.clone(), format!("{name}{line}")] {
                if let Ok(Some(value)) = parse_line(&line, None) {
                    assert_eq!(parse_line(&value.to_string(), None), Ok(Some(value)));
                }
            }
        }
    }
}
