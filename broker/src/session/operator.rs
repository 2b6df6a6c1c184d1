//! An operator or a service that is connected.
//!
//! Four things feed it: its own connection, the event log behind a cursor of
//! its own, the bus, and the groups it shares subscriptions with. The last
//! three are read only while the peer has room, so nothing piles up here. What
//! outlives the connection is [`Kept`]; this speaks to the peer.

mod away;
mod delivery;
mod hold;
mod subscribing;

use std::sync::Arc;

use firstwake::topic::device::Downlink;
use firstwake::{NotPosted, RegistryError};

pub(crate) use self::hold::OperatorHold;
use super::{Departure, Will};
use crate::broker::Broker;
use crate::bus::{BusEnded, Message, Received, Turn};
use crate::downlink::Sent;
use crate::keep::{Kept, Seat};
use crate::mqtt::packet::{Farewell, Input, Publish, Verdict};
use crate::wire::{Lingering, Step, Stream, Wire};

/// One operator's session, while its peer is connected.
pub(crate) struct OperatorSession<S> {
    wire: Wire<S>,
    will: Option<Will>,
    /// What came together with the CONNECT.
    early: Vec<Input>,
    seat: Seat,
    kept: Box<Kept>,
    /// Seconds that the session outlives its connection.
    expiry: u32,
}

/// What happens next in the session.
enum Next {
    Step(Step),
    Event(Result<(), RegistryError>),
    Received(Result<Received, BusEnded>),
    Turn(Turn),
}

impl<S: Stream> OperatorSession<S> {
    pub(crate) fn new(
        wire: Wire<S>,
        will: Option<Will>,
        hold: OperatorHold,
        expiry: u32,
        early: Vec<Input>,
    ) -> Self {
        let OperatorHold { seat, kept } = hold;
        Self {
            wire,
            will,
            early,
            seat,
            kept,
            expiry,
        }
    }

    pub(crate) async fn run(mut self: Box<Self>, broker: &Arc<Broker>) -> Option<Lingering> {
        let departure = self.last(broker).await;
        let expiry = departure
            .session_expiry
            .map_or(self.expiry, |asked| broker.limits.session_expiry(asked));
        if let Some(will) = self.will.take() {
            let owner = self.wire.place().owner();
            will.carry_out(&departure, owner, expiry, broker).await;
        }
        let Self {
            mut wire,
            seat,
            mut kept,
            ..
        } = *self;
        kept.received = wire.machine.awaiting_release().to_vec();
        wire.close(departure.farewell).await;
        let hold = OperatorHold { seat, kept };
        let (stream, place) = wire.into_parts();
        match departure.farewell {
            // Who may not be here leaves nothing behind.
            Some(Farewell::Administrative(_)) => hold.end(broker),
            _ if expiry == 0 => hold.end(broker),
            _ => hold.leave(place, expiry, broker),
        }
        departure.lingering(stream)
    }

    async fn last(&mut self, broker: &Broker) -> Departure {
        let mut inputs = std::mem::take(&mut self.early);
        loop {
            for input in inputs {
                if let Err(departure) = self.take(input, broker).await {
                    return departure;
                }
            }
            inputs = Vec::new();
            self.deliver_waiting(broker.clock.now());
            match self.next(broker).await {
                Next::Step(Step::Progress(more)) => inputs = more,
                // Nothing comes to operators this way.
                Next::Step(Step::Mail) => {}
                Next::Step(Step::Poked) => {
                    let login = &self.kept.login;
                    if let Err(not) = broker.provisioner.recheck_operator(login).await {
                        return Departure::not_admitted(&not);
                    }
                }
                Next::Step(Step::End(farewell)) => return Departure::ended(farewell),
                Next::Step(Step::Lost) => return Departure::lost(),
                Next::Event(Ok(())) => self.deliver_events(broker.clock.now()),
                Next::Event(Err(_)) | Next::Received(Err(_)) => {
                    return Departure::ended(Farewell::ServerBusy);
                }
                Next::Received(Ok(received)) => self.kept.receive(received),
                Next::Turn(turn) => self.kept.take_turn(turn),
            }
        }
    }

