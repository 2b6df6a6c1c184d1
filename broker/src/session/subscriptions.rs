//! What one operator's session has subscribed to, and how a message that
//! several of its filters match is delivered: once, at the best quality.

use std::sync::LazyLock;

use firstwake::topic::{Limits, TopicFilter, TopicName};

use super::lower;
use crate::bus::{Message, Sender};
use crate::mqtt::packet::{Qos, Subscription};

/// Subscriptions that one session may have.
pub(super) const LIMIT: usize = 1024;

/// All subscriptions of one session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    filter: TopicFilter,
    qos: Qos,
    no_local: bool,
    retain_as_published: bool,
    identifier: Option<u32>,
}

/// Whether a filter was subscribed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Replaced,
}

/// How a message is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<u32>,
}

impl Subscriptions {
    /// Adds a subscription, or replaces the one with the same filter.
    pub(super) fn put(
        &mut self,
        filter: TopicFilter,
        subscription: &Subscription,
        identifier: Option<u32>,
    ) -> Novelty {
        let entry = Entry {
            filter,
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier,
        };
        let found = self.0.iter_mut().find(|found| found.filter == entry.filter);
        match found {
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

    /// Removes a subscription; whether there was one.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.filter.as_str() != filter);
        self.0.len() < before
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < LIMIT
    }

    /// Whether some event of the log could match.
    pub(super) fn want_events(&self) -> bool {
        self.0.iter().any(|entry| entry.filter.overlaps(&EVENTS))
    }

    /// Whether something other than events could match.
    pub(super) fn want_messages(&self) -> bool {
        self.0.iter().any(|entry| !EVENTS.covers(&entry.filter))
    }

    /// How a message from the bus is to be delivered, if it is.
    pub(super) fn matching(&self, message: &Message, reader: Sender) -> Option<Match> {
        let mine = message.sender == reader;
        let entries = self.matching_topic(&message.topic);
        let mut best: Option<Match> = None;
        for entry in entries.filter(|entry| !(entry.no_local && mine)) {
            let found = best.get_or_insert_with(|| Match {
                qos: Qos::AtMostOnce,
                retain: false,
                identifiers: Vec::new(),
            });
            found.qos = found.qos.max(lower(entry.qos, message.qos));
            found.retain |= entry.retain_as_published && message.retain;
            found.identifiers.extend(entry.identifier);
        }
        best
    }

    /// How an event is to be delivered, if it is: at the quality subscribed.
    pub(super) fn matching_event(&self, topic: &TopicName) -> Option<Match> {
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
        self.0.iter().filter(|entry| entry.filter.matches(topic))
    }
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
            qos,
            no_local: id == Some(99),
            retain_as_published: id == Some(7),
            retained: RetainHandling::Send,
        };
        to.put(filter, &subscription, id)
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
        assert!(all.remove("a"));
        assert!(!all.remove("a"));
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
