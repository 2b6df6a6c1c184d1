//! A feed's current values.
//!
//! A datastream has one: the newest that its device, or somebody for it, has
//! sent. Values are texts, as Xively had them: a number is what reads as one.

mod body;
mod page;
mod time;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::product::DatastreamId;

pub use self::body::{Body, Format, NotRead};
pub use self::page::{DatastreamPage, FeedPage, precise};

/// A datastream's current value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentValue {
    /// Whose.
    pub datastream: DatastreamId,
    /// What was measured.
    pub value: Value,
    /// When it was measured, or came if nobody said when.
    pub at: Timestamp,
}

/// One measured value: at most 1,024 bytes of text on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Value(Arc<str>);

/// A text is not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value is at most 1024 bytes of text without control characters")]
pub struct InvalidValue;

impl Value {
    /// Checks the length, and that it is one line.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text.len() <= 1024 && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidValue)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Value {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Self::parse(&text)
    }
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        value.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for fine in ["", "21.5", "on", "é", &"x".repeat(1024)] {
            assert!(Value::parse(fine).is_ok(), "{fine}");
        }
        for wrong in ["a\nb", "\0", &"x".repeat(1025)] {
            assert!(Value::parse(wrong).is_err(), "{wrong}");
        }
    }
}
