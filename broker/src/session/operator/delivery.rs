//! What an operator is sent: what an earlier connection left open, what waits,
//! and events.

use std::sync::Arc;

use firstwake::topic::{Limits, TopicName};
use firstwake::{Event, Timestamp};

use super::OperatorSession;
use crate::bus::Message;
use crate::keep::{Cursor, Stage, Waiting};
use crate::mqtt::machine::NotSent;
use crate::mqtt::packet::{Attempt, Delivery, Qos};
use crate::wire::Stream;

impl<S: Stream> OperatorSession<S> {
    /// Sends what waits for room: first what an earlier connection left open.
    pub(super) fn deliver_waiting(&mut self, now: Timestamp) {
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
    pub(super) fn deliver_events(&mut self, now: Timestamp) {
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
