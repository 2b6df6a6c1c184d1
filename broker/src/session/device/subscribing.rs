//! What a device wants to read of what is sent down to it.

use firstwake::mailbox::{Retained, Subscription as Wanted};
use firstwake::topic::device::{Downlink, Own, own, without_key};
use firstwake::topic::{Limits, TopicFilter};
use firstwake::{Cause, RegistryError};

use super::hold::{Hold, Match};
use super::pages::Which;
use super::{Departure, DeviceSession};
use crate::broker::Broker;
use crate::bus::Message;
use crate::mqtt::packet::{
    Granted, NotOffered, Qos, RetainHandling, Subscribe, Subscription, Unsubscribe, Unsubscribed,
};
use crate::wire::Stream;

impl<S: Stream> DeviceSession<S> {
    pub(super) async fn take_subscribe(
        &mut self,
        subscribe: &Subscribe,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut forbidden = 0;
        // What is retained and does not wait.
        let mut fleeting = Vec::new();
        let mut pages = Vec::new();
        for subscription in &subscribe.filters {
            let (filter, best) = match self.judge(subscription, broker) {
                Ok(judged) => judged,
                Err(no) => {
                    forbidden += usize::from(self.is_offence(subscription));
                    granted.push(no);
                    continue;
                }
            };
            let wanted = Wanted {
                filter: filter.clone(),
                qos: subscription.qos.min(best),
                retain_as_published: subscription.retain_as_published,
                identifier: subscribe.identifier,
            };
            let qos = wanted.qos;
            // Each is a write.
            if self.take_token(broker).is_err() {
                granted.push(Granted::QuotaExceeded);
                continue;
            }
            match self.subscribe(wanted, subscription.retained, broker).await {
                Ok(Retained::Wanted) if best == Qos::AtMostOnce => pages.push(filter),
                Ok(Retained::Wanted) if qos == Qos::AtMostOnce => fleeting.push(filter),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a subscription could not be written");
                    granted.push(Granted::Unavailable);
                    continue;
                }
            }
            granted.push(Granted::At(qos));
        }
        self.wire.machine.suback(subscribe.packet_id, &granted);
        for filter in fleeting {
            self.send_configuration(&filter, broker).await;
        }
        for filter in pages {
            self.read_out(Which::Asked(&filter), broker).await;
        }
        if forbidden > 0 {
            let detail = format!("its own topics begin with feeds/{}/", self.login.feed());
            self.note(Cause::FilterForbidden, Some(&detail), broker);
        }
        for _ in 0..forbidden {
            self.forbid(broker)?;
        }
        self.answer_waiting(broker).await
    }

    /// The filter as it is kept, and the best quality it can be had at.
    fn judge(
        &self,
        subscription: &Subscription,
        broker: &Broker,
    ) -> Result<(TopicFilter, Qos), Granted> {
        let filter = match &subscription.filter {
            Ok(filter) => self
                .without_key(filter.as_str())
                .ok_or(Granted::NotAuthorized)?,
            Err(NotOffered::Limit) => return Err(Granted::FilterInvalid),
            Err(NotOffered::Shared) => return Err(Granted::SharedNotOffered),
        };
        let best = match own(self.login.feed(), self.login.serial(), &filter) {
            Some(Own::Downlink) => Qos::AtLeastOnce,
            Some(Own::Page(_) | Own::Answers) => Qos::AtMostOnce,
            Some(Own::Other) | None => return Err(Granted::NotAuthorized),
        };
        let held = self
            .hold
            .as_ref()
            .map_or(&[][..], |hold| hold.subscriptions());
        let known = held.iter().any(|found| found.filter == filter);
        if !known && held.len() >= broker.limits.device_subscriptions {
            return Err(Granted::QuotaExceeded);
        }
        Ok((filter, best))
    }

    /// A filter without the device's own key, which may stand before it; `None`
    /// if it is somebody else's.
    fn without_key(&self, filter: &str) -> Option<TopicFilter> {
        let filter = without_key(filter, |key| self.login.is_with(key))?;
        TopicFilter::parse(filter, Limits::DEVICE).ok()
    }

    /// Asking for one's own topics is none, even where nothing is delivered.
    fn is_offence(&self, subscription: &Subscription) -> bool {
        let own = |filter: &TopicFilter| own(self.login.feed(), self.login.serial(), filter);
        let filter = subscription.filter.as_ref().ok();
        let filter = filter.and_then(|filter| self.without_key(filter.as_str()));
        filter.is_none_or(|filter| own(&filter).is_none())
    }

    /// Subscribes, and says whether what is retained is wanted.
    async fn subscribe(
        &mut self,
        wanted: Wanted,
        handling: RetainHandling,
        broker: &Broker,
    ) -> Result<Retained, RegistryError> {
        let feed = self.login.feed();
        if self.hold.is_none() {
            self.hold = Some(Box::new(Hold::begin(feed, broker).await?));
        }
        let Some(hold) = &mut self.hold else {
            return Ok(Retained::Unwanted);
        };
        let known = hold.subscriptions().iter();
        let is_new = !known.clone().any(|found| found.filter == wanted.filter);
        let retained = match handling {
            RetainHandling::Send => Retained::Wanted,
            RetainHandling::SendIfNew if is_new => Retained::Wanted,
            RetainHandling::SendIfNew | RetainHandling::Never => Retained::Unwanted,
        };
        hold.subscribe(feed, wanted, retained, broker).await?;
        Ok(retained)
    }

    /// Sends the configuration to a device that asked for it at a quality at
    /// which nothing waits.
    async fn send_configuration(&mut self, filter: &TopicFilter, broker: &Broker) {
        let feed = self.login.feed();
        let topic = Downlink::configuration(feed);
        if !filter.matches(topic.topic()) {
            return;
        }
        let found = broker.provisioner.registry().configuration(feed).await;
        let message = found
            .ok()
            .flatten()
            .and_then(|mail| Message::of_mail(&mail));
        if let (Some(message), Some(hold)) = (message, &self.hold)
            && let Some(matched) = Match::of(hold.subscriptions(), topic.topic())
        {
            let now = broker.clock.now();
            matched.send_once(&message, true, &mut self.wire.machine, now);
        }
    }

    pub(super) async fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe, broker: &Broker) {
        let mut gone = Vec::new();
        let held = self
            .hold
            .as_ref()
            .map_or(&[][..], |hold| hold.subscriptions());
        let outcome: Vec<Unsubscribed> = unsubscribe
            .filters
            .iter()
            .map(|text| {
                let filter = self.without_key(text);
                match filter.filter(|filter| held.iter().any(|found| found.filter == *filter)) {
                    Some(filter) => {
                        gone.push(filter);
                        Unsubscribed::Done
                    }
                    None => Unsubscribed::NotThere,
                }
            })
            .collect();
        if let Some(hold) = &mut self.hold
            && !gone.is_empty()
            && let Err(error) = hold.unsubscribe(self.login.feed(), gone, broker).await
        {
            // For this connection it is gone all the same.
            tracing::debug!(%error, "an unsubscription could not be written");
        }
        self.wire.machine.unsuback(unsubscribe.packet_id, &outcome);
    }
}
