//! A device's own feed, read to it under Xively's names.
//!
//! As it is when the device subscribes, and again whenever it has changed,
//! whoever changed it. At quality 0: of several changes in a row, the device
//! may be read the last one only.

use firstwake::FeedId;
use firstwake::mailbox::Subscription;
use firstwake::topic::device::{Own, Page, own};
use firstwake::topic::{Limits, TopicFilter, TopicName};

use super::DeviceSession;
use super::hold::Match;
use crate::broker::Broker;
use crate::bus::Message;
use crate::feeds::Feed;
use crate::wire::Stream;

/// Whether what was read to a device is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    Fresh,
    Stale,
}

/// Which of the pages that a device subscribed to are read to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// All: something has changed.
    All,
    /// The one that it asked for now.
    Asked(&'a TopicFilter),
}

impl<S: Stream> DeviceSession<S> {
    /// Its feed has changed.
    pub(super) fn turn_pages(&mut self) {
        let held = self.hold.as_ref();
        let mut held = held.into_iter().flat_map(|hold| hold.subscriptions());
        if held.any(is_about_page) {
            self.pages = Pages::Stale;
        }
    }

    /// Reads pages to the device.
    pub(super) async fn read_out(&mut self, which: Which<'_>, broker: &Broker) {
        let feed = self.login.feed();
        let wanted: Vec<(TopicName, Page)> = match (which, &self.hold) {
            (Which::Asked(filter), _) => self.page_of(filter).into_iter().collect(),
            (Which::All, Some(hold)) => {
                let pages = hold.subscriptions().iter();
                pages
                    .filter_map(|held| self.page_of(&held.filter))
                    .collect()
            }
            (Which::All, None) => Vec::new(),
        };
        if wanted.is_empty() {
            return;
        }
        let found = match Feed::load(feed, broker).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "a feed could not be read to its device"),
        };
        let now = broker.clock.now();
        let retain = matches!(which, Which::Asked(_));
        for (topic, page) in wanted {
            let Some(payload) = found.read_out(&page, now) else {
                continue;
            };
            let message = Message::of_server(topic, payload, now);
            if let Some(hold) = &self.hold
                && let Some(matched) = Match::of(hold.subscriptions(), &message.topic)
            {
                matched.send_once(&message, retain, &mut self.wire.machine, now);
            }
        }
    }

    /// The page that a filter is about, under the name it is read by.
    fn page_of(&self, filter: &TopicFilter) -> Option<(TopicName, Page)> {
        let (feed, serial): (FeedId, _) = (self.login.feed(), self.login.serial());
        match own(feed, serial, filter)? {
            Own::Page(page) => {
                let topic = TopicName::parse(filter.as_str(), Limits::DEVICE).ok()?;
                Some((topic, page))
            }
            Own::Downlink | Own::Answers | Own::Other => None,
        }
    }
}

fn is_about_page(held: &Subscription) -> bool {
    held.filter.as_str().starts_with("/v2/")
}
