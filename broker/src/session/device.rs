//! A device that is in with its own key.
//!
//! It publishes its own uplink and nothing else: the core turns each topic
//! into the canonical one, or there is no message. What is sent down to it
//! comes from its [mailbox](Hold). Memory matters here, one of these may idle
//! for years: what a device does not use, it does not have.

mod asking;
mod hold;
mod pages;
mod subscribing;

use firstwake::feed::CurrentValue;
use firstwake::topic::device::Uplink;
use firstwake::{Cause, DeviceLogin, NoDatastream, NotAdmitted};

use self::asking::Asking;
use self::hold::Match;
use self::pages::{Pages, Which};
use super::streams::Streams;
use super::{Conversation, Departure, Will, converse, note};
use crate::broker::Broker;
use crate::bus::{Message, Sender};
use crate::mqtt::packet::{Farewell, Input, Publish, Verdict};
use crate::paces::{Tolerance, TooFast};
use crate::wire::{Lingering, Rest, Stream, Wire};

pub(crate) use self::hold::Hold;

/// One device.
pub(crate) struct DeviceSession<S> {
    wire: Wire<S>,
    login: DeviceLogin,
    will: Option<Will>,
    /// Its mailbox; a device that never subscribes goes without.
    hold: Option<Box<Hold>>,
    /// What came together with the CONNECT.
    early: Box<[Input]>,
    /// Seconds that the session outlives its connection.
    expiry: u32,
    mail: MailState,
    pages: Pages,
    streams: Streams,
    /// A device that never asks goes without.
    asking: Option<Box<Asking>>,
}

/// Whether there is something to be done about mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MailState {
    Nothing,
    /// Something came, or could not be done before.
    Due,
}

impl<S: Stream> Conversation<S> for DeviceSession<S> {
    fn wire(&mut self) -> &mut Wire<S> {
        &mut self.wire
    }

    async fn take(&mut self, input: Input, broker: &Broker) -> Result<(), Departure> {
        match input {
            Input::Publish(publish) => self.take_publish(publish, broker).await,
            Input::Subscribe(subscribe) => self.take_subscribe(&subscribe, broker).await,
            Input::Unsubscribe(unsubscribe) => {
                self.take_unsubscribe(&unsubscribe, broker).await;
                Ok(())
            }
            Input::Acknowledged(id) => {
                if let Some(hold) = &mut self.hold {
                    hold.acknowledge(id);
                }
                Ok(())
            }
            // Nothing goes down at QoS 2.
            Input::Received(_) => Ok(()),
            Input::Disconnect(goodbye) => Err(Departure::goodbye(goodbye)),
        }
    }

    async fn recheck(&self, broker: &Broker) -> Result<(), NotAdmitted> {
        broker.provisioner.recheck_device(&self.login).await
    }

    fn expect_mail(&mut self) {
        self.mail = MailState::Due;
        if let Some(hold) = &mut self.hold {
            hold.look_again();
        }
    }

    fn is_due(&self) -> bool {
        let held = self.hold.as_ref();
        self.wire.flows()
            && (self.mail == MailState::Due
                || self.pages == Pages::Stale
                || held.is_some_and(|hold| hold.is_due(&self.wire.machine)))
    }

    async fn deliver(&mut self, broker: &Broker) -> Result<(), Departure> {
        self.mail = MailState::Nothing;
        let now = broker.clock.now();
        let handle = self.wire.place().handle();
        let handed = handle.take_handed();
        if handle.take_values() {
            self.turn_pages();
        }
        if std::mem::replace(&mut self.pages, Pages::Fresh) == Pages::Stale {
            self.read_out(Which::All, broker).await;
        }
        let Some(hold) = &mut self.hold else {
            return Ok(());
        };
        let machine = &mut self.wire.machine;
        for message in handed {
            if let Some(matched) = Match::of(hold.subscriptions(), &message.topic) {
                let retain = matched.retain_as_published && message.retain;
                matched.send_once(&message, retain, machine, now);
            }
        }
        let feed = self.login.feed();
        if let Err(error) = hold.deliver(feed, machine, broker).await {
            tracing::debug!(%error, "mail could not be fetched; trying again");
        }
        Ok(())
    }
}

impl<S: Stream> DeviceSession<S> {
    pub(crate) fn new(
        wire: Wire<S>,
        login: DeviceLogin,
        will: Option<Will>,
        hold: Option<Box<Hold>>,
        expiry: u32,
        early: Vec<Input>,
    ) -> Self {
        Self {
            wire,
            login,
            will,
            hold,
            early: early.into(),
            expiry,
            mail: MailState::Nothing,
            pages: Pages::Fresh,
            streams: Streams::default(),
            asking: None,
        }
    }

    pub(crate) async fn run(mut self: Box<Self>, broker: &Broker) -> Option<Lingering> {
        let early = std::mem::take(&mut self.early).into_vec();
        let departure = converse(&mut *self, early, broker).await;
        Box::pin(self.leave(departure, broker)).await
    }

