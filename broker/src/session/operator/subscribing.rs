//! What an operator subscribes to, as far as its rights go.

use std::sync::Arc;

use firstwake::topic::TopicFilter;

use super::OperatorSession;
use crate::broker::Broker;
use crate::bus::{BusEnded, Share, TooMany};
use crate::keep::{Cursor, Match, Novelty, Removed, Waiting, is_for_events};
use crate::mqtt::packet::{
    Farewell, Granted, NotOffered, RetainHandling, Subscribe, Subscription, Unsubscribe,
    Unsubscribed,
};
use crate::session::Departure;
use crate::wire::Stream;

/// Messages that may wait for a session that has no room.
const WAITING: usize = 20_000;

/// Whether the event log could be followed from where the peer wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Done,
    NotUnderstood,
}

impl<S: Stream> OperatorSession<S> {
    pub(super) async fn take_subscribe(
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
            if let Some(share) = &share
                && let Err(TooMany) =
                    broker
                        .bus
                        .groups()
                        .join(self.kept.sender, share, subscription.qos)
            {
                granted.push(Granted::QuotaExceeded);
                continue;
            }
            granted.push(Granted::At(subscription.qos));
            let id = subscribe.identifier;
            let subscriptions = &mut self.kept.subscriptions;
            let novelty = subscriptions.put(filter.clone(), share.clone(), subscription, id);
            let wanted = match subscription.retained {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => novelty == Novelty::New,
                RetainHandling::Never => false,
            };
            // MQTT 5, 4.8.2: nothing retained comes by shared ones.
            if share.is_none() && wanted {
                fresh.push((filter, subscription.qos));
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

    pub(super) fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe, broker: &Broker) {
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
}
