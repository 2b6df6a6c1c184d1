//! A device that proved its code: it is told its feed id and key, and nothing
//! else.
//!
//! Answers go straight to this one connection. They never enter the bus, and
//! no other session has a way to ask for them. The session lasts a minute at
//! most and leaves nothing behind.

use std::net::IpAddr;

use firstwake::topic::TopicFilter;
use firstwake::{Activation, Answer, Cause, NotAdmitted};

use super::asked::{Asked, Topics};
use super::{Conversation, Departure, converse, note};
use crate::broker::Broker;
use crate::mqtt::packet::{
    Farewell, Granted, Input, NotOffered, Publish, Qos, Subscribe, Unsubscribe, Unsubscribed,
    Verdict,
};
use crate::paces::Tolerance;
use crate::wire::{Lingering, Stream, Wire};

/// Requests that may wait for the subscription.
const WAITING: usize = 16;

/// How far an activation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The device has asked for nothing.
    Nothing,
    /// It only subscribed, and its product wants a request.
    Subscribed,
    /// It subscribed or asked elsewhere.
    Elsewhere,
    /// It was answered.
    Answered,
}

/// One activation.
pub(crate) struct ActivationSession<S> {
    wire: Wire<S>,
    activation: Activation,
    source: IpAddr,
    /// What came together with the CONNECT.
    early: Vec<Input>,
    topics: Topics,
    /// The quality granted for the response topic.
    granted: Option<Qos>,
    /// Requests that came before the subscription.
    waiting: Vec<Asked>,
    progress: Progress,
}

impl<S: Stream> Conversation<S> for ActivationSession<S> {
    fn wire(&mut self) -> &mut Wire<S> {
        &mut self.wire
    }

    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure> {
        match input {
            Input::Publish(publish) => self.take_publish(publish, broker).await,
            Input::Subscribe(subscribe) => self.take_subscribe(&subscribe, broker).await,
            Input::Unsubscribe(unsubscribe) => {
                self.take_unsubscribe(&unsubscribe);
                Ok(())
            }
            // Its acknowledgement changes nothing.
            Input::Acknowledged(_) | Input::Received(_) => Ok(()),
            Input::Disconnect(goodbye) => Err(Departure::goodbye(goodbye)),
        }
    }

    async fn recheck(&self, broker: &Broker) -> Result<(), NotAdmitted> {
        broker
            .provisioner
            .recheck_activation(&self.activation)
            .await
    }
}

impl<S: Stream> ActivationSession<S> {
    pub(crate) fn new(
        wire: Wire<S>,
        activation: Activation,
        source: IpAddr,
        early: Vec<Input>,
    ) -> Self {
        Self {
            topics: Topics::of(activation.serial()),
            wire,
            activation,
            source,
            early,
            granted: None,
            waiting: Vec::new(),
            progress: Progress::Nothing,
        }
    }

    pub(crate) async fn run(mut self: Box<Self>, broker: &Broker) -> Option<Lingering> {
        let early = std::mem::take(&mut self.early);
        let departure = converse(&mut *self, early, broker).await;
        self.note_end(&departure, broker);
        self.wire.close(departure.farewell).await;
        let (stream, _place) = self.wire.into_parts();
        departure.lingering(stream)
    }

    /// Keeps why the device goes without its credentials, if it does.
    fn note_end(&self, departure: &Departure, broker: &Broker) {
        let left = matches!(
            departure.farewell,
            None | Some(Farewell::MaximumConnectTime)
        );
        let response = format!("its response topic is {}", self.topics.response);
        let request = format!("its request topic is {}", self.topics.request);
        match (departure.cause(), self.progress) {
            (Some(cause), _) => self.note(cause, self.wire.machine.fault(), broker),
            (None, Progress::Nothing) if left => {
                self.note(Cause::NeverAsked, Some(&response), broker);
            }
            (None, Progress::Subscribed) if left => {
                self.note(Cause::WaitsForPublicKey, Some(&request), broker);
            }
            _ => {}
        }
    }

    fn note(&self, cause: Cause, detail: Option<&str>, broker: &Broker) {
        note(&self.wire, self.activation.feed(), cause, detail, broker);
    }

