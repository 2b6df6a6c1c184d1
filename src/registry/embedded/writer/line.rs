//! Who is next.
//!
//! Registrations come in batches that take as long as a thousand other writes.
//! They wait behind those, and between two of them everybody else has a turn:
//! so nobody waits for more than one. Nor do they wait for ever.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::{GROUP, Request};
use crate::registry::Batch;

/// How many devices are registered with one sync, unless more come at once.
const DEVICES: usize = 2000;

/// Whoever waits for the writer.
pub(super) struct Line {
    queue: mpsc::Receiver<Request>,
    batches: VecDeque<Request>,
    /// Others had their turn since the last batches were taken.
    batches_are_next: bool,
}

impl Line {
    pub(super) fn new(queue: mpsc::Receiver<Request>) -> Self {
        Self {
            queue,
            batches: VecDeque::new(),
            batches_are_next: false,
        }
    }

    /// Waits for those who are to be written together. There are none any
    /// more once it says no.
    pub(super) fn next(&mut self, group: &mut Vec<Request>) -> bool {
        if self.batches_are_next && self.take_batches(group) {
            return true;
        }
        if self.batches.is_empty() {
            if self.queue.blocking_recv_many(group, GROUP) == 0 {
                return false;
            }
        } else {
            while group.len() < GROUP
                && let Ok(request) = self.queue.try_recv()
            {
                group.push(request);
            }
        }
        let batches = group.extract_if(.., |request| request.batch().is_some());
        self.batches.extend(batches);
        self.batches_are_next = !group.is_empty();
        self.batches_are_next || self.take_batches(group)
    }

    /// Takes the batches that share a sync: small ones do. False if none wait.
    fn take_batches(&mut self, group: &mut Vec<Request>) -> bool {
        self.batches_are_next = false;
        let mut devices = 0;
        while let Some(next) = self.batches.front().and_then(Request::batch) {
            devices += next.devices.len();
            if devices > DEVICES && !group.is_empty() {
                break;
            }
            group.extend(self.batches.pop_front());
        }
        !group.is_empty()
    }
}

impl Request {
    /// What is to be registered.
    fn batch(&self) -> Option<&Batch> {
        match self {
            Self::Register { batch, .. } => Some(batch),
            _ => None,
        }
    }
}
