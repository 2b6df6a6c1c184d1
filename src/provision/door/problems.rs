//! What goes wrong after a device was let in, for `device explain` and the log.

use std::net::IpAddr;

use crate::cause::{Cause, bounded};
use crate::clock::Timestamp;
use crate::device::Device;
use crate::identity::FeedId;
use crate::provision::{Provisioner, SessionProblem};

impl Provisioner {
    /// Keeps what went wrong in a device's session, in bounded memory. `detail`
    /// is one more clause, without secrets; it is cut where it is long.
    pub fn note_problem(
        &self,
        feed: FeedId,
        source: IpAddr,
        cause: Cause,
        detail: Option<&str>,
        now: Timestamp,
    ) {
        let detail = detail.map(bounded);
        self.attempts
            .keep_problem(feed, source, (cause, detail), now);
        self.reasons.count(source, cause.as_str());
    }

    /// What went wrong in a device's sessions since the start, the oldest first.
    pub(in crate::provision) fn problems_of(&self, device: &Device) -> Vec<SessionProblem> {
        self.attempts.problems_of(device.feed)
    }
}
