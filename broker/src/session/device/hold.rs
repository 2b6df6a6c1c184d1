//! A connection's hold on its device's mailbox.
//!
//! Mail is read from the registry as the device takes it, and goes from there
//! only when the device has acknowledged it: what a crash or a cut cable
//! leaves unacknowledged is sent again. A message's packet id follows from its
//! number, so it is the same on every connection.

use std::collections::VecDeque;

use firstwake::mailbox::{Change, Mail, Mailbox, Outcome, Resume, Retained, Subscription};
use firstwake::topic::{TopicFilter, TopicName};
use firstwake::{FeedId, Qos, RegistryError, Timestamp};

use crate::broker::Broker;
use crate::bus::Message;
use crate::mqtt::machine::{Machine, NotSent, Session};
use crate::mqtt::packet::{Attempt, Connect, Delivery, Start};

/// A device's mailbox, held by one connection.
#[derive(Debug)]
pub(crate) struct Hold {
    connection: u64,
    /// QoS 2 messages of the device whose second half is still to come.
    received: Vec<u16>,
    subscriptions: Vec<Subscription>,
    /// The last mail that was sent over this connection, or passed over.
    read: u64,
    /// Mail up to this number has perhaps been sent by an earlier one.
    sent_before: u64,
    /// Sent and not acknowledged, oldest first.
    in_flight: VecDeque<u64>,
    /// Acknowledged, or of no use, and still in the registry.
    taken: Vec<u64>,
    /// Whether the registry may have something that was not sent.
    more: bool,
}

impl Hold {
    /// Takes up the session that a CONNECT asks for. `None` if there is none
    /// and none is to outlive the connection.
    pub(crate) async fn take_up(
        feed: FeedId,
        connect: &Connect,
        client_id: &str,
        broker: &Broker,
    ) -> Result<Option<(Session, Self)>, RegistryError> {
        let expiry = broker.limits.session_expiry(connect.session_expiry);
        if expiry == 0 && broker.provisioner.registry().mailbox(feed).await?.is_none() {
            return Ok(None);
        }
        let resume = match connect.start {
            Start::Clean => Resume::No,
            Start::Resume => Resume::Yes,
        };
        Self::open(feed, client_id.to_owned(), resume, expiry, broker)
            .await
            .map(Some)
    }

    /// Begins a session that ends with its connection.
    pub(super) async fn begin(feed: FeedId, broker: &Broker) -> Result<Self, RegistryError> {
        let (_, hold) = Self::open(feed, String::new(), Resume::No, 0, broker).await?;
        Ok(hold)
    }

    async fn open(
        feed: FeedId,
        client_id: String,
        resume: Resume,
        expiry: u32,
        broker: &Broker,
    ) -> Result<(Session, Self), RegistryError> {
        let change = Change::Open {
            connection: broker.connections.next(),
            client_id,
            resume,
            expiry,
            moment: broker.clock.moment(),
        };
        match broker
            .provisioner
            .registry()
            .change_mailbox(feed, change)
            .await?
        {
            Outcome::New(mailbox) => Ok((Session::New, Self::on(mailbox))),
            Outcome::Resumed(mailbox) => Ok((Session::Present, Self::on(mailbox))),
            outcome => Err(RegistryError::Damaged(format!("opening gave {outcome:?}"))),
        }
    }

    fn on(mailbox: Mailbox) -> Self {
        let more = mailbox.waiting(0).next().is_some();
        Self {
            more,
            connection: mailbox.connection,
            received: mailbox.received,
            subscriptions: mailbox.subscriptions,
            read: 0,
            sent_before: mailbox.sent,
            in_flight: VecDeque::new(),
            taken: Vec::new(),
        }
    }

