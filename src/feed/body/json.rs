//! Values in an object.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{Body, MOST, NotRead, datastream, newer, time, too_many, value};
use crate::clock::Timestamp;
use crate::feed::CurrentValue;
use crate::product::DatastreamId;

/// Fields that are not named here are not ours, and are let pass.
#[derive(Deserialize)]
struct Feed<'a> {
    #[serde(borrow)]
    datastreams: Option<Vec<&'a RawValue>>,
}

/// Fields are kept as they were written: a number reads back as it was sent.
#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    current_value: Option<&'a RawValue>,
    #[serde(borrow)]
    at: Option<&'a RawValue>,
    #[serde(borrow)]
    datapoints: Option<Vec<&'a RawValue>>,
    /// What `current_value` is called by mistake.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Point<'a> {
    #[serde(borrow)]
    at: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

pub(super) fn read(
    body: Body<'_>,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Vec<CurrentValue>, NotRead> {
    match body {
        Body::Feed => feed(bytes, now),
        Body::Datastream(id) | Body::Datapoints(id) => {
            let stream: Stream<'_> = parse(bytes, "the body")?;
            let named = stream.id.and_then(scalar);
            if named.is_some_and(|named| named != id.as_str()) {
                return Err(NotRead::Invalid(format!(
                    "\"id\" is not {id}, which the address names: leave it out"
                )));
            }
            let newest = newest(&stream, id, &format!("datastream {id}"), now)?;
            newest.map(|newest| vec![newest]).ok_or_else(|| match body {
                Body::Datapoints(_) => NotRead::Invalid(
                    r#"there are no values: write {"datapoints":[{"at":"…","value":"21.5"}]}"#
                        .to_owned(),
                ),
                _ => NotRead::Invalid(
                    r#"there is no value: write {"current_value":"21.5"}"#.to_owned(),
                ),
            })
        }
    }
}

fn feed(bytes: &[u8], now: Timestamp) -> Result<Vec<CurrentValue>, NotRead> {
    let feed: Feed<'_> = parse(bytes, "the body")?;
    let streams = feed.datastreams.unwrap_or_default();
    if streams.len() > MOST {
        return Err(too_many("datastreams in one body"));
    }
    let mut named = HashSet::new();
    let mut values = Vec::with_capacity(streams.len());
    for (number, stream) in (1..).zip(&streams) {
        let place = format!("datastream {number}");
        let stream: Stream<'_> = parse(stream.get().as_bytes(), &place)?;
        let id = match stream.id {
            None => return Err(NotRead::Invalid(format!(r#"{place} has no "id""#))),
            Some(id) => scalar(id).ok_or_else(|| not_scalar(&place, "id"))?,
        };
        let id = datastream(&id, &place)?;
        let place = format!("{place} ({id})");
        // One without a value is only named, as in a feed that was read and is
        // sent back.
        values.extend(newest(&stream, &id, &place, now)?);
        if !named.insert(id) {
            return Err(NotRead::Invalid(format!(
                r#"{place} is named twice: send several values of one datastream in its "datapoints""#
            )));
        }
    }
    if values.is_empty() {
        return Err(NotRead::Invalid(
            r#"there is no value: write {"version":"1.0.0","datastreams":[{"id":"temperature","current_value":"21.5"}]}"#.to_owned(),
        ));
    }
    Ok(values)
}

/// The newest value that is said of one datastream.
fn newest(
    stream: &Stream<'_>,
    id: &DatastreamId,
    place: &str,
    now: Timestamp,
) -> Result<Option<CurrentValue>, NotRead> {
    let mut newest = None;
    let points = stream.datapoints.as_deref().unwrap_or_default();
    if points.len() > MOST {
        return Err(too_many("datapoints of one datastream"));
    }
    for (number, point) in (1..).zip(points) {
        let place = format!("{place}, datapoint {number}");
        let point: Point<'_> = parse(point.get().as_bytes(), &place)?;
        let (Some(text), Some(at)) = (point.value, point.at) else {
            return Err(NotRead::Invalid(format!(
                r#"{place} needs both "at" and "value""#
            )));
        };
        let next = measured(id, text, Some(at), &place, now)?;
        newest = Some(newer(newest, next));
    }
    match (stream.current_value, stream.value) {
        (Some(text), _) => {
            let next = measured(id, text, stream.at, place, now)?;
            newest = Some(newer(newest, next));
        }
        (None, Some(_)) if newest.is_none() => {
            return Err(NotRead::Invalid(format!(
                r#"{place}: a datastream has no "value"; call it "current_value""#
            )));
        }
        _ => {}
    }
    Ok(newest)
}

fn measured(
    id: &DatastreamId,
    text: &RawValue,
    at: Option<&RawValue>,
    place: &str,
    now: Timestamp,
) -> Result<CurrentValue, NotRead> {
    let text = scalar(text).ok_or_else(|| not_scalar(place, "the value"))?;
    let at = match at {
        Some(at) => {
            let at = scalar(at).ok_or_else(|| not_scalar(place, "\"at\""))?;
            time(&at, place, now)?
        }
        None => now,
    };
    Ok(CurrentValue {
        datastream: id.clone(),
        value: value(&text, place)?,
        at,
    })
}

/// A text, or a number as it was written.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

fn not_scalar(place: &str, what: &str) -> NotRead {
    NotRead::Invalid(format!("{place}: {what} is neither a text nor a number"))
}

/// Reads an object. What the parser says of it may quote the body: it is cut.
fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], place: &str) -> Result<T, NotRead> {
    let read = if bytes.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(bytes)
    } else {
        // The parser would take a list for one too.
        match serde_json::from_slice::<IgnoredAny>(bytes) {
            Ok(_) => return Err(NotRead::Invalid(format!("{place} is not an object"))),
            Err(error) => Err(error),
        }
    };
    read.map_err(|error| {
        let said: String = error.to_string().chars().take(160).collect();
        match error.classify() {
            Category::Data => NotRead::Invalid(format!("{place} is not what is expected: {said}")),
            _ => NotRead::Malformed(format!("{place} is not JSON: {said}")),
        }
    })
}
