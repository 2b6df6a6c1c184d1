//! Values in lines.

use std::collections::HashMap;

use ::csv::{ReaderBuilder, StringRecord, Trim};

use super::{Body, MOST, NotRead, datastream, newer, time, too_many, value};
use crate::clock::Timestamp;
use crate::feed::CurrentValue;
use crate::product::DatastreamId;

/// Whether lines said when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timed {
    Yes,
    No,
}

pub(super) fn read(
    body: Body<'_>,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Vec<CurrentValue>, NotRead> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(bytes);
    let mut found: Vec<(CurrentValue, Timed)> = Vec::new();
    let mut places: HashMap<DatastreamId, usize> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, ::csv::Position::line);
            NotRead::Malformed(format!("line {line} is not UTF-8 text"))
        })?;
        if record.iter().all(str::is_empty) && record.len() == 1 {
            continue;
        }
        let line = line_number(&record, bytes);
        let (next, timed) = line_of(body, &record, &format!("line {line}"), now)?;
        match places.get(&next.datastream) {
            // Several values of one datastream are told apart by their times.
            Some(place) => {
                let (known, before) = &mut found[*place];
                if *before == Timed::No || timed == Timed::No {
                    return Err(twice(body, line, &next.datastream));
                }
                *known = newer(Some(known.clone()), next);
            }
            None if found.len() == MOST => return Err(too_many("datastreams in one body")),
            None => {
                places.insert(next.datastream.clone(), found.len());
                found.push((next, timed));
            }
        }
    }
    if found.is_empty() {
        let form = form(body);
        return Err(NotRead::Invalid(format!(
            "the body has no values: write {form}"
        )));
    }
    Ok(found.into_iter().map(|(value, _)| value).collect())
}

/// Where a record stands. The reader's own place is that before the empty
/// lines that it skipped.
fn line_number(record: &StringRecord, bytes: &[u8]) -> u64 {
    let Some(position) = record.position() else {
        return 1;
    };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let behind = bytes.get(start..).unwrap_or_default().iter();
    let skipped = behind.take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.map(|byte| u64::from(*byte == b'\n')).sum::<u64>()
}

/// One line.
fn line_of(
    body: Body<'_>,
    record: &StringRecord,
    place: &str,
    now: Timestamp,
) -> Result<(CurrentValue, Timed), NotRead> {
    let fields: Vec<&str> = record.iter().collect();
    let (id, at, text) = match (body, fields.as_slice()) {
        (Body::Feed, [id, text]) => (datastream(id, place)?, None, text),
        (Body::Feed, [id, at, text]) => (datastream(id, place)?, Some(at), text),
        (Body::Datastream(id), [text]) => (id.clone(), None, text),
        (Body::Datastream(id) | Body::Datapoints(id), [at, text]) => (id.clone(), Some(at), text),
        _ => {
            let (count, form) = (fields.len(), form(body));
            return Err(NotRead::Malformed(format!(
                "{place} has {count} fields: write {form}, and put quotes around what holds a comma"
            )));
        }
    };
    let timed = at.map_or(Timed::No, |_| Timed::Yes);
    let value = CurrentValue {
        datastream: id,
        value: value(text, place)?,
        at: at.map_or(Ok(now), |at| time(at, place, now))?,
    };
    Ok((value, timed))
}

fn form(body: Body<'_>) -> &'static str {
    match body {
        Body::Feed => "id,value or id,timestamp,value on each line",
        Body::Datastream(_) => "value or timestamp,value",
        Body::Datapoints(_) => "timestamp,value on each line",
    }
}

fn twice(body: Body<'_>, line: u64, datastream: &DatastreamId) -> NotRead {
    NotRead::Invalid(match body {
        Body::Feed => format!(
            "line {line} names datastream {datastream} again: send one line for each, or say when with id,timestamp,value"
        ),
        Body::Datastream(_) | Body::Datapoints(_) => {
            format!("line {line} is one value too many: say when with timestamp,value")
        }
    })
}
