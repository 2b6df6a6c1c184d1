//! A connection's hold on an operator's session: its seat, and what is kept.

use std::sync::Arc;

use firstwake::OperatorLogin;

use super::away;
use crate::broker::Broker;
use crate::keep::{Kept, Key, Seat};
use crate::mqtt::machine::Session;
use crate::mqtt::packet::Start;
use crate::sessions::Place;

/// A session, and the right to run it.
pub(crate) struct OperatorHold {
    pub(super) seat: Seat,
    pub(super) kept: Box<Kept>,
}

impl OperatorHold {
    /// Waits until whoever runs the session has let go of it, and takes it up,
    /// or begins anew. A session of other rights than the ones just shown is
    /// no use to anybody.
    pub(crate) async fn take_up(
        key: Key,
        login: &OperatorLogin,
        start: Start,
        broker: &Broker,
    ) -> (Session, Self) {
        let mut seat = broker.seats.take(key).await;
        let (session, mut kept) = match (seat.pick_up(), start) {
            (Some(kept), Start::Resume) if holds(&kept, broker).await => (Session::Present, kept),
            (earlier, _) => {
                if let Some(earlier) = earlier {
                    earlier.end(&broker.bus);
                }
                (Session::New, Box::new(Kept::new(login.clone())))
            }
        };
        kept.arrive(login.clone(), &broker.bus);
        (session, Self { seat, kept })
    }

    /// Ends what an earlier connection may have left for one that is not let
    /// in after all.
    pub(crate) async fn give_up(key: Key, broker: &Broker) {
        let mut seat = broker.seats.take(key).await;
        if let Some(kept) = seat.pick_up() {
            kept.end(&broker.bus);
        }
    }

    /// QoS 2 messages that an earlier connection has received the first half
    /// of. Asking takes them.
    pub(crate) fn take_received(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.kept.received)
    }

    /// The session is over.
    pub(super) fn end(self, broker: &Broker) {
        let Self { seat, kept } = self;
        kept.end(&broker.bus);
        drop(seat);
    }

    /// The connection is over; the session waits so many seconds for another.
    pub(super) fn leave(mut self, place: Place, expiry: u32, broker: &Arc<Broker>) {
        self.kept.go_away(&broker.bus);
        let deadline = broker.clock.tick().plus(expiry).plus_ticks(1);
        match place.renew(deadline) {
            Some(place) => {
                let broker = Arc::clone(broker);
                let tasks = broker.tasks.clone();
                tasks.spawn(away::sit(self, place, deadline, broker));
            }
            // Somebody newer waits for the seat already.
            None => self.put_down(),
        }
    }

    pub(super) fn put_down(self) {
        let Self { seat, kept } = self;
        seat.put_down(kept);
    }
}

/// Whether a session's rights are still those of its operator.
async fn holds(kept: &Kept, broker: &Broker) -> bool {
    let checked = broker.provisioner.recheck_operator(&kept.login).await;
    checked.is_ok()
}
