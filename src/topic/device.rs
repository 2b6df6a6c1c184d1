//! Which topics are a device's own.
//!
//! A device has no way to name another's topics: every rule here starts from
//! its own feed id or serial and asks whether the text is exactly one of its
//! own. A check returns the canonical topic that the next step needs.

use super::{InvalidTopic, Limits, TopicFilter, TopicName, decode_level, encode_level};
use crate::clock::Timestamp;
use crate::feed::{Body, CurrentValue, Format, NotRead, Value};
use crate::identity::{FeedId, Serial};
use crate::product::DatastreamId;
use crate::secret::ApiKey;

/// The topic on which a device's activation is answered.
pub fn response(serial: &Serial) -> TopicName {
    TopicName::from_valid(format!(
        "provision/{}/response",
        encode_level(serial.as_str())
    ))
}

/// The topic on which a device asks for its activation.
pub fn request(serial: &Serial) -> TopicName {
    TopicName::from_valid(format!(
        "provision/{}/request",
        encode_level(serial.as_str())
    ))
}

/// The topic of one datastream's values.
pub fn data(feed: FeedId, datastream: &DatastreamId) -> TopicName {
    let level = encode_level(datastream.as_str());
    TopicName::from_valid(format!("feeds/{feed}/data/{level}"))
}

/// The topic of several datastreams' values.
pub fn values(feed: FeedId) -> TopicName {
    TopicName::from_valid(format!("feeds/{feed}/data"))
}

/// The feed that a canonical uplink topic belongs to.
pub fn feed_of(topic: &TopicName) -> Option<FeedId> {
    let mut levels = topic.levels();
    match (levels.next(), levels.next(), levels.next()) {
        (Some("feeds"), Some(id), Some("data" | "status")) => FeedId::parse(id).ok(),
        _ => None,
    }
}

/// A topic that the device may publish to, in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    topic: TopicName,
    carries: Carries,
}

/// What the messages on an uplink topic say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Carries {
    /// Whatever the device likes.
    Text,
    /// One value, as it is.
    Value(DatastreamId),
    /// One value, perhaps behind its time.
    Row(DatastreamId),
    /// Several values, in this format or in the one that they look like.
    Values(Option<Format>),
}

impl Uplink {
    /// Decides whether `topic` is an uplink topic of this feed, under its own
    /// or under Xively's name.
    pub fn permit(feed: FeedId, topic: &TopicName) -> Option<Self> {
        let levels: Vec<&str> = topic.levels().collect();
        let carries = match levels.as_slice() {
            ["feeds", id, "status"] if is_feed(id, feed) => Carries::Text,
            ["feeds", id, "data"] if is_feed(id, feed) => Carries::Values(None),
            ["feeds", id, "data", stream] if is_feed(id, feed) => {
                Carries::Value(datastream(stream)?)
            }
            ["", "v2", "feeds", file] => {
                let (id, format) = suffixed(file)?;
                is_feed(id, feed).then_some(Carries::Values(Some(format)))?
            }
            ["", "v2", "feeds", id, "datastreams", file] if is_feed(id, feed) => {
                Carries::Row(datastream(file.strip_suffix(".csv")?)?)
            }
            _ => return None,
        };
        let topic = match &carries {
            Carries::Text => TopicName::from_valid(format!("feeds/{feed}/status")),
            Carries::Values(_) => values(feed),
            Carries::Value(id) | Carries::Row(id) => data(feed, id),
        };
        Some(Self { topic, carries })
    }

    /// The one datastream that the message is for, if its topic names one.
    pub fn datastream(&self) -> Option<&DatastreamId> {
        match &self.carries {
            Carries::Value(id) | Carries::Row(id) => Some(id),
            Carries::Text | Carries::Values(_) => None,
        }
    }

    /// The values that a message says, each the newest of its datastream; none
    /// where the topic is for something else.
    pub fn read(&self, payload: &[u8], now: Timestamp) -> Result<Vec<CurrentValue>, NotRead> {
        match &self.carries {
            Carries::Text => Ok(Vec::new()),
            Carries::Value(id) => Ok(vec![CurrentValue {
                datastream: id.clone(),
                value: plain(payload)?,
                at: now,
            }]),
            Carries::Row(id) => Body::Datastream(id).read(payload, Format::Csv, now),
            Carries::Values(format) => {
                let format = format.unwrap_or_else(|| Format::guess(payload));
                Body::Feed.read(payload, format, now)
            }
        }
    }

    /// The topic under which the message is carried on.
    pub fn into_topic(self) -> TopicName {
        self.topic
    }
}

/// A payload that is one value and nothing else.
fn plain(payload: &[u8]) -> Result<Value, NotRead> {
    let text = std::str::from_utf8(payload).map_err(|_| invalid("the value is not text"))?;
    Value::parse(text.trim()).map_err(invalid)
}

fn invalid(error: impl ToString) -> NotRead {
    NotRead::Invalid(error.to_string())
}

/// A topic that leads down to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downlink {
    feed: FeedId,
    kind: DownlinkKind,
    topic: TopicName,
}

