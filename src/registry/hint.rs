//! What the servers on one registry tell each other in passing.
//!
//! A hint makes something happen sooner, and is never needed for it to be
//! right: it may be lost, come twice, or come late. Whatever must not be lost
//! is in the registry.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::FeedId;

/// Something that another server may want to know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hint {
    /// A device's session began on another server.
    Session {
        /// The device's feed.
        feed: FeedId,
        /// When it began, by that server's clock.
        began: Timestamp,
    },
    /// Something waits in a device's mailbox.
    Mail {
        /// The device's feed.
        feed: FeedId,
    },
    /// Hints may have been missed: whoever relies on them looks for itself.
    Missed,
}