    /// QoS 2 messages that an earlier connection has received the first half
    /// of. Asking takes them.
    pub(crate) fn take_received(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.received)
    }

    pub(super) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Subscribes; what is retained comes by mail, where a quality is granted
    /// that anything waits for.
    pub(super) async fn subscribe(
        &mut self,
        feed: FeedId,
        subscription: Subscription,
        retained: Retained,
        broker: &Broker,
    ) -> Result<(), RegistryError> {
        let change = Change::Subscribe {
            connection: self.connection,
            subscription: subscription.clone(),
            retained,
            capacity: broker.limits.mailbox(),
        };
        broker
            .provisioner
            .registry()
            .change_mailbox(feed, change)
            .await?;
        self.subscriptions
            .retain(|found| found.filter != subscription.filter);
        self.subscriptions.push(subscription);
        self.more = true;
        Ok(())
    }

    pub(super) async fn unsubscribe(
        &mut self,
        feed: FeedId,
        filters: Vec<TopicFilter>,
        broker: &Broker,
    ) -> Result<(), RegistryError> {
        self.subscriptions
            .retain(|found| !filters.contains(&found.filter));
        let change = Change::Unsubscribe {
            connection: self.connection,
            filters,
        };
        broker
            .provisioner
            .registry()
            .change_mailbox(feed, change)
            .await?;
        Ok(())
    }

    /// Something may have come.
    pub(super) fn look_again(&mut self) {
        self.more = true;
    }

    /// Whether there is something to be fetched or given back.
    pub(super) fn is_due(&self, machine: &Machine) -> bool {
        !self.taken.is_empty() || (self.more && machine.has_room())
    }

    /// The device has received the message with this packet id.
    pub(super) fn acknowledge(&mut self, id: u16) {
        let number = self
            .in_flight
            .iter()
            .position(|number| packet_id(*number) == id);
        self.taken
            .extend(number.and_then(|at| self.in_flight.remove(at)));
    }

    /// Gives back what was received and sends what waits, as much as there is
    /// room for. What the registry cannot do now is done later.
    pub(super) async fn deliver(
        &mut self,
        feed: FeedId,
        machine: &mut Machine,
        broker: &Broker,
    ) -> Result<(), RegistryError> {
        let registry = broker.provisioner.registry();
        loop {
            if !self.taken.is_empty() {
                let change = Change::Take {
                    connection: self.connection,
                    numbers: self.taken.clone(),
                };
                registry.change_mailbox(feed, change).await?;
                self.taken.clear();
            }
            let room = usize::from(machine.room());
            if !self.more || room == 0 {
                return Ok(());
            }
            let page = registry.mail(feed, self.read, room).await?;
            self.more = page.len() == room;
            for (number, mail) in page {
                match self.send(number, &mail, machine, broker.clock.now()) {
                    Fate::InFlight => self.in_flight.push_back(number),
                    Fate::Done => self.taken.push(number),
                    Fate::NotNow => return Ok(()),
                }
                self.read = number;
            }
        }
    }

    fn send(&self, number: u64, mail: &Mail, machine: &mut Machine, now: Timestamp) -> Fate {
        let message = Message::of_mail(mail).filter(|_| !mail.is_expired(now));
        let Some(message) = message else {
            return Fate::Done;
        };
        // It waits for somebody who wanted it, and perhaps does not any more.
        let matched = Match::of(&self.subscriptions, &mail.topic);
        let matched = matched.unwrap_or_else(|| Match {
            qos: Qos::AtLeastOnce,
            retain_as_published: false,
            identifiers: Vec::new(),
        });
        let id = packet_id(number);
        let attempt = match number <= self.sent_before {
            true => Attempt::Again(id),
            false => Attempt::FirstAs(id),
        };
        let retain = mail.retained || (matched.retain_as_published && message.retain);
        match matched.send(&message, retain, attempt, machine, now) {
            Ok(Some(_)) => Fate::InFlight,
            // MQTT 5, 3.1.2.11.4: what the peer cannot take counts as received.
            Ok(None) | Err(NotSent::TooLarge) => Fate::Done,
            Err(NotSent::WindowFull | NotSent::Ended) => Fate::NotNow,
        }
    }

    /// Notes where the session stands, for the next connection.
    pub(super) async fn close(
        self,
        feed: FeedId,
        expiry: Option<u32>,
        received: Vec<u16>,
        broker: &Broker,
    ) {
        let registry = broker.provisioner.registry();
        let mut changes = Vec::new();
        if !self.taken.is_empty() {
            changes.push(Change::Take {
                connection: self.connection,
                numbers: self.taken,
            });
        }
        changes.push(Change::Close {
            connection: self.connection,
            expiry: expiry.map(|seconds| broker.limits.session_expiry(seconds)),
            sent: self.read,
            received,
            at: broker.clock.now(),
        });
        for change in changes {
            if let Err(error) = registry.change_mailbox(feed, change).await {
                // The session then counts as cut off, and sends more again.
                tracing::debug!(%error, "the end of a session could not be noted");
            }
        }
    }
}

/// What became of one message.
enum Fate {
    InFlight,
    Done,
    NotNow,
}

/// How a device wants to have a message.
pub(super) struct Match {
    pub(super) qos: Qos,
    pub(super) retain_as_published: bool,
    identifiers: Vec<u32>,
}

impl Match {
    /// Once, however many subscriptions it matches, at the best quality.
    pub(super) fn of(subscriptions: &[Subscription], topic: &TopicName) -> Option<Self> {
        let matching: Vec<&Subscription> = subscriptions
            .iter()
            .filter(|subscription| subscription.filter.matches(topic))
            .collect();
        Some(Self {
            qos: matching.iter().map(|subscription| subscription.qos).max()?,
            retain_as_published: matching.iter().any(|found| found.retain_as_published),
            identifiers: matching
                .iter()
                .filter_map(|found| found.identifier)
                .collect(),
        })
    }

    /// Sends the message so.
    pub(super) fn send(
        &self,
        message: &Message,
        retain: bool,
        attempt: Attempt,
        machine: &mut Machine,
        now: Timestamp,
    ) -> Result<Option<u16>, NotSent> {
        let Ok(expiry) = message.time_left(now) else {
            return Ok(None);
        };
        machine.publish(&Delivery {
            topic: &message.topic,
            payload: &message.payload,
            qos: self.qos.min(message.qos),
            retain,
            attempt,
            properties: &message.properties,
            expiry,
            subscriptions: &self.identifiers,
        })
    }
}

impl Match {
    /// Sends the message once, at the quality at which nothing waits.
    pub(super) fn send_once(
        self,
        message: &Message,
        retain: bool,
        machine: &mut Machine,
        now: Timestamp,
    ) {
        let once = Self {
            qos: Qos::AtMostOnce,
            ..self
        };
        // What cannot be sent now is lost, as this quality allows.
        let _ = once.send(message, retain, Attempt::First, machine, now);
    }
}

/// Packet ids are 1 to 65,535; far fewer messages wait at a time.
fn packet_id(number: u64) -> u16 {
    u16::try_from((number.saturating_sub(1)) % 65_535 + 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_go_round() {
        let ids = [1, 2, 65_535, 65_536, 131_070, 131_071].map(packet_id);
        assert_eq!(ids, [1, 2, 65_535, 1, 65_535, 1]);
    }
}