/// What is sent down to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownlinkKind {
    /// Something to be done once.
    Command,
    /// What holds until there is another.
    Configuration,
}

impl Downlink {
    /// Reads where a topic leads; `None` if that is not down to a device.
    pub fn of(topic: &TopicName) -> Option<Self> {
        let levels: Vec<&str> = topic.levels().collect();
        let (id, kind) = match levels.as_slice() {
            ["feeds", id, "commands", _] => (id, DownlinkKind::Command),
            ["feeds", id, "config"] => (id, DownlinkKind::Configuration),
            _ => return None,
        };
        Some(Self {
            feed: FeedId::parse(id).ok()?,
            kind,
            topic: topic.clone(),
        })
    }

    /// The topic of one command to a feed. Its name is one level.
    pub fn command(feed: FeedId, name: &str) -> Result<Self, InvalidTopic> {
        if name.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if name.contains('/') {
            return Err(InvalidTopic::TooDeep);
        }
        let text = format!("feeds/{feed}/commands/{name}");
        Ok(Self {
            feed,
            kind: DownlinkKind::Command,
            topic: TopicName::parse(&text, Limits::DEVICE)?,
        })
    }

    /// The topic of a feed's configuration.
    pub fn configuration(feed: FeedId) -> Self {
        Self {
            feed,
            kind: DownlinkKind::Configuration,
            topic: TopicName::from_valid(format!("feeds/{feed}/config")),
        }
    }

    /// Whom it leads to.
    pub fn feed(&self) -> FeedId {
        self.feed
    }

    /// What is sent on it.
    pub fn kind(&self) -> DownlinkKind {
        self.kind
    }

    /// The topic itself.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
}

/// What a device asked for when it subscribed to something of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Commands or configuration, perhaps beside other topics of its own: what
    /// operators send down to it.
    Downlink,
    /// Its feed, or one datastream of it, under Xively's name: read to it as it
    /// is now, and whenever it has changed.
    Page(Page),
    /// Answers to what it asks on its request topic.
    Answers,
    /// Another topic of its own, on which nothing is ever delivered to a
    /// device session.
    Other,
}

/// A page about a device's own feed, by Xively's name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/v2/feeds/ID.json` or `.csv`.
    Feed(Format),
    /// `/v2/feeds/ID/datastreams/NAME.json` or `.csv`.
    Datastream(DatastreamId, Format),
}

/// Decides whether all that `filter` could match is the device's own.
pub fn own(feed: FeedId, serial: &Serial, filter: &TopicFilter) -> Option<Own> {
    let levels: Vec<&str> = filter.as_str().split('/').collect();
    match levels.as_slice() {
        ["feeds", id, _, ..] if is_feed(id, feed) => {
            let down = [
                format!("feeds/{feed}/commands/+"),
                format!("feeds/{feed}/config"),
            ];
            let leads_down = |text: &String| {
                TopicFilter::parse(text, Limits::DEVICE).is_ok_and(|down| down.overlaps(filter))
            };
            let own = if down.iter().any(leads_down) {
                Own::Downlink
            } else {
                Own::Other
            };
            Some(own)
        }
        ["", "v2", "feeds", file] => {
            let (id, format) = suffixed(file)?;
            is_feed(id, feed).then_some(Own::Page(Page::Feed(format)))
        }
        ["", "v2", "feeds", id, "datastreams", file] if is_feed(id, feed) => {
            let page = suffixed(file)
                .and_then(|(stream, format)| Some(Page::Datastream(datastream(stream)?, format)));
            Some(page.map_or(Own::Other, Own::Page))
        }
        ["", "v2", "feeds", id, _, ..] if is_feed(id, feed) => Some(Own::Other),
        ["provision", level, what @ ("response" | "request")] => {
            let own = match *what {
                "response" => Own::Answers,
                _ => Own::Other,
            };
            (decode_level(level)? == serial.as_str()).then_some(own)
        }
        _ => None,
    }
}

/// A level that says how it wants to be written.
fn suffixed(level: &str) -> Option<(&str, Format)> {
    let json = level.strip_suffix(".json").map(|name| (name, Format::Json));
    json.or_else(|| level.strip_suffix(".csv").map(|name| (name, Format::Csv)))
}

/// One of Xively's topics without the key that may stand before it, its other
/// way to show one; `None` if that key is not the reader's own. Anything else
/// is left as it is.
pub fn without_key(topic: &str, is_own: impl FnOnce(&ApiKey) -> bool) -> Option<&str> {
    let keyed = topic.split_once('/').and_then(|(key, rest)| {
        rest.strip_prefix("v2/")?;
        Some((ApiKey::parse(key).ok()?, &topic[key.len()..]))
    });
    match keyed {
        None => Some(topic),
        Some((key, rest)) => is_own(&key).then_some(rest),
    }
}

fn is_feed(level: &str, feed: FeedId) -> bool {
    FeedId::parse(level) == Ok(feed)
}

fn datastream(level: &str) -> Option<DatastreamId> {
    DatastreamId::parse(&decode_level(level)?).ok()
}

#[cfg(test)]
mod tests;
