//! An operator or a service.
//!
//! Three things feed it: its own connection, the event log behind a cursor of
//! its own, and the bus. Log and bus are read only while the peer has room, so
//! nothing piles up here.

use std::collections::VecDeque;
use std::sync::Arc;

use firstwake::topic::device::Downlink;
use firstwake::topic::{Limits, TopicFilter, TopicName};
use firstwake::{Event, NotPosted, OperatorLogin, RegistryError, Timestamp};

use super::events::Cursor;
use super::subscriptions::{Match, Novelty, Subscriptions};
use super::{Departure, Will, lower};
use crate::broker::Broker;
use crate::bus::{BusEnded, Message, Reader, Received, Sender};
use crate::downlink::Sent;
use crate::mqtt::machine::NotSent;
use crate::mqtt::packet::{
    Attempt, Delivery, Farewell, Granted, Input, NotOffered, Publish, Qos, RetainHandling,
    Subscribe, Subscription, Unsubscribe, Unsubscribed, Verdict,
};
use crate::wire::{Step, Stream, Wire};

/// One operator's session.
pub(crate) struct OperatorSession<S> {
    wire: Wire<S>,
    login: OperatorLogin,
    will: Option<Will>,
    /// What came together with the CONNECT.
    early: Vec<Input>,
    sender: Sender,
    subscriptions: Subscriptions,
    /// Retained messages that were asked for and not sent yet.
    retained: VecDeque<(Arc<Message>, Match)>,
    /// A message from the bus that found no room.
    held: Option<Received>,
    reader: Option<Reader>,
    cursor: Option<Cursor>,
}

/// Retained messages that may wait for a session that has no room.
const RETAINED: usize = 20_000;

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
}

impl<S: Stream> OperatorSession<S> {
    pub(crate) fn new(
        wire: Wire<S>,
        login: OperatorLogin,
        will: Option<Will>,
        early: Vec<Input>,
    ) -> Self {
        Self {
            wire,
            login,
            will,
            early,
            sender: Sender::next(),
            subscriptions: Subscriptions::default(),
            retained: VecDeque::new(),
            held: None,
            reader: None,
            cursor: None,
        }
    }

