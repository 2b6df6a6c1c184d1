//! Requests that are carried out once, however often they are sent.
//!
//! Whoever sends a request names the occasion with a key of its own. The
//! registry knows that it has begun before anything happens, and what it was
//! answered once it has: so a request that is repeated, even after a crash,
//! never does its work twice.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::operator::OperatorName;
use crate::sealing::SealedSecret;
use crate::secret::TokenDigest;

/// One operator's request, by the key it was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OccasionId([u8; 32]);

impl OccasionId {
    /// Two operators that use the same key mean two occasions; so does one that
    /// was given other rights in between, or that comes with another token: an
    /// answer may hold what its token may not have, such as a token that lasts
    /// longer.
    pub(crate) fn of(
        operator: &OperatorName,
        granted_at: Timestamp,
        token: Option<&TokenDigest>,
        key: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(operator.as_str());
        hash.update([0]);
        hash.update(granted_at.as_millis().to_be_bytes());
        hash.update([u8::from(token.is_some())]);
        if let Some(token) = token {
            hash.update(token.as_bytes());
        }
        hash.update(key);
        Self(hash.finalize().into())
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is known of a request that is carried out once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    /// When it began.
    pub at: Timestamp,
    /// SHA-256 of what was asked.
    pub request: [u8; 32],
    /// How it was answered, sealed, as that may hold a secret; `None` until
    /// then.
    pub response: Option<SealedSecret>,
}
