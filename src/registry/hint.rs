//! What the servers on one registry tell each other in passing.
//!
//! A hint makes something happen sooner, and is never needed for it to be
//! right: it may be lost, come twice, or come late. Whatever must not be lost
//! is in the registry.

use serde::{Deserialize, Serialize};

use crate::clones::{Peer, Takeover};
use crate::identity::FeedId;
use crate::mailbox::{Mail, Resume};

/// Something that another server may want to know at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hint {
    /// A device's session began on another server.
    Session {
        /// The device's feed.
        feed: FeedId,
        /// When it began, by that server's clock, as a number that no two
        /// sessions have: the later one's is greater.
        began: u64,
        /// Whether it goes on with what an earlier one left.
        resume: Resume,
        /// Who holds it.
        peer: Peer,
    },
    /// A device's session ended one that was still open.
    Takeover {
        /// The device's feed.
        feed: FeedId,
        /// Whose it was and whose it is.
        takeover: Takeover,
    },
    /// Something waits in a device's mailbox.
    Mail {
        /// The device's feed.
        feed: FeedId,
    },
    /// A feed has other values.
    Values {
        /// The feed.
        feed: FeedId,
    },
    /// A message for a device that waits nowhere, for whoever holds its
    /// session.
    Message {
        /// The device's feed.
        feed: FeedId,
        /// The message; its content has at most [`Hint::CONTENT`] bytes.
        mail: Mail,
    },
    /// Hints may have been missed: whoever relies on them looks for itself.
    Missed,
}

impl Hint {
    /// Bytes of a message that can be passed on.
    pub const CONTENT: usize = 2048;
}
