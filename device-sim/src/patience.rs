//! How long a device waits for one step.
//!
//! A timer set and cleared for every packet of every device would cost more
//! than the packet. Each slot of the storm keeps one, which is moved only when
//! it fires early: once in a deadline's length instead of once a step.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::outcome::Mishap;

/// A deadline that is set anew for every step.
pub(crate) struct Patience {
    limit: Duration,
    due: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            due: Instant::now() + limit,
            alarm: Box::pin(sleep(limit)),
        }
    }

    /// Begins a step.
    pub(crate) fn renew(&mut self) {
        self.due = Instant::now() + self.limit;
    }

    /// Runs `action` to its end or to the end of the step.
    pub(crate) async fn bound<T>(
        &mut self,
        action: impl Future<Output = Result<T, Mishap>>,
    ) -> Result<T, Mishap> {
        let mut action = pin!(action);
        poll_fn(|context| {
            if let Poll::Ready(result) = action.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            while self.alarm.as_mut().poll(context).is_ready() {
                if self.alarm.deadline() >= self.due {
                    return Poll::Ready(Err(Mishap::TimedOut));
                }
                self.alarm.as_mut().reset(self.due);
            }
            Poll::Pending
        })
        .await
    }
}