    /// Waits for whatever comes first. The log, the bus and the groups are
    /// left alone while the peer has no room.
    async fn next(&mut self, broker: &Broker) -> Next {
        let kept = &mut *self.kept;
        let room = self.wire.flows()
            && self.wire.machine.has_room()
            && kept.queue.is_empty()
            && !kept.in_flight.is_behind();
        let registry = &**broker.provisioner.registry();
        let (sender, sharing) = (kept.sender, kept.subscriptions.are_shared());
        let (cursor, reader) = (&mut kept.cursor, &mut kept.reader);
        let event = async {
            match cursor {
                Some(cursor) if room => cursor.wait(registry).await,
                _ => std::future::pending().await,
            }
        };
        let received = async {
            match reader {
                Some(reader) if room => reader.next().await,
                _ => std::future::pending().await,
            }
        };
        let turn = async {
            match room && sharing {
                true => broker.bus.groups().next(sender).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            step = self.wire.step() => Next::Step(step),
            event = event => Next::Event(event),
            received = received => Next::Received(received),
            turn = turn => Next::Turn(turn),
        }
    }

    /// Room for one more message, whatever its quality.
    fn has_room(&self) -> bool {
        self.wire.flows() && self.wire.machine.has_room()
    }

    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure> {
        match input {
            Input::Publish(publish) => self.take_publish(publish, broker).await,
            Input::Subscribe(subscribe) => self.take_subscribe(subscribe, broker).await,
            Input::Unsubscribe(unsubscribe) => {
                self.take_unsubscribe(&unsubscribe, broker);
                Ok(())
            }
            Input::Acknowledged(id) => {
                self.kept.in_flight.acknowledge(id);
                Ok(())
            }
            Input::Received(id) => {
                self.kept.in_flight.receive(id);
                Ok(())
            }
            Input::Disconnect(goodbye) => Err(Departure::goodbye(goodbye)),
        }
    }

    async fn take_publish(&mut self, publish: Publish, broker: &Broker) -> Result<(), Departure> {
        let topic = match publish.topic {
            Ok(topic) if self.kept.login.rights().may_publish(&topic) => Ok(topic),
            Ok(_) => Err(Verdict::NotAuthorized),
            Err(_) => Err(Verdict::TopicInvalid),
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(verdict) => {
                self.wire.machine.acknowledge(publish.receipt, verdict);
                return Ok(());
            }
        };
        let message = Message {
            topic,
            payload: publish.payload.as_slice().to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            sender: self.kept.sender,
            at: broker.clock.now(),
        };
        if let Some(downlink) = Downlink::of(&message.topic) {
            let verdict = self.send_down(&downlink, message, broker).await?;
            self.wire.machine.acknowledge(publish.receipt, verdict);
            return Ok(());
        }
        if broker.bus.publish(message).await.is_err() {
            return Err(Departure::ended(Farewell::ServerBusy));
        }
        self.wire
            .machine
            .acknowledge(publish.receipt, Verdict::Accepted);
        Ok(())
    }

    /// Sends a message to a device. A sender learns whether anybody waits for
    /// it, where its version has a word for that.
    async fn send_down(
        &self,
        downlink: &Downlink,
        message: Message,
        broker: &Broker,
    ) -> Result<Verdict, Departure> {
        match broker.downlink().send(downlink, message).await {
            Ok(Sent::Waits | Sent::Handed | Sent::Kept) => Ok(Verdict::Accepted),
            Ok(Sent::NobodyThere) | Err(NotPosted::Unknown(_)) => Ok(Verdict::NobodyThere),
            Err(NotPosted::Revoked(_)) => Ok(Verdict::NotAuthorized),
            // Not acknowledged: the sender keeps it and sends it again.
            Err(NotPosted::Registry(_)) => Err(Departure::ended(Farewell::ServerBusy)),
        }
    }
}