    pub(crate) async fn run(mut self: Box<Self>, broker: &Broker) {
        let departure = self.last(broker).await;
        drop(self.reader.take());
        self.wire.close(departure.farewell).await;
        if let Some(will) = self.will.take() {
            let owner = self.wire.place().owner();
            will.carry_out(&departure, owner, 0, broker).await;
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
                    if let Err(not) = broker.provisioner.recheck_operator(&self.login).await {
                        return Departure::not_admitted(&not);
                    }
                }
                Next::Step(Step::End(farewell)) => return Departure::ended(farewell),
                Next::Step(Step::Lost) => return Departure::lost(),
                Next::Event(Ok(())) => self.deliver_events(broker.clock.now()),
                Next::Event(Err(_)) | Next::Received(Err(_)) => {
                    return Departure::ended(Farewell::ServerBusy);
                }
                Next::Received(Ok(received)) => self.held = Some(received),
            }
        }
    }

    /// Waits for whatever comes first. The log and the bus are left alone
    /// while the peer has no room.
    async fn next(&mut self, broker: &Broker) -> Next {
        let room = self.has_room() && self.retained.is_empty() && self.held.is_none();
        let registry = &**broker.provisioner.registry();
        let Self {
            wire,
            cursor,
            reader,
            ..
        } = self;
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
        tokio::select! {
            step = wire.step() => Next::Step(step),
            event = event => Next::Event(event),
            received = received => Next::Received(received),
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
                self.take_unsubscribe(&unsubscribe);
                Ok(())
            }
            Input::Acknowledged(_) | Input::Received(_) => Ok(()),
            Input::Disconnect(goodbye) => Err(Departure::goodbye(goodbye)),
        }
    }

    async fn take_publish(&mut self, publish: Publish, broker: &Broker) -> Result<(), Departure> {
        let topic = match publish.topic {
            Ok(topic) if self.login.rights().may_publish(&topic) => Ok(topic),
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
            sender: self.sender,
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

    async fn take_subscribe(
        &mut self,
        subscribe: Subscribe,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut fresh = Vec::new();
        for subscription in &subscribe.filters {
            granted.push(match self.judge(subscription) {
                Err(no) => no,
                Ok(filter) => {
                    let id = subscribe.identifier;
                    let novelty = self.subscriptions.put(filter.clone(), subscription, id);
                    if subscription.retained == RetainHandling::Send
                        || (subscription.retained == RetainHandling::SendIfNew
                            && novelty == Novelty::New)
                    {
                        fresh.push((filter, subscription.qos));
                    }
                    Granted::At(subscription.qos)
                }
            });
        }
        if self.follow(&subscribe.user, broker).await? == Follow::NotUnderstood {
            granted.fill(Granted::NotUnderstood);
        }
        self.wire.machine.suback(subscribe.packet_id, &granted);
        for (filter, qos) in fresh {
            let found = broker.bus.retained().matching(&filter);
            if self.retained.len() + found.len() > RETAINED {
                // It asks faster than it takes what it asked for.
                return Err(Departure::ended(Farewell::QuotaExceeded));
            }
            self.retained.extend(found.into_iter().map(|message| {
                let how = Match {
                    qos: lower(qos, message.qos),
                    retain: true,
                    identifiers: subscribe.identifier.into_iter().collect(),
                };
                (message, how)
            }));
        }
        Ok(())
    }

    /// Whether a filter can be had.
    fn judge(&self, subscription: &Subscription) -> Result<TopicFilter, Granted> {
        match &subscription.filter {
            Ok(filter) if !self.login.rights().may_subscribe(filter) => Err(Granted::NotAuthorized),
            Ok(_) if !self.subscriptions.has_room() => Err(Granted::QuotaExceeded),
            Ok(filter) => Ok(filter.clone()),
            Err(NotOffered::Limit) => Err(Granted::FilterInvalid),
            Err(NotOffered::Shared) => Err(Granted::SharedNotOffered),
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
        if self.subscriptions.want_events() && (self.cursor.is_none() || after.is_some()) {
            let newest = broker.provisioner.registry().newest();
            self.cursor = Some(Cursor::new(newest, after));
        }
        if self.subscriptions.want_messages() && self.reader.is_none() {
            match broker.bus.read().await {
                Ok(reader) => self.reader = Some(reader),
                Err(BusEnded) => return Err(Departure::ended(Farewell::ServerBusy)),
            }
        }
        Ok(Follow::Done)
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let mut outcome = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            outcome.push(if self.subscriptions.remove(filter) {
                Unsubscribed::Done
            } else {
                Unsubscribed::NotThere
            });
        }
        if !self.subscriptions.want_events() {
            self.cursor = None;
        }
        if !self.subscriptions.want_messages() {
            self.reader = None;
            self.held = None;
        }
        self.wire.machine.unsuback(unsubscribe.packet_id, &outcome);
    }

    /// Sends what waits for room: retained messages, then one from the bus.
    fn deliver_waiting(&mut self, now: Timestamp) {
        while self.has_room() {
            if let Some((message, how)) = self.retained.pop_front() {
                self.deliver(&message, &how, now);
                continue;
            }
            let Some(received) = self.held.take() else {
                return;
            };
            if received.lost > 0 {
                self.report_lost(received.lost, now);
            }
            if let Some(how) = self.subscriptions.matching(&received.message, self.sender) {
                self.deliver(&received.message, &how, now);
            }
        }
    }

    /// Sends the events that were read and are subscribed to, while there is
    /// room.
    fn deliver_events(&mut self, now: Timestamp) {
        while self.has_room() {
            let Some(event) = self.cursor.as_mut().and_then(Cursor::take) else {
                return;
            };
            let topic = event.topic();
            if let Some(how) = self.subscriptions.matching_event(&topic) {
                let message = event_message(&event, topic);
                self.deliver(&message, &how, now);
            }
        }
    }

    /// Tells the peer, where it listens for that, that it was too slow.
    fn report_lost(&mut self, lost: u64, now: Timestamp) {
        let operator = self.login.name();
        tracing::debug!(%operator, lost, "a slow reader lost messages");
        let Ok(topic) = TopicName::parse("provisioning/lost", Limits::SERVICE) else {
            return;
        };
        let body = format!("{{\"lost\":{lost}}}");
        let report = Message::of_server(topic, body.into_bytes(), now);
        if let Some(how) = self.subscriptions.matching(&report, self.sender) {
            self.deliver(&report, &how, now);
        }
    }

    fn deliver(&mut self, message: &Message, how: &Match, now: Timestamp) {
        let Ok(expiry) = message.time_left(now) else {
            return;
        };
        let delivery = Delivery {
            topic: &message.topic,
            payload: &message.payload,
            qos: how.qos,
            retain: how.retain,
            attempt: Attempt::First,
            properties: &message.properties,
            expiry,
            subscriptions: &how.identifiers,
        };
        match self.wire.machine.publish(&delivery) {
            Ok(_) | Err(NotSent::Ended) => {}
            Err(error) => {
                let operator = self.login.name();
                tracing::warn!(%operator, ?error, "a message could not be sent");
            }
        }
    }
}

fn event_message(event: &Event, topic: TopicName) -> Message {
    let body = event.to_json().to_string();
    Message {
        qos: Qos::ExactlyOnce,
        ..Message::of_server(topic, body.into_bytes(), event.body.at)
    }
}
