//! What one operator's session has subscribed to, and how a message that
//! several of its filters match is delivered: once, at the best quality.

use std::sync::{Arc, LazyLock};

use firstwake::topic::{Limits, TopicFilter, TopicName};

use crate::bus::{Message, Sender, Share};
use crate::mqtt::packet::{Qos, Subscription};

/// All subscriptions of one session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    filter: TopicFilter,
    /// Shared with others, which then get what this session does not.
    share: Option<Arc<Share>>,
    qos: Qos,
    no_local: bool,
    retain_as_published: bool,
    identifier: Option<u32>,
}

/// Whether a filter was subscribed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Replaced,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Own,
    Shared(Arc<Share>),
}

/// How a message is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) identifiers: Vec<u32>,
}

impl Subscriptions {
    /// Adds a subscription, or replaces the one with the same filter.
    pub(crate) fn put(
        &mut self,
        filter: TopicFilter,
        share: Option<Arc<Share>>,
        subscription: &Subscription,
        identifier: Option<u32>,
    ) -> Novelty {
        let entry = Entry {
            filter,
            share,
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier,
        };
        let same = |found: &&mut Entry| found.is_same(&entry.filter, entry.share.as_deref());
        match self.0.iter_mut().find(same) {
            Some(found) => {
                *found = entry;
                Novelty::Replaced
            }
            None => {
                self.0.push(entry);
                Novelty::New
            }
        }
    }

    /// Removes a subscription, by the filter as it was written.
    pub(crate) fn remove(&mut self, text: &str) -> Option<Removed> {
        let at = self.0.iter().position(|entry| entry.is_written(text))?;
        Some(match self.0.remove(at).share {
            Some(share) => Removed::Shared(share),
            None => Removed::Own,
        })
    }

    /// Whether this one could be there as well, where so many may be.
    pub(crate) fn has_room(
        &self,
        filter: &TopicFilter,
        share: Option<&Share>,
        most: usize,
    ) -> bool {
        self.0.len() < most || self.0.iter().any(|entry| entry.is_same(filter, share))
    }

    /// Whether some event of the log could match.
    pub(crate) fn want_events(&self) -> bool {
        self.own().any(|entry| entry.filter.overlaps(&EVENTS))
    }

    /// Whether something from the bus, other than by a group, could match.
    pub(crate) fn want_messages(&self) -> bool {
        self.own().any(|entry| !EVENTS.covers(&entry.filter))
    }

    /// Whether some are shared.
    pub(crate) fn are_shared(&self) -> bool {
        self.0.iter().any(|entry| entry.share.is_some())
    }

    /// How a message from the bus is to be delivered, if it is.
    pub(crate) fn matching(&self, message: &Message, reader: Sender) -> Option<Match> {
        let mine = message.sender == reader;
        let entries = self.matching_topic(&message.topic);
        let mut best: Option<Match> = None;
        for entry in entries.filter(|entry| !(entry.no_local && mine)) {
            let found = best.get_or_insert_with(|| Match {
                qos: Qos::AtMostOnce,
                retain: false,
                identifiers: Vec::new(),
            });
            found.qos = found.qos.max(entry.qos.min(message.qos));
            found.retain |= entry.retain_as_published && message.retain;
            found.identifiers.extend(entry.identifier);
        }
        best
    }

    /// How a message that a group has given to this session is delivered, if
    /// it still wants it.
    pub(crate) fn matching_share(&self, share: &Share, message: &Message) -> Option<Match> {
        let mut entries = self.0.iter();
        let entry = entries.find(|entry| entry.share.as_deref() == Some(share))?;
        Some(Match {
            qos: entry.qos.min(message.qos),
            retain: entry.retain_as_published && message.retain,
            identifiers: entry.identifier.into_iter().collect(),
        })
    }

    /// How an event is to be delivered, if it is: at the quality subscribed.
    pub(crate) fn matching_event(&self, topic: &TopicName) -> Option<Match> {
        let entries: Vec<&Entry> = self.matching_topic(topic).collect();
        let qos = entries.iter().map(|entry| entry.qos).max()?;
        Some(Match {
            qos,
            retain: false,
            identifiers: entries
                .iter()
                .filter_map(|entry| entry.identifier)
                .collect(),
        })
    }

    fn matching_topic(&self, topic: &TopicName) -> impl Iterator<Item = &Entry> {
        self.own().filter(|entry| entry.filter.matches(topic))
    }

