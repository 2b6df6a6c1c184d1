//! One session's cursor over the event log.
//!
//! Events are read from the registry as the peer takes them: a slow one holds
//! up nobody and loses nothing.

use std::collections::VecDeque;

use firstwake::{Event, Registry, RegistryError};
use tokio::sync::watch;

/// Events read at once.
const PAGE: usize = 128;

/// Where a session is in the log.
pub(crate) struct Cursor {
    newest: watch::Receiver<u64>,
    /// The last event that was read from the registry.
    read: u64,
    /// Read, not sent yet.
    waiting: VecDeque<Event>,
}

impl Cursor {
    /// A cursor behind event number `after`, or behind the newest.
    pub(crate) fn new(mut newest: watch::Receiver<u64>, after: Option<u64>) -> Self {
        let now = *newest.borrow_and_update();
        Self {
            newest,
            read: after.map_or(now, |after| after.min(now)),
            waiting: VecDeque::new(),
        }
    }

    /// Waits until there is a next event. Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self, registry: &dyn Registry) -> Result<(), RegistryError> {
        while self.waiting.is_empty() {
            let wanted = self.read;
            if self
                .newest
                .wait_for(|newest| *newest > wanted)
                .await
                .is_err()
            {
                return Err(RegistryError::Unavailable("it was closed".to_owned()));
            }
            let page = registry.events(self.read, PAGE).await?;
            if let Some(last) = page.last() {
                self.read = last.seq;
            }
            self.waiting.extend(page);
        }
        Ok(())
    }

    /// Takes the next event, if one was read.
    pub(crate) fn take(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}
