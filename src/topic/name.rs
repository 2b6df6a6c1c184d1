//! A topic that a message is published to.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{InvalidTopic, Limits};

/// A valid topic name: not empty, no NUL, no wildcard, within its limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks what a peer of the given kind sent.
    pub fn parse(text: &str, limits: Limits) -> Result<Self, InvalidTopic> {
        limits.check(text)?;
        if text.contains(['+', '#']) {
            return Err(InvalidTopic::WildcardInName);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text between the slashes, empty levels included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Builds a topic of our own making. Its levels are known to be valid.
    pub(crate) fn from_valid(text: String) -> Self {
        debug_assert!(Self::parse(&text, Limits::SERVICE).is_ok(), "{text:?}");
        Self(text.into())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        Self::parse(&text, Limits::SERVICE)
    }
}

impl From<TopicName> for String {
    fn from(topic: TopicName) -> Self {
        topic.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: Result<(), InvalidTopic>| {
            assert_eq!(
                TopicName::parse(text, Limits::DEVICE).map(|_| ()),
                expected,
                "{text:?}"
            );
        };
        for fine in ["a", "/", "é/x", "温度", "\u{feff}a", "a//b", " ", "%2B"] {
            check(fine, Ok(()));
        }
        check("", Err(InvalidTopic::Empty));
        check("a\0b", Err(InvalidTopic::Nul));
        check("a/+/b", Err(InvalidTopic::WildcardInName));
        check("a/#", Err(InvalidTopic::WildcardInName));
        check("a+", Err(InvalidTopic::WildcardInName));
        check(&"x".repeat(512), Ok(()));
        check(&"x".repeat(513), Err(InvalidTopic::TooLong));
        check(&"/".repeat(15), Ok(()));
        check(&"/".repeat(16), Err(InvalidTopic::TooDeep));
    }
}
