//! A pattern that a peer subscribes with, or that an operator was granted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{InvalidTopic, Limits, TopicName};

/// A valid topic filter: wildcards stand alone, `#` only at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(Box<str>);

impl TopicFilter {
    /// Checks what a peer of the given kind sent.
    pub fn parse(text: &str, limits: Limits) -> Result<Self, InvalidTopic> {
        limits.check(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let alone = level.len() == 1;
            let last = levels.peek().is_none();
            if (level.contains('+') && !alone) || (level.contains('#') && !(alone && last)) {
                return Err(InvalidTopic::MisplacedWildcard);
            }
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message published to `topic` belongs to this filter.
    ///
    /// A wildcard in the first level matches no topic that starts with `$`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let hidden = topic.as_str().starts_with('$') && self.0.starts_with(['+', '#']);
        !hidden && covers(self.0.split('/'), topic.levels())
    }

    /// Whether every topic that `other` matches is matched by this filter too:
    /// whoever was granted this filter may subscribe with the other.
    pub fn covers(&self, other: &Self) -> bool {
        let hidden = other.0.starts_with('$') && self.0.starts_with(['+', '#']);
        !hidden && covers(self.0.split('/'), other.0.split('/'))
    }

    /// Whether some topic is matched by both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (mine.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
                _ => return false,
            }
        }
    }
}

/// Walks both level by level. `#` covers all that follows, its parent level
/// included; `+` covers any one level but a `#`.
fn covers<'a>(
    mut granted: impl Iterator<Item = &'a str>,
    mut asked: impl Iterator<Item = &'a str>,
) -> bool {
    loop {
        match (granted.next(), asked.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(mine), Some(level)) if mine == level => {}
            _ => return false,
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        Self::parse(&text, Limits::SERVICE)
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text, Limits::SERVICE).expect("valid filter")
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text, Limits::SERVICE).expect("valid name")
    }

    #[test]
    fn parsing() {
        for fine in ["#", "+", "a/#", "+/a/+", "/", "a//#", "é/+", "$SYS/#"] {
            filter(fine);
        }
        for wrong in ["a/#/b", "a+", "+a", "sport#", "#/", "a/b+/c"] {
            assert_eq!(
                TopicFilter::parse(wrong, Limits::SERVICE),
                Err(InvalidTopic::MisplacedWildcard),
                "{wrong}"
            );
        }
        assert_eq!(
            TopicFilter::parse("", Limits::SERVICE),
            Err(InvalidTopic::Empty)
        );
    }

    #[test]
    fn matching() {
        let check = |pattern: &str, topic: &str, expected: bool| {
            assert_eq!(
                filter(pattern).matches(&name(topic)),
                expected,
                "{pattern} ~ {topic}"
            );
        };
        check("a/#", "a", true);
        check("a/#", "a/b/c", true);
        check("a/#", "ab", false);
        check("a/+", "a/b", true);
        check("a/+", "a", false);
        check("a/+", "a/", true);
        check("+/+", "/x", true);
        check("+", "/x", false);
        check("#", "é/x", true);
        check("#", "$SYS/x", false);
        check("+/x", "$SYS/x", false);
        check("$SYS/#", "$SYS/x", true);
        check("A", "a", false);
    }

    #[test]
    fn covering() {
        let check = |granted: &str, asked: &str, expected: bool| {
            assert_eq!(
                filter(granted).covers(&filter(asked)),
                expected,
                "{granted} ⊇ {asked}"
            );
        };
        check("#", "a/+/#", true);
        check("a/#", "a", true);
        check("a/#", "a/#", true);
        check("a/+", "a/#", false);
        check("a/+", "a/+", true);
        check("a/b", "a/+", false);
        check("+/b", "a/b", true);
        check("a/#", "#", false);
        check("#", "$SYS/#", false);
    }

    const PATTERN: &str = "([ab+]/){0,3}([ab+]|#)";
    const TOPIC: &str = "([ab]/){0,3}[ab]";

    proptest! {
        /// What is covered matches nothing that the grant does not match.
        #[test]
        fn covering_is_sound(granted in PATTERN, asked in PATTERN, topic in TOPIC) {
            let (granted, asked, topic) = (filter(&granted), filter(&asked), name(&topic));
            if granted.covers(&asked) && asked.matches(&topic) {
                prop_assert!(granted.matches(&topic));
            }
        }

        /// Two filters that match one topic overlap.
        #[test]
        fn overlap_is_complete(one in PATTERN, two in PATTERN, topic in TOPIC) {
            let (one, two, topic) = (filter(&one), filter(&two), name(&topic));
            if one.matches(&topic) && two.matches(&topic) {
                prop_assert!(one.overlaps(&two) && two.overlaps(&one));
            }
        }

        /// A name is a filter that matches itself and nothing else.
        #[test]
        fn a_name_matches_itself(one in TOPIC, two in TOPIC) {
            prop_assert_eq!(filter(&one).matches(&name(&two)), one == two);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = TopicFilter::parse(&text, Limits::DEVICE);
            let _ = TopicName::parse(&text, Limits::DEVICE);
        }
    }
}