    fn own(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| entry.share.is_none())
    }
}

impl Entry {
    fn is_same(&self, filter: &TopicFilter, share: Option<&Share>) -> bool {
        self.filter == *filter && self.share.as_deref() == share
    }

    fn is_written(&self, text: &str) -> bool {
        match &self.share {
            None => self.filter.as_str() == text,
            Some(share) => share.is_written(text),
        }
    }
}

/// Whether a filter is for events of the log and nothing else.
pub(crate) fn is_for_events(filter: &TopicFilter) -> bool {
    EVENTS.covers(filter)
}

static EVENTS: LazyLock<TopicFilter> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a literal")]
    TopicFilter::parse("provisioning/events/#", Limits::SERVICE).expect("a valid literal")
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packet::{Properties, RetainHandling};

    fn subscribe(to: &mut Subscriptions, filter: &str, qos: Qos, id: Option<u32>) -> Novelty {
        let filter = TopicFilter::parse(filter, Limits::SERVICE).expect("valid");
        let subscription = Subscription {
            filter: Ok(filter.clone()),
            group: None,
            qos,
            no_local: id == Some(99),
            retain_as_published: id == Some(7),
            retained: RetainHandling::Send,
        };
        to.put(filter, None, &subscription, id)
    }

    fn message(topic: &str, qos: Qos, sender: Sender) -> Message {
        Message {
            topic: TopicName::parse(topic, Limits::SERVICE).expect("valid"),
            payload: Vec::new(),
            qos,
            retain: true,
            properties: Properties::default(),
            sender,
            at: firstwake::Timestamp::from_millis(0),
        }
    }

    #[test]
    fn overlapping_filters_deliver_once() {
        let mut all = Subscriptions::default();
        subscribe(&mut all, "a/#", Qos::AtMostOnce, Some(1));
        subscribe(&mut all, "a/+", Qos::ExactlyOnce, Some(7));
        let me = Sender::next();
        let found = all.matching(&message("a/b", Qos::AtLeastOnce, me), me);
        assert_eq!(
            found,
            Some(Match {
                qos: Qos::AtLeastOnce,
                retain: true,
                identifiers: vec![1, 7]
            })
        );
        let found = all.matching(&message("a", Qos::AtLeastOnce, me), me);
        assert_eq!(
            found.map(|m| (m.qos, m.retain)),
            Some((Qos::AtMostOnce, false))
        );
        assert_eq!(all.matching(&message("b", Qos::AtLeastOnce, me), me), None);
    }

    #[test]
    fn no_local_leaves_out_ones_own() {
        let mut all = Subscriptions::default();
        subscribe(&mut all, "a", Qos::AtMostOnce, Some(99));
        let (me, other) = (Sender::next(), Sender::next());
        assert!(
            all.matching(&message("a", Qos::AtMostOnce, me), me)
                .is_none()
        );
        assert!(
            all.matching(&message("a", Qos::AtMostOnce, other), me)
                .is_some()
        );
    }

    #[test]
    fn the_same_filter_replaces() {
        let mut all = Subscriptions::default();
        assert_eq!(
            subscribe(&mut all, "a", Qos::AtMostOnce, None),
            Novelty::New
        );
        assert_eq!(
            subscribe(&mut all, "a", Qos::AtLeastOnce, None),
            Novelty::Replaced
        );
        let me = Sender::next();
        let found = all.matching(&message("a", Qos::ExactlyOnce, me), me);
        assert_eq!(found.map(|m| m.qos), Some(Qos::AtLeastOnce));
        assert_eq!(all.remove("a"), Some(Removed::Own));
        assert_eq!(all.remove("a"), None);
    }

    #[test]
    fn what_feeds_a_session() {
        let check = |filter: &str, events: bool, messages: bool| {
            let mut all = Subscriptions::default();
            subscribe(&mut all, filter, Qos::AtMostOnce, None);
            assert_eq!(
                (all.want_events(), all.want_messages()),
                (events, messages),
                "{filter}"
            );
        };
        check("provisioning/events/#", true, false);
        check("provisioning/events/+/S1/activation_issued", true, false);
        check("provisioning/#", true, true);
        check("#", true, true);
        check("+/+/+/+/+", true, true);
        check("provisioning/fleet", false, true);
        check("feeds/#", false, true);
    }
}