    async fn take_publish(&mut self, publish: Publish, broker: &Broker) -> Result<(), Departure> {
        let verdict = self.topics.judge(&publish);
        if verdict != Verdict::Accepted {
            self.wire.machine.acknowledge(publish.receipt, verdict);
            self.progress = Progress::Elsewhere;
            let detail = format!("its request topic is {}", self.topics.request);
            self.note(Cause::AskedElsewhere, Some(&detail), broker);
            return self.forbid(broker);
        }
        let (asked, receipt) = Asked::read(publish);
        self.wire.machine.acknowledge(receipt, verdict);
        if self.granted.is_some() {
            return self.answer(asked, broker).await;
        }
        if self.waiting.len() == WAITING {
            return Err(Departure::ended(Farewell::QuotaExceeded));
        }
        self.waiting.push(asked);
        Ok(())
    }

    async fn take_subscribe(
        &mut self,
        subscribe: &Subscribe,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut forbidden = 0;
        let mut asked = false;
        for subscription in &subscribe.filters {
            granted.push(match &subscription.filter {
                Ok(filter) if filter.as_str() == self.topics.response.as_str() => {
                    let qos = subscription.qos.min(Qos::AtLeastOnce);
                    self.granted = Some(qos);
                    asked = true;
                    Granted::At(qos)
                }
                Ok(filter) => {
                    forbidden += usize::from(!self.is_own(filter));
                    Granted::NotAuthorized
                }
                Err(NotOffered::Limit) => {
                    forbidden += 1;
                    Granted::FilterInvalid
                }
                Err(NotOffered::Shared) => {
                    forbidden += 1;
                    Granted::SharedNotOffered
                }
            });
        }
        self.wire.machine.suback(subscribe.packet_id, &granted);
        if !asked && self.granted.is_none() {
            self.progress = Progress::Elsewhere;
            let detail = format!("its response topic is {}", self.topics.response);
            self.note(Cause::SubscribedElsewhere, Some(&detail), broker);
        }
        for _ in 0..forbidden {
            self.forbid(broker)?;
        }
        if !asked {
            return Ok(());
        }
        // Subscribing asks for the credentials, unless a request did before, or
        // has to.
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            match broker.provisioner.waits_for_request(&self.activation).await {
                Ok(true) => self.progress = Progress::Subscribed,
                // A registry in trouble has the device told so.
                Ok(false) | Err(_) => waiting.push(Asked::nothing()),
            }
        }
        for asked in waiting {
            self.answer(asked, broker).await?;
        }
        Ok(())
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let mut outcome = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let there = self.granted.is_some() && filter == self.topics.response.as_str();
            outcome.push(if there {
                self.granted = None;
                Unsubscribed::Done
            } else {
                Unsubscribed::NotThere
            });
        }
        self.wire.machine.unsuback(unsubscribe.packet_id, &outcome);
    }

    /// Answers one request, also one that cannot be served.
    async fn answer(&mut self, asked: Asked, broker: &Broker) -> Result<(), Departure> {
        let now = broker.clock.now();
        let answer = match &asked.request {
            Ok(request) => {
                let issued =
                    broker
                        .provisioner
                        .issue(&mut self.activation, request, self.source, now);
                issued.await.unwrap_or_else(|error| error.answer())
            }
            Err(invalid) => Answer::error("bad_request", &invalid.to_string()),
        };
        self.progress = Progress::Answered;
        let qos = self.granted.unwrap_or_default();
        asked.answer(&answer, &self.topics, qos, &mut self.wire.machine)
    }

    /// Whether the filter names a topic of this very device.
    fn is_own(&self, filter: &TopicFilter) -> bool {
        let (feed, serial) = (self.activation.feed(), self.activation.serial());
        firstwake::topic::device::own(feed, serial, filter).is_some()
    }

    fn forbid(&mut self, broker: &Broker) -> Result<(), Departure> {
        match broker.paces.forbid(self.activation.feed(), broker.clock) {
            Tolerance::Left => Ok(()),
            Tolerance::Gone | Tolerance::GoneAgain => {
                Err(Departure::ended(Farewell::NotAuthorized))
            }
        }
    }
}
