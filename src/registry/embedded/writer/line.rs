//! Who is next.
//!
//! Registrations come in batches that take as long as a thousand other writes.
//! They wait behind those, and between two of them everybody else has a turn:
//! so nobody waits for more than one. And they wait until the store has room:
//! it takes in more than it can put away, and would grow with a long list.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{GROUP, Request};
use crate::registry::Batch;

/// How many devices are registered with one sync, unless more come at once.
const DEVICES: usize = 2000;
/// How long batches wait before they look for room again.
const BREATH: Duration = Duration::from_millis(2);
/// After so many they go on without: a store whose own threads have ended says
/// so to whoever writes.
const BREATHS: u32 = 5000;

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

    /// Waits for those who are to be written together; batches are taken only
    /// where there is room for them. There are none any more once it says no.
    pub(super) fn next(&mut self, group: &mut Vec<Request>, has_room: impl Fn() -> bool) -> bool {
        let mut breaths = 0;
        loop {
            let has_room = || breaths >= BREATHS || has_room();
            if self.batches_are_next && has_room() && self.take_batches(group) {
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
            if self.batches_are_next {
                return true;
            }
            if has_room() {
                return self.take_batches(group);
            }
            // The store tells nobody when it has put something away.
            thread::park_timeout(BREATH);
            breaths += 1;
        }
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
    use std::cell::Cell;

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
            assert!(line.next(&mut group, || true), "somebody waits");
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
        assert!(!line.next(&mut Vec::new(), || true), "nobody is left");
    }

    #[test]
    fn batches_wait_for_room_and_others_do_not() {
        let (sender, queue) = mpsc::channel(16);
        let mut line = Line::new(queue);
        for request in [batch(7), note(), batch(8)] {
            assert!(sender.try_send(request).is_ok(), "there is room");
        }
        let mut group = Vec::new();
        assert!(line.next(&mut group, || false));
        assert!(group.iter().all(|request| request.batch().is_none()));
        // Somebody else comes while they wait, and then there is room.
        let looks = Cell::new(0);
        let has_room = || {
            looks.set(looks.get() + 1);
            if looks.get() == 2 {
                assert!(sender.try_send(note()).is_ok(), "there is room");
            }
            looks.get() > 4
        };
        group.clear();
        assert!(line.next(&mut group, has_room));
        assert!(group.iter().all(|request| request.batch().is_none()));
        group.clear();
        assert!(line.next(&mut group, has_room));
        assert_eq!(group.len(), 2, "both batches");
        assert!(looks.get() > 4);
    }
}
