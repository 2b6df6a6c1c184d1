//! Messages that were sent to one operator and are not received for good.
//!
//! What a connection leaves open is sent again over the next one, in its
//! order, before anything new.

use std::collections::VecDeque;

use super::Waiting;

/// How far a message has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// It was sent.
    Sent(Waiting),
    /// QoS 2: the peer has received the first half.
    Received,
}

/// One message under its packet id.
#[derive(Clone, Debug)]
struct Flight {
    id: u16,
    stage: Stage,
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: VecDeque<Flight>,
    /// So many of the last were not sent over this connection yet.
    again: usize,
}

impl Flights {
    /// Notes a message that was sent for the first time.
    pub(crate) fn push(&mut self, id: u16, waiting: Waiting) {
        let stage = Stage::Sent(waiting);
        self.flights.push_back(Flight { id, stage });
    }

    /// The peer has received the first half.
    pub(crate) fn receive(&mut self, id: u16) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.stage = Stage::Received;
        }
    }

    /// The peer has received it for good.
    pub(crate) fn acknowledge(&mut self, id: u16) {
        let found = self.flights.iter().position(|flight| flight.id == id);
        if let Some(at) = found.filter(|at| *at < self.sent()) {
            self.flights.remove(at);
        }
    }

    /// A new connection: all that is open is to be sent again.
    pub(crate) fn begin_again(&mut self) {
        self.again = self.flights.len();
    }

    /// Whether something is to be sent again.
    pub(crate) fn is_behind(&self) -> bool {
        self.again > 0
    }

    /// What is to be sent again next.
    pub(crate) fn next_again(&self) -> Option<(u16, Stage)> {
        let flight = self.flights.get(self.sent())?;
        Some((flight.id, flight.stage.clone()))
    }

    /// It was sent.
    pub(crate) fn sent_again(&mut self) {
        self.again = self.again.saturating_sub(1);
    }

    /// It is of no use any more.
    pub(crate) fn drop_again(&mut self) {
        self.flights.remove(self.sent());
        self.sent_again();
    }

    /// Takes out what was sent and nothing is known of.
    pub(super) fn take_sent(&mut self) -> Vec<Waiting> {
        self.again = 0;
        let all = self.flights.drain(..);
        all.filter_map(|flight| match flight.stage {
            Stage::Sent(waiting) => Some(waiting),
            Stage::Received => None,
        })
        .collect()
    }

    /// Those that were sent over this connection come first.
    fn sent(&self) -> usize {
        self.flights.len() - self.again
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firstwake::topic::{Limits, TopicName};
    use firstwake::{Qos, Timestamp};

    use super::*;
    use crate::bus::Message;
    use crate::keep::Match;

    fn flights(ids: &[u16]) -> Flights {
        let topic = TopicName::parse("t", Limits::SERVICE).expect("valid");
        let message = Message::of_server(topic, Vec::new(), Timestamp::from_millis(0));
        let mut flights = Flights::default();
        for id in ids {
            let how = Match {
                qos: Qos::ExactlyOnce,
                retain: false,
                identifiers: Vec::new(),
            };
            let waiting = Waiting {
                message: Arc::new(message.clone()),
                how,
                share: None,
            };
            flights.push(*id, waiting);
        }
        flights
    }

    fn ids(flights: &Flights) -> Vec<u16> {
        flights.flights.iter().map(|flight| flight.id).collect()
    }

    #[test]
    fn what_is_open_is_sent_again_in_its_order() {
        let mut flights = flights(&[1, 2, 3, 4]);
        flights.acknowledge(2);
        flights.receive(3);
        assert!(!flights.is_behind());
        flights.begin_again();
        assert!(matches!(flights.next_again(), Some((1, Stage::Sent(_)))));
        flights.sent_again();
        // Received while the others still wait.
        flights.acknowledge(1);
        assert!(matches!(flights.next_again(), Some((3, Stage::Received))));
        flights.sent_again();
        assert!(matches!(flights.next_again(), Some((4, Stage::Sent(_)))));
        flights.drop_again();
        assert!(flights.next_again().is_none() && !flights.is_behind());
        assert_eq!(ids(&flights), [3]);
    }

    #[test]
    fn another_connection_begins_from_the_first() {
        let mut flights = flights(&[1, 2]);
        flights.begin_again();
        flights.sent_again();
        flights.begin_again();
        assert!(matches!(flights.next_again(), Some((1, _))));
    }
}
