//! How fast a device may publish.
//!
//! One bucket in eight bytes, whoever idles. Who can be told no is told so by
//! the session; for everybody else it reads no further until there is a token
//! again, so nothing is lost.

use std::time::Duration;

use firstwake::{Bucket, Rate};

use crate::edge::Clock;
use crate::limits::Limits;

/// One device's bucket.
#[derive(Debug, Default)]
pub(super) struct Pace(Bucket);

impl Pace {
    /// Takes the token for one message, or says when there will be one.
    pub(super) fn take(&mut self, limits: &Limits, clock: Clock) -> Result<(), Duration> {
        let rate = Rate::per_second(limits.device_publish_rate, limits.device_publish_burst);
        match rate {
            Some(rate) => self.0.take(rate, clock.elapsed()),
            None => Ok(()),
        }
    }
}
