//! A device that is in with its own key.
//!
//! It publishes its own uplink and nothing else: the core turns each topic
//! into the canonical one, or there is no message. Memory matters here, one of
//! these may idle for years.

use firstwake::topic::device::{Uplink, own};
use firstwake::{DeviceLogin, NoDatastream, NotAdmitted};

use super::offences::{Offences, Tolerance};
use super::pace::Pace;
use super::streams::Streams;
use super::{Conversation, Departure, Will, converse};
use crate::broker::Broker;
use crate::bus::{Message, Sender};
use crate::mqtt::packet::{
    Farewell, Granted, Input, NotOffered, Publish, Subscribe, Unsubscribe, Unsubscribed, Verdict,
    WillFate,
};
use crate::wire::{Rest, Stream, Wire};

/// One device.
pub(crate) struct DeviceSession<S> {
    wire: Wire<S>,
    login: DeviceLogin,
    will: Option<Will>,
    /// What came together with the CONNECT.
    early: Vec<Input>,
    offences: Offences,
    pace: Pace,
    streams: Streams,
}

impl<S: Stream> Conversation<S> for DeviceSession<S> {
    fn wire(&mut self) -> &mut Wire<S> {
        &mut self.wire
    }

    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure> {
        match input {
            Input::Publish(publish) => self.take_publish(publish, broker).await,
            Input::Subscribe(subscribe) => self.take_subscribe(&subscribe, broker),
            Input::Unsubscribe(unsubscribe) => {
                self.take_unsubscribe(&unsubscribe);
                Ok(())
            }
            Input::Disconnect(will) => Err(Departure::goodbye(will)),
        }
    }

    async fn recheck(&self, broker: &Broker) -> Result<(), NotAdmitted> {
        broker.provisioner.recheck_device(&self.login).await
    }
}

impl<S: Stream> DeviceSession<S> {
    pub(crate) fn new(
        wire: Wire<S>,
        login: DeviceLogin,
        will: Option<Will>,
        early: Vec<Input>,
    ) -> Self {
        Self {
            wire,
            login,
            will,
            early,
            offences: Offences::default(),
            pace: Pace::default(),
            streams: Streams::default(),
        }
    }

    pub(crate) async fn run(mut self: Box<Self>, broker: &Broker) {
        let early = std::mem::take(&mut self.early);
        let departure = converse(&mut *self, early, broker).await;
        if departure.will == WillFate::Publish
            && let Some(Will(message)) = self.will.take()
        {
            drop(Box::pin(broker.bus.publish(*message)).await);
        }
        Box::pin(self.wire.close(departure.farewell)).await;
    }

    /// Carries a message on, and acknowledges it once the bus has it.
    async fn take_publish(&mut self, publish: Publish, broker: &Broker) -> Result<(), Departure> {
        if self.pace.take(&broker.limits, broker.clock).is_err() {
            if self.wire.machine.can_refuse(publish.receipt) {
                let quota = Verdict::QuotaExceeded;
                self.wire.machine.acknowledge(publish.receipt, quota);
                return Ok(());
            }
            self.wait_for_token(broker).await?;
        }
        let uplink = match &publish.topic {
            Ok(topic) => Uplink::permit(self.login.feed(), topic).ok_or(Verdict::NotAuthorized),
            Err(_) => Err(Verdict::TopicInvalid),
        };
        let uplink = match uplink {
            Ok(uplink) => uplink,
            Err(verdict) => {
                self.wire.machine.acknowledge(publish.receipt, verdict);
                return self.forbid(broker);
            }
        };
        if let Some(datastream) = uplink.datastream().cloned() {
            let Self { streams, login, .. } = &mut *self;
            let permitted = streams.permit(datastream, login, &broker.provisioner);
            match permitted.await {
                Ok(()) => {}
                Err(NoDatastream::QuotaExceeded) => {
                    let told = self.wire.machine.can_refuse(publish.receipt);
                    let quota = Verdict::QuotaExceeded;
                    self.wire.machine.acknowledge(publish.receipt, quota);
                    return if told { Ok(()) } else { self.forbid(broker) };
                }
                Err(NoDatastream::Unavailable(_)) => {
                    return Err(Departure::ended(Farewell::ServerBusy));
                }
            }
        }
        let message = Message {
            topic: uplink.into_topic(),
            payload: publish.payload.as_slice().to_vec(),
            qos: publish.qos,
            retain: false,
            properties: publish.properties,
            sender: Sender::SERVER,
        };
        if broker.bus.publish(message).await.is_err() {
            return Err(Departure::ended(Farewell::ServerBusy));
        }
        self.wire
            .machine
            .acknowledge(publish.receipt, Verdict::Accepted);
        Ok(())
    }

    /// Reads nothing more until the device may publish again; it can be ended
    /// meanwhile.
    async fn wait_for_token(&mut self, broker: &Broker) -> Result<(), Departure> {
        while let Err(wait) = self.pace.take(&broker.limits, broker.clock) {
            match self.wire.rest(wait).await {
                Rest::Over => {}
                Rest::Poked => match broker.provisioner.recheck_device(&self.login).await {
                    Ok(()) => {}
                    Err(not) => return Err(Departure::not_admitted(&not)),
                },
                Rest::End(farewell) => return Err(Departure::ended(farewell)),
            }
        }
        Ok(())
    }

    /// Nothing is sent down to devices yet. Asking for one's own topics is no
    /// offence all the same.
    fn take_subscribe(&mut self, subscribe: &Subscribe, broker: &Broker) -> Result<(), Departure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut forbidden = 0;
        for subscription in &subscribe.filters {
            granted.push(match &subscription.filter {
                Ok(filter) => {
                    let own = own(self.login.feed(), self.login.serial(), filter);
                    forbidden += usize::from(own.is_none());
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
        for _ in 0..forbidden {
            self.forbid(broker)?;
        }
        Ok(())
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let outcome = vec![Unsubscribed::NotThere; unsubscribe.filters.len()];
        self.wire.machine.unsuback(unsubscribe.packet_id, &outcome);
    }

    fn forbid(&mut self, broker: &Broker) -> Result<(), Departure> {
        match self.offences.note(broker.clock.tick()) {
            Tolerance::Left => Ok(()),
            Tolerance::Gone => Err(Departure::ended(Farewell::NotAuthorized)),
        }
    }
}
