//! What the servers on one registry tell each other in passing.
//!
//! A hint makes something happen sooner, and is never needed for it to be
//! right: it may be lost, come twice, or come late. Whatever must not be lost
//! is in the registry.
//!
//! The way that hints go is open to others, so they are sealed with a key that
//! only servers with the registry's sealing key have.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clones::{Peer, Takeover};
use crate::entropy::Entropy;
use crate::identity::FeedId;
use crate::mailbox::{Mail, Resume};
use crate::sealing::SealingKey;

/// The key of a registry's hints, and the name under which one running server
/// seals them.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "only servers that share a registry use them")
)]
pub struct HintCredentials {
    pub(super) key: Zeroizing<[u8; 32]>,
    /// Never drawn twice, so that a number under it makes a nonce.
    pub(super) session: [u8; 16],
}

impl HintCredentials {
    /// Derives the key and draws a name.
    pub fn draw(sealing: &SealingKey, entropy: &dyn Entropy) -> Self {
        let mut session = [0; 16];
        entropy.fill(&mut session);
        Self {
            key: Zeroizing::new(sealing.derive(b"firstwake hints v1")),
            session,
        }
    }
}

impl fmt::Debug for HintCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HintCredentials(…)")
    }
}

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
