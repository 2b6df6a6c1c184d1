//! An operator or a service that is connected.
//!
//! Four things feed it: its own connection, the event log behind a cursor of
//! its own, the bus, and the groups it shares subscriptions with. The last
//! three are read only while the peer has room, so nothing piles up here. What
//! outlives the connection is [`Kept`]; this speaks to the peer.

mod away;
mod hold;

use std::sync::Arc;

use firstwake::topic::device::Downlink;
use firstwake::topic::{Limits, TopicFilter, TopicName};
use firstwake::{Event, NotPosted, RegistryError, Timestamp};

pub(crate) use self::hold::OperatorHold;
use super::{Departure, Will};
use crate::broker::Broker;
use crate::bus::{BusEnded, Message, Received, Share, Turn};
use crate::downlink::Sent;
use crate::keep::{Cursor, Kept, Match, Novelty, Removed, Seat, Stage, Waiting, is_for_events};
use crate::mqtt::machine::NotSent;
use crate::mqtt::packet::{
    Attempt, Delivery, Farewell, Granted, Input, NotOffered, Publish, Qos, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Unsubscribed, Verdict,
};
use crate::wire::{Step, Stream, Wire};

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

/// Messages that may wait for a session that has no room.
const WAITING: usize = 20_000;

/// Whether the event log could be followed from where the peer wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Done,
    NotUnderstood,
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

    pub(crate) async fn run(mut self: Box<Self>, broker: &Arc<Broker>) {
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
        match departure.farewell {
            // Who may not be here leaves nothing behind.
            Some(Farewell::Administrative) => hold.end(broker),
            _ if expiry == 0 => hold.end(broker),
            _ => hold.leave(wire.into_place(), expiry, broker),
        }
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
            Ok(Sent::Waits | Sent::Handed) => Ok(Verdict::Accepted),
            Ok(Sent::NobodyThere) | Err(NotPosted::Unknown(_)) => Ok(Verdict::NobodyThere),
            Err(NotPosted::Revoked(_)) => Ok(Verdict::NotAuthorized),
            // Not acknowledged: the sender keeps it and sends it again.
            Err(NotPosted::Registry(_)) => Err(Departure::ended(Farewell::ServerBusy)),
        }
    }

    async fn take_subscribe(
        &mut self,
        subscribe: Subscribe,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut fresh = Vec::new();
        for subscription in &subscribe.filters {
            let (filter, share) = match self.judge(subscription, broker) {
                Ok(judged) => judged,
                Err(no) => {
                    granted.push(no);
                    continue;
                }
            };
            granted.push(Granted::At(subscription.qos));
            let id = subscribe.identifier;
            let subscriptions = &mut self.kept.subscriptions;
            let novelty = subscriptions.put(filter.clone(), share.clone(), subscription, id);
            let wanted = match subscription.retained {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => novelty == Novelty::New,
                RetainHandling::Never => false,
            };
            match share {
                // MQTT 5, 4.8.2: nothing retained comes by these.
                Some(share) => {
                    let groups = broker.bus.groups();
                    groups.join(self.kept.sender, &share, subscription.qos);
                }
                None if wanted => fresh.push((filter, subscription.qos)),
                None => {}
            }
        }
        if self.follow(&subscribe.user, broker).await? == Follow::NotUnderstood {
            granted.fill(Granted::NotUnderstood);
        }
        self.wire.machine.suback(subscribe.packet_id, &granted);
        for (filter, qos) in fresh {
            let found = broker.bus.retained().matching(&filter);
            if self.kept.queue.len() + found.len() > WAITING {
                // It asks faster than it takes what it asked for.
                return Err(Departure::ended(Farewell::QuotaExceeded));
            }
            for message in found {
                let how = Match {
                    qos: qos.min(message.qos),
                    retain: true,
                    identifiers: subscribe.identifier.into_iter().collect(),
                };
                self.kept.queue.push(Waiting {
                    message,
                    how,
                    share: None,
                });
            }
        }
        Ok(())
    }

    /// Whether a filter can be had, and with whom it is shared.
    fn judge(
        &self,
        subscription: &Subscription,
        broker: &Broker,
    ) -> Result<(TopicFilter, Option<Arc<Share>>), Granted> {
        let filter = match &subscription.filter {
            Ok(filter) => filter.clone(),
            Err(NotOffered::Limit) => return Err(Granted::FilterInvalid),
            Err(NotOffered::Shared) => return Err(Granted::SharedNotOffered),
        };
        let share = subscription.group.clone().map(|group| {
            let filter = filter.clone();
            Arc::new(Share { group, filter })
        });
        let most = broker.limits.operator_subscriptions;
        if !self.kept.login.rights().may_subscribe(&filter) {
            Err(Granted::NotAuthorized)
        } else if share.is_some() && is_for_events(&filter) {
            // Each reader of the log has its own place in it.
            Err(Granted::FilterInvalid)
        } else if !self
            .kept
            .subscriptions
            .has_room(&filter, share.as_deref(), most)
        {
            Err(Granted::QuotaExceeded)
        } else {
            Ok((filter, share))
        }
    }

    /// Opens what the subscriptions need: the log from here on, or from behind
    /// the event that MQTT 5 names in the user property `after`, and the bus.
    async fn follow(
        &mut self,
        user: &[(String, String)],
        broker: &Broker,
    ) -> Result<Follow, Departure> {
        let after = user.iter().find(|(key, _)| key == "after");
        let Ok(after) = after.map(|(_, value)| value.parse()).transpose() else {
            return Ok(Follow::NotUnderstood);
        };
        let kept = &mut self.kept;
        if kept.subscriptions.want_events() && (kept.cursor.is_none() || after.is_some()) {
            let newest = broker.provisioner.registry().newest();
            kept.cursor = Some(Cursor::new(newest, after));
        }
        if kept.subscriptions.want_messages() && kept.reader.is_none() {
            match broker.bus.read().await {
                Ok(reader) => kept.reader = Some(reader),
                Err(BusEnded) => return Err(Departure::ended(Farewell::ServerBusy)),
            }
        }
        Ok(Follow::Done)
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe, broker: &Broker) {
        let kept = &mut self.kept;
        let mut outcome = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let removed = kept.subscriptions.remove(filter);
            if let Some(Removed::Shared(share)) = &removed {
                broker.bus.groups().quit(kept.sender, share);
            }
            outcome.push(match removed {
                Some(_) => Unsubscribed::Done,
                None => Unsubscribed::NotThere,
            });
        }
        if !kept.subscriptions.want_events() {
            kept.cursor = None;
        }
        if !kept.subscriptions.want_messages() {
            kept.reader = None;
        }
        self.wire.machine.unsuback(unsubscribe.packet_id, &outcome);
    }

    /// Sends what waits for room: first what an earlier connection left open.
    fn deliver_waiting(&mut self, now: Timestamp) {
        while self.has_room() {
            if let Some((id, stage)) = self.kept.in_flight.next_again() {
                self.deliver_again(id, stage, now);
                continue;
            }
            let lost = self.kept.queue.take_lost();
            if lost > 0 {
                self.report_lost(lost, now);
            }
            let Some(waiting) = self.kept.queue.pop() else {
                return;
            };
            self.deliver(waiting, now);
        }
    }

    /// Sends the events that were read and are subscribed to, while there is
    /// room.
    fn deliver_events(&mut self, now: Timestamp) {
        while self.has_room() {
            let Some(event) = self.kept.cursor.as_mut().and_then(Cursor::take) else {
                return;
            };
            let topic = event.topic();
            if let Some(how) = self.kept.subscriptions.matching_event(&topic) {
                let message = Arc::new(event_message(&event, topic));
                let waiting = Waiting {
                    message,
                    how,
                    share: None,
                };
                self.deliver(waiting, now);
            }
        }
    }

    /// Tells the peer, where it listens for that, that it was too slow, or
    /// away for too long.
    fn report_lost(&mut self, lost: u64, now: Timestamp) {
        let operator = self.kept.login.name();
        tracing::debug!(%operator, lost, "a slow reader lost messages");
        let Ok(topic) = TopicName::parse("provisioning/lost", Limits::SERVICE) else {
            return;
        };
        let body = format!("{{\"lost\":{lost}}}");
        let report = Message::of_server(topic, body.into_bytes(), now);
        let kept = &self.kept;
        if let Some(how) = kept.subscriptions.matching(&report, kept.sender) {
            let waiting = Waiting {
                message: Arc::new(report),
                how,
                share: None,
            };
            self.deliver(waiting, now);
        }
    }

    /// Sends a message for the first time.
    fn deliver(&mut self, waiting: Waiting, now: Timestamp) {
        let Ok(expiry) = waiting.message.time_left(now) else {
            return;
        };
        if let Ok(Some(id)) = self.send(&waiting, Attempt::First, expiry) {
            self.kept.in_flight.push(id, waiting);
        }
    }

    /// Sends what an earlier connection left open. The first half of a QoS 2
    /// message must not be left out: its packet id would mean another one.
    fn deliver_again(&mut self, id: u16, stage: Stage, now: Timestamp) {
        let sent = match &stage {
            Stage::Received => {
                self.wire.machine.release_again(id);
                Ok(Some(id))
            }
            Stage::Sent(waiting) => match waiting.message.time_left(now) {
                Ok(expiry) => self.send(waiting, Attempt::Again(id), expiry),
                Err(_) if waiting.qos() == Qos::ExactlyOnce => {
                    self.send(waiting, Attempt::Again(id), Some(0))
                }
                Err(_) => Ok(None),
            },
        };
        match sent {
            Ok(Some(_)) | Err(NotSent::Ended) => self.kept.in_flight.sent_again(),
            Ok(None) | Err(_) => self.kept.in_flight.drop_again(),
        }
    }

    fn send(
        &mut self,
        waiting: &Waiting,
        attempt: Attempt,
        expiry: Option<u32>,
    ) -> Result<Option<u16>, NotSent> {
        let message = &waiting.message;
        let sent = self.wire.machine.publish(&Delivery {
            topic: &message.topic,
            payload: &message.payload,
            qos: waiting.how.qos,
            retain: waiting.how.retain,
            attempt,
            properties: &message.properties,
            expiry,
            subscriptions: &waiting.how.identifiers,
        });
        if let Err(error @ (NotSent::TooLarge | NotSent::WindowFull)) = sent {
            let operator = self.kept.login.name();
            tracing::warn!(%operator, ?error, "a message could not be sent");
        }
        sent
    }
}

fn event_message(event: &Event, topic: TopicName) -> Message {
    let body = event.to_json().to_string();
    Message {
        qos: Qos::ExactlyOnce,
        ..Message::of_server(topic, body.into_bytes(), event.body.at)
    }
}
