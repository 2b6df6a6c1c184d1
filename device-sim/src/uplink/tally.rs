//! What has arrived: each message once, later ones counted apart.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::payload::Message;
use crate::record::{histogram, record};

/// One bit for each message of the run, and what the times add up to.
pub(super) struct Tally {
    run: u32,
    topics: Vec<String>,
    messages: usize,
    seen: Vec<u64>,
    pub(super) delivered: u64,
    pub(super) duplicates: u64,
    pub(super) foreign: u64,
    /// Since the run began.
    pub(super) last: Duration,
    /// From the intended time of sending to arrival, in microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Tally {
    /// For the devices whose topics these are, so many messages each.
    pub(super) fn new(run: u32, topics: Vec<String>, messages: u16) -> Self {
        let messages = usize::from(messages);
        Self {
            run,
            seen: vec![0; (topics.len() * messages).div_ceil(64)],
            topics,
            messages,
            delivered: 0,
            duplicates: 0,
            foreign: 0,
            last: Duration::ZERO,
            latencies: histogram(),
        }
    }

    /// Counts what arrived at `now`.
    pub(super) fn count(&mut self, topic: &str, payload: &[u8], now: Duration) {
        let Some((message, bit)) = self.place(topic, payload) else {
            self.foreign += 1;
            return;
        };
        let (word, mask) = (bit / 64, 1_u64 << (bit % 64));
        if self.seen[word] & mask != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[word] |= mask;
        self.delivered += 1;
        self.last = now;
        record(&mut self.latencies, now.saturating_sub(message.intended()));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.delivered == (self.topics.len() * self.messages) as u64
    }

    /// A message of this run, on its own device's topic, and its bit.
    fn place(&self, topic: &str, payload: &[u8]) -> Option<(Message, usize)> {
        let message = Message::read(payload).filter(|message| message.run == self.run)?;
        let device = message.device as usize;
        let number = message.number as usize;
        let known = self.topics.get(device).is_some_and(|own| own == topic);
        (known && number < self.messages).then_some((message, device * self.messages + number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(run: u32, device: u32, number: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let message = Message {
            run,
            device,
            number,
            intended_us: 1_000,
        };
        message.write(40, &mut out);
        out
    }

    fn tally() -> Tally {
        Tally::new(7, vec!["t/0".to_owned(), "t/1".to_owned()], 40)
    }

    #[test]
    fn each_message_counts_once() {
        let mut tally = tally();
        let now = Duration::from_millis(3);
        for device in 0..2 {
            for number in 0..40 {
                assert!(!tally.is_complete());
                tally.count(&format!("t/{device}"), &payload(7, device, number), now);
            }
        }
        assert!(tally.is_complete());
        tally.count("t/1", &payload(7, 1, 39), Duration::from_millis(9));
        assert_eq!(
            (tally.delivered, tally.duplicates, tally.foreign),
            (80, 1, 0)
        );
        assert_eq!(tally.last, now);
        let latencies = &tally.latencies;
        assert_eq!((latencies.len(), latencies.max()), (80, 2_000));
    }

    #[test]
    fn what_is_not_the_fleets_is_foreign() {
        let check = |topic: &str, payload: &[u8]| {
            let mut tally = tally();
            tally.count(topic, payload, Duration::ZERO);
            assert_eq!((tally.delivered, tally.foreign), (0, 1), "{topic}");
        };
        check("t/0", b"21.5");
        check("t/0", &payload(6, 0, 0));
        check("t/1", &payload(7, 0, 0));
        check("t/2", &payload(7, 2, 0));
        check("t/0", &payload(7, 0, 40));
    }
}
