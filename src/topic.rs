//! MQTT topic names and filters that exist only if they are valid.
//!
//! Everything a peer sends is parsed here before anything else sees it. What
//! a *device* may do with a topic is decided in [`device`]; what an operator
//! may, in [`Rights`](crate::Rights).

pub mod device;
mod filter;
mod level;
mod name;

pub use filter::TopicFilter;
pub use level::{decode_level, encode_level};
pub use name::TopicName;

/// How long and how deep a topic may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// UTF-8 bytes.
    pub bytes: usize,
    /// Levels, counting empty ones.
    pub levels: usize,
}

impl Limits {
    /// What a device may send.
    pub const DEVICE: Self = Self {
        bytes: 512,
        levels: 16,
    };

    /// What an operator or a service may send: MQTT's own length limit.
    pub const SERVICE: Self = Self {
        bytes: 65_535,
        levels: 200,
    };

    fn check(self, text: &str) -> Result<(), InvalidTopic> {
        if text.is_empty() {
            Err(InvalidTopic::Empty)
        } else if text.contains('\0') {
            Err(InvalidTopic::Nul)
        } else if text.len() > self.bytes {
            Err(InvalidTopic::TooLong)
        } else if text.split('/').count() > self.levels {
            Err(InvalidTopic::TooDeep)
        } else {
            Ok(())
        }
    }
}

/// Why a text is not a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// MQTT 4.7.3: at least one character.
    #[error("a topic has at least one character")]
    Empty,
    /// MQTT 4.7.3: no U+0000.
    #[error("a topic holds no U+0000")]
    Nul,
    /// Longer than this kind of peer may send.
    #[error("the topic is too long")]
    TooLong,
    /// More levels than this kind of peer may send.
    #[error("the topic has too many levels")]
    TooDeep,
    /// MQTT 4.7.1: `+` and `#` have no place in a topic *name*.
    #[error("a topic that is published to holds no + or #")]
    WildcardInName,
    /// MQTT 4.7.1: `+` and `#` stand alone in their level, `#` in the last.
    #[error("+ and # stand alone in their level, and # only in the last")]
    MisplacedWildcard,
}
