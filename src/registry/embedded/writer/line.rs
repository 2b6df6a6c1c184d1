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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::Timestamp;
    use crate::hardware::Facts;
    use crate::identity::Serial;
    use crate::registry::{Registrant, Write, conformance};

    fn note() -> Request {
        Request::Commit {
            write: Box::new(Write::Note),
            events: Vec::new(),
            answer: oneshot::channel().0,
        }
    }

    fn batch(devices: usize) -> Request {
        let device = |number: usize| Registrant {
            serial: Serial::parse(&number.to_string()).expect("valid"),
            codes: Vec::new(),
            hardware: Facts::default(),
            label: None,
        };
        let batch = Batch {
            product: conformance::product(0),
            generation: 1,
            devices: (0..devices).map(device).collect(),
            at: Timestamp::from_millis(0),
        };
        Request::Register {
            batch,
            answer: oneshot::channel().0,
        }
    }

    /// Each group in turn: a note is 0, a batch its devices.
    fn groups(line: &mut Line, times: usize) -> Vec<Vec<usize>> {
        let mut groups = Vec::new();
        for _ in 0..times {
            let mut group = Vec::new();
            assert!(line.next(&mut group), "somebody waits");
            let size = |it: &Request| it.batch().map_or(0, |batch| batch.devices.len());
            groups.push(group.iter().map(size).collect());
        }
        groups
    }

    #[test]
    fn nobody_waits_for_more_than_one_batch() {
        let (sender, queue) = mpsc::channel(16);
        let mut line = Line::new(queue);
        let send = |request| assert!(sender.try_send(request).is_ok(), "there is room");
        for request in [batch(2000), note(), batch(2000), batch(1), batch(2), note()] {
            send(request);
        }
        assert_eq!(groups(&mut line, 2), [vec![0, 0], vec![2000]]);
        // Who comes while one is written is next, before the other.
        send(note());
        assert_eq!(groups(&mut line, 2), [vec![0], vec![2000]]);
        // And small ones share a sync.
        assert_eq!(groups(&mut line, 1), [vec![1, 2]]);
        // Others that keep coming do not keep a batch waiting.
        send(batch(2001));
        send(note());
        assert_eq!(groups(&mut line, 1), [vec![0]]);
        send(note());
        assert_eq!(groups(&mut line, 2), [vec![2001], vec![0]]);
        drop(sender);
        assert!(!line.next(&mut Vec::new()), "nobody is left");
    }
}
