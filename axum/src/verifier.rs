//! What an extractor needs of a server's state.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use firstwake::signed::{Audience, RequestDigest};
use firstwake::{DeviceLogin, Provisioner, Timestamp};

use crate::problem::Rejection;

/// The registry that a server asks about requests, the name that its devices sign
/// for, its clock, and how much it reads.
#[derive(Clone)]
pub struct Verifier {
    provisioner: Arc<Provisioner>,
    audience: Audience,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    largest_body: usize,
}

impl Verifier {
    /// Bytes that a body has at most, unless said otherwise.
    pub const LARGEST_BODY: usize = 1024 * 1024;

    /// A verifier over this registry, by this clock. Devices sign their requests
    /// for the server's name, `audience`: what they signed for another is refused.
    pub fn new(
        provisioner: Arc<Provisioner>,
        audience: Audience,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            provisioner,
            audience,
            clock: Arc::new(clock),
            largest_body: Self::LARGEST_BODY,
        }
    }

    /// Reads bodies of at most so many bytes. They are read whole before
    /// anybody is trusted.
    #[must_use]
    pub fn with_largest_body(mut self, bytes: usize) -> Self {
        self.largest_body = bytes;
        self
    }

    pub(crate) fn largest_body(&self) -> usize {
        self.largest_body
    }

    /// Who signed this request. It is used up then.
    pub(crate) async fn verify(
        &self,
        token: &str,
        asked: &RequestDigest,
        source: IpAddr,
    ) -> Result<DeviceLogin, Rejection> {
        let now = (self.clock)();
        let audience = &self.audience;
        let verified = self
            .provisioner
            .verify_request(token, asked, audience, source, now);
        verified
            .await
            .map_err(|not| Rejection::NotAdmitted { not, now })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("audience", &self.audience)
            .field("largest_body", &self.largest_body)
            .finish_non_exhaustive()
    }
}
