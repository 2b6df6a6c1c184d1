//! What is kept of an operator's session, with and without a connection.
//!
//! It lives in memory: a restart ends every session. One [`Seat`] for each
//! operator and client id says who may touch it, a connection or, while the
//! peer is away, whoever sits in for it. Nothing here speaks to a peer.

mod cursor;
mod flights;
mod queue;
mod seats;
mod subscriptions;

use std::sync::Arc;

use firstwake::mailbox::Capacity;
use firstwake::{OperatorLogin, Qos};

pub(crate) use self::cursor::Cursor;
pub(crate) use self::flights::{Flights, Stage};
pub(crate) use self::queue::{Queue, Waiting};
pub(crate) use self::seats::{Bound, Key, Seat, Seats};
pub(crate) use self::subscriptions::{Match, Novelty, Removed, Subscriptions, is_for_events};
use crate::bus::{Bus, Reader, Received, Sender, Turn};

/// One session.
pub(crate) struct Kept {
    /// Who logged in last.
    pub(crate) login: OperatorLogin,
    pub(crate) sender: Sender,
    pub(crate) subscriptions: Subscriptions,
    /// Where it is in the event log.
    pub(crate) cursor: Option<Cursor>,
    /// Its link to the bus.
    pub(crate) reader: Option<Reader>,
    /// What waits to be sent.
    pub(crate) queue: Queue,
    /// What was sent and is not received for good.
    pub(crate) in_flight: Flights,
    /// QoS 2 messages of the peer whose second half is still to come.
    pub(crate) received: Vec<u16>,
}

impl Kept {
    pub(crate) fn new(login: OperatorLogin) -> Self {
        Self {
            login,
            sender: Sender::next(),
            subscriptions: Subscriptions::default(),
            cursor: None,
            reader: None,
            queue: Queue::default(),
            in_flight: Flights::default(),
            received: Vec::new(),
        }
    }

    /// Takes what came over the bus while the peer is there.
    pub(crate) fn receive(&mut self, received: Received) {
        let wanted = self.want(received);
        self.queue.extend(wanted);
    }

    /// Takes what it is this session's turn to deliver.
    pub(crate) fn take_turn(&mut self, turn: Turn) {
        self.queue.count_lost(turn.lost);
        let how = self
            .subscriptions
            .matching_share(&turn.share, &turn.message);
        if let Some(how) = how {
            self.queue.push(Waiting {
                message: turn.message,
                how,
                share: Some(turn.share),
            });
        }
    }

    /// Takes what came over the bus while the peer is away: nothing at QoS 0,
    /// and no more than there is room for.
    pub(crate) fn receive_away(&mut self, received: Received, room: Capacity) {
        let wanted = self.want(received);
        let lasting = wanted.filter(|waiting| waiting.qos() > Qos::AtMostOnce);
        self.queue.extend(lasting);
        self.queue.bound(room);
    }

    /// What came over the bus, if it was subscribed to.
    fn want(&mut self, received: Received) -> Option<Waiting> {
        self.queue.count_lost(received.lost);
        let message = received.message;
        let how = self.subscriptions.matching(&message, self.sender)?;
        Some(Waiting {
            message: Arc::new(message),
            how,
            share: None,
        })
    }

    /// The peer has gone. What others of its groups can have, they get.
    pub(crate) fn go_away(&mut self, bus: &Bus) {
        for (share, message) in self.queue.take_shared() {
            bus.groups().give_back(&share, message);
        }
        bus.groups().go_away(self.sender);
        self.queue.drop_fleeting();
    }

    /// The peer is there, perhaps again.
    pub(crate) fn arrive(&mut self, login: OperatorLogin, bus: &Bus) {
        self.login = login;
        self.in_flight.begin_again();
        bus.groups().arrive(self.sender);
    }

    /// The session is over. MQTT 5, 4.8.2: what was shared and is not received
    /// goes to another, unless it was sent at QoS 2.
    pub(crate) fn end(mut self, bus: &Bus) {
        self.go_away(bus);
        bus.groups().leave(self.sender);
        for waiting in self.in_flight.take_sent() {
            if let Some(share) = &waiting.share
                && waiting.qos() == Qos::AtLeastOnce
            {
                bus.groups().give_back(share, waiting.message);
            }
        }
    }
}
