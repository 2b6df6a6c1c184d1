//! `feeds/ID/datastreams/NAME`: one datastream, and its datapoints.

use firstwake::feed::{Body, CurrentValue, Format, precise};
use firstwake::topic::device::data;
use firstwake::{DatastreamId, FeedId};

use super::Answer;
use super::caller::Readable;
use super::denied::Denied;
use super::feed::{MOST, keep, load};
use super::request::{Asked, Unread};

pub(super) async fn show(
    feed: FeedId,
    id: &DatastreamId,
    asked: &Asked<'_>,
) -> Result<Answer, Denied> {
    let format = asked.format()?;
    let Readable(feed) = asked.readable(feed).await?;
    let found = load(feed, asked).await?;
    let page = found.datastream(id);
    let page = page.ok_or_else(|| Denied::not_found("the feed has no such datastream yet"))?;
    Ok(Answer::Page(
        format,
        match format {
            Format::Json => page.to_json(),
            Format::Csv => page.to_csv(),
        },
    ))
}

pub(super) async fn write(
    feed: FeedId,
    id: &DatastreamId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    take_in(feed, Body::Datastream(id), id, asked, body).await
}

/// Of several datapoints the newest is kept.
pub(super) async fn add(
    feed: FeedId,
    id: &DatastreamId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    take_in(feed, Body::Datapoints(id), id, asked, body).await
}

async fn take_in(
    feed: FeedId,
    what: Body<'_>,
    id: &DatastreamId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    let format = asked.body_format()?;
    let feed = asked.writable(feed).await?;
    let body = body.whole(MOST).await?;
    let read = what.read(&body, format, asked.now)?;
    let carried = read.first().map(|value| carried(value, asked));
    let topic = data(feed.0, id);
    keep(feed, read, topic, carried.unwrap_or_default(), asked).await?;
    Ok(Answer::Done)
}

/// The value as the device would have sent it over MQTT: behind its time, if
/// it has one of its own.
fn carried(value: &CurrentValue, asked: &Asked<'_>) -> Vec<u8> {
    match value.at == asked.now {
        true => value.value.to_string().into_bytes(),
        false => format!("{},{}", precise(value.at), value.value).into_bytes(),
    }
}
