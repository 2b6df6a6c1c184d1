//! `feeds/ID`: a feed, read and written as a whole.
//!
//! What is written is on disk before the answer, and on the bus as it would be
//! if the device had sent it over MQTT.

use firstwake::feed::{Body, CurrentValue, Format};
use firstwake::topic::TopicName;
use firstwake::topic::device::values;
use firstwake::{DatastreamId, FeedId, Qos};

use super::Answer;
use super::caller::{Readable, Writable};
use super::denied::Denied;
use super::request::{Asked, Unread};
use crate::bus::Message;
use crate::feeds::Feed;

/// Bytes of a body of values.
pub(super) const MOST: usize = 64 * 1024;

pub(super) async fn show(feed: FeedId, asked: &Asked<'_>) -> Result<Answer, Denied> {
    let format = asked.format()?;
    let Readable(feed) = asked.readable(feed).await?;
    let mut found = load(feed, asked).await?;
    if let Some(wanted) = asked.parameter("datastreams") {
        let wanted: Vec<DatastreamId> = wanted
            .split(',')
            .filter_map(|name| DatastreamId::parse(name.trim()).ok())
            .collect();
        found.keep_only(&wanted);
    }
    let page = found.page();
    Ok(Answer::Page(
        format,
        match format {
            Format::Json => page.to_json(asked.now),
            Format::Csv => page.to_csv(),
        },
    ))
}

pub(super) async fn write(
    feed: FeedId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    take_in(feed, asked, body).await?;
    Ok(Answer::Done)
}

/// New datastreams. One that is there gets the value.
pub(super) async fn add(
    feed: FeedId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    let first = take_in(feed, asked, body).await?;
    Ok(Answer::Created(format!(
        "/v2/feeds/{feed}/datastreams/{first}"
    )))
}

/// Takes a feed's body in, and says what it names first.
async fn take_in(
    feed: FeedId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<DatastreamId, Denied> {
    let format = asked.body_format()?;
    let feed = asked.writable(feed).await?;
    let body = body.whole(MOST).await?;
    let read = Body::Feed.read(&body, format, asked.now)?;
    let Some(first) = read.first().map(|value| value.datastream.clone()) else {
        return Err(Denied::invalid("the body has no values"));
    };
    keep(feed, read, values(feed.0), body.to_vec(), asked).await?;
    Ok(first)
}

/// A feed that somebody may read.
pub(super) async fn load(feed: FeedId, asked: &Asked<'_>) -> Result<Feed, Denied> {
    // What Xively answered with a history is not answered without.
    let history = ["start", "end", "duration", "interval"];
    if history.iter().any(|name| asked.parameter(name).is_some()) {
        let status = http::StatusCode::NOT_IMPLEMENTED;
        return Err(Denied::new(status, Denied::NO_HISTORY));
    }
    let found = Feed::load(feed, asked.broker).await?;
    found.ok_or_else(|| Denied::not_found("no device has this feed"))
}

/// Keeps values, and tells whoever reads.
pub(super) async fn keep(
    Writable(feed): Writable,
    read: Vec<CurrentValue>,
    topic: TopicName,
    payload: Vec<u8>,
    asked: &Asked<'_>,
) -> Result<(), Denied> {
    let (broker, now) = (asked.broker, asked.now);
    broker.provisioner.keep_values(feed, read, now).await?;
    let message = Message {
        qos: Qos::AtLeastOnce,
        ..Message::of_server(topic, payload, now)
    };
    let published = broker.bus.publish(message).await;
    published.map_err(|_| Denied::unavailable())?;
    broker.downlink().tell_of_values(feed);
    Ok(())
}
