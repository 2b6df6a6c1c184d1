//! Bodies that carry a feed's values, as Xively's clients send them.
//!
//! A body is read as a whole or not at all. What is wrong with it is said with
//! its place and what to do, and told apart: what is no JSON or CSV, and what
//! is but says something that cannot be. How big a body may be is decided
//! before it comes here; how much it may name, here.

mod csv;
mod json;

#[cfg(test)]
mod tests;

use super::{CurrentValue, Value};
use crate::clock::Timestamp;
use crate::product::DatastreamId;

/// Datastreams in one body, and datapoints of one of them.
const MOST: usize = 500;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One object.
    Json,
    /// Lines of `id,value` or `id,timestamp,value`; for a single datastream
    /// without the id.
    Csv,
}

impl Format {
    /// What a body looks like that nothing else tells of: JSON is an object.
    pub fn guess(body: &[u8]) -> Self {
        match unmarked(body).trim_ascii_start().first() {
            Some(b'{') => Self::Json,
            _ => Self::Csv,
        }
    }
}

/// What a body is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Datastreams of a feed, each with its values.
    Feed,
    /// Values of one datastream.
    Datastream(&'a DatastreamId),
    /// Values of one datastream, each with its time.
    Datapoints(&'a DatastreamId),
}

/// Why a body was not taken, in words for whoever wrote the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// It is not written in its format.
    #[error("{0}")]
    Malformed(String),
    /// It is, but what it says cannot be.
    #[error("{0}")]
    Invalid(String),
}

impl Body<'_> {
    /// Reads the newest value of each datastream that the body names. What has
    /// no time of its own was measured `now`.
    pub fn read(
        self,
        body: &[u8],
        format: Format,
        now: Timestamp,
    ) -> Result<Vec<CurrentValue>, NotRead> {
        let body = unmarked(body);
        match format {
            Format::Json => json::read(self, body, now),
            Format::Csv => csv::read(self, body, now),
        }
    }
}

/// A body without the mark that some programs put in front of UTF-8.
fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The value that is newer; of two as old, the one that came later.
fn newer(known: Option<CurrentValue>, next: CurrentValue) -> CurrentValue {
    match known {
        Some(known) if known.at > next.at => known,
        _ => next,
    }
}

fn value(text: &str, place: &str) -> Result<Value, NotRead> {
    Value::parse(text).map_err(|error| NotRead::Invalid(format!("{place}: {error}")))
}

fn datastream(text: &str, place: &str) -> Result<DatastreamId, NotRead> {
    DatastreamId::parse(text)
        .map_err(|error| NotRead::Invalid(format!("{place}: {} is no id: {error}", quoted(text))))
}

fn time(text: &str, place: &str, now: Timestamp) -> Result<Timestamp, NotRead> {
    super::time::read(text, now)
        .map_err(|error| NotRead::Invalid(format!("{place}: {}: {error}", quoted(text))))
}

fn too_many(what: &str) -> NotRead {
    NotRead::Invalid(format!(
        "more than {MOST} {what}: send them in several requests"
    ))
}

/// A peer's own text, cut short where it is long.
fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}