    /// Ends the connection, and what ends with it.
    async fn leave(
        mut self: Box<Self>,
        departure: Departure,
        broker: &Broker,
    ) -> Option<Lingering> {
        if let Some(cause) = departure.cause() {
            self.note(cause, self.wire.machine.fault(), broker);
        }
        // Whoever may not be here any more goes at once.
        let at_once = matches!(departure.farewell, Some(Farewell::Administrative(_)));
        if at_once {
            self.wire.close(departure.farewell).await;
        }
        let expiry = departure.session_expiry;
        if let Some(hold) = self.hold.take() {
            let received = self.wire.machine.awaiting_release().to_vec();
            hold.close(self.login.feed(), expiry, received, broker)
                .await;
        }
        if let Some(will) = self.will.take() {
            let owner = self.wire.place().owner();
            let expiry = expiry.unwrap_or(self.expiry);
            will.carry_out(&departure, owner, expiry, broker).await;
        }
        self.wire.place().handle().let_go();
        if !at_once {
            self.wire.close(departure.farewell).await;
        }
        let (stream, _place) = self.wire.into_parts();
        departure.lingering(stream)
    }

    /// Carries a message on, and acknowledges it once the bus has it.
    async fn take_publish(&mut self, publish: Publish, broker: &Broker) -> Result<(), Departure> {
        if self.take_token(broker).is_err() {
            self.note(Cause::TooFast, None, broker);
            if self.wire.machine.can_refuse(publish.receipt) {
                let quota = Verdict::QuotaExceeded;
                self.wire.machine.acknowledge(publish.receipt, quota);
                return Ok(());
            }
            self.wait_for_token(broker).await?;
        }
        if Self::is_asked(&publish) {
            return self.take_request(publish, broker).await;
        }
        let uplink = match &publish.topic {
            Ok(topic) => self.login.uplink(topic).ok_or(Verdict::NotAuthorized),
            Err(_) => Err(Verdict::TopicInvalid),
        };
        let uplink = match uplink {
            Ok(uplink) => uplink,
            Err(verdict) => {
                self.wire.machine.acknowledge(publish.receipt, verdict);
                let detail = format!("its own topics begin with feeds/{}/", self.login.feed());
                self.note(Cause::TopicForbidden, Some(&detail), broker);
                return self.forbid(broker);
            }
        };
        let now = broker.clock.now();
        // What is no value is carried on, and not kept.
        let mut unreadable = None;
        let values = match uplink.read(publish.payload.as_slice(), now) {
            Ok(values) => values,
            Err(error) => {
                let sentence = error.to_string();
                self.note(Cause::PayloadUnreadable, Some(&sentence), broker);
                unreadable = Some(sentence);
                Vec::new()
            }
        };
        match self.permit_datastreams(&uplink, &values, broker).await {
            Ok(()) => {}
            Err(NoDatastream::QuotaExceeded) => {
                self.note(Cause::DatastreamRefused, None, broker);
                let told = self.wire.machine.can_refuse(publish.receipt);
                let quota = Verdict::QuotaExceeded;
                self.wire.machine.acknowledge(publish.receipt, quota);
                return if told { Ok(()) } else { self.forbid(broker) };
            }
            Err(NoDatastream::Unavailable(_)) => {
                return Err(Departure::ended(Farewell::ServerBusy));
            }
        }
        let message = Message {
            topic: uplink.into_topic(),
            payload: publish.payload.as_slice().to_vec(),
            qos: publish.qos,
            retain: false,
            properties: publish.properties,
            sender: Sender::SERVER,
            at: now,
        };
        if broker.bus.publish(message).await.is_err() {
            return Err(Departure::ended(Farewell::ServerBusy));
        }
        if !values.is_empty() {
            broker.values.keep(self.login.feed(), values);
            self.turn_pages();
        }
        let machine = &mut self.wire.machine;
        match unreadable {
            Some(reason) => machine.acknowledge_unreadable(publish.receipt, &reason),
            None => machine.acknowledge(publish.receipt, Verdict::Accepted),
        }
        Ok(())
    }

    /// Whether the device may send the datastreams that a message names, in its
    /// topic or in what it says.
    async fn permit_datastreams(
        &mut self,
        uplink: &Uplink,
        values: &[CurrentValue],
        broker: &Broker,
    ) -> Result<(), NoDatastream> {
        let named = uplink.datastream();
        let said = values.iter().map(|value| &value.datastream);
        for datastream in named
            .into_iter()
            .chain(said.filter(|id| named != Some(*id)))
        {
            let (streams, login) = (&mut self.streams, &self.login);
            streams
                .permit(datastream.clone(), login, &broker.provisioner)
                .await?;
        }
        Ok(())
    }

    /// Takes the token for one message of the device, over whatever connection.
    fn take_token(&self, broker: &Broker) -> Result<(), TooFast> {
        let feed = self.login.feed();
        broker.paces.publish(feed, &broker.limits, broker.clock)
    }

    /// Reads nothing more until the device may publish again; it can be ended
    /// meanwhile.
    async fn wait_for_token(&mut self, broker: &Broker) -> Result<(), Departure> {
        while let Err(TooFast(wait)) = self.take_token(broker) {
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

    /// Keeps what the device did wrong, for `device explain`.
    fn note(&self, cause: Cause, detail: Option<&str>, broker: &Broker) {
        note(&self.wire, self.login.feed(), cause, detail, broker);
    }

    fn forbid(&mut self, broker: &Broker) -> Result<(), Departure> {
        match broker.paces.forbid(self.login.feed(), broker.clock) {
            Tolerance::Left => Ok(()),
            Tolerance::Gone | Tolerance::GoneAgain => {
                Err(Departure::ended(Farewell::NotAuthorized))
            }
        }
    }
}
