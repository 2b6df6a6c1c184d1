//! What happened: the audit log, page by page or as it is written.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::watching;
use crate::broker::Broker;
use crate::control::{Reply, Request};
use crate::http::Source;
use crate::http::ask::{With, answered};
use crate::http::caller::Viewer;
use crate::http::problem::{Kind, Problem};

/// Events on a page, unless said otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Behind the event of this number. A page begins with the first without
    /// it, a stream with the next that happens.
    after: Option<u64>,
    /// How many: 100 unless said otherwise. A stream has no end.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Some events.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    /// Each as docs/operators.md has it.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Value>,
    /// Where the next page begins (`after`).
    next: u64,
}

/// What happened: a page, or a stream where `Accept: text/event-stream` asks for one
///
/// In a stream, `id` is the event's number, `event` its kind and `data` the
/// event itself. Who was cut off goes on with `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", operation_id = "list_events",
    params(Which), responses((status = OK, content(
        (EventPage = "application/json"),
        (String = "text/event-stream")
    ))))]
pub(super) async fn list(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    With(which): With<Which>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if wants_stream(&headers) {
        let after = last_seen(&headers)?.or(which.after);
        let stream = watching::stream(login, after, source, broker).map_err(|_| {
            let sentence = "this operator reads as many streams as it may: close one";
            Problem::new(Kind::TooMany, sentence)
        })?;
        return Ok(([(CACHE_CONTROL, "no-store")], stream).into_response());
    }
    let after = which.after.unwrap_or(0);
    let limit = which.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let sentence = format!("a page has from 1 to {LARGEST_PAGE} events (limit)");
        return Err(Problem::new(Kind::Invalid, sentence));
    }
    let events = answered!(&broker, Request::Events { after, limit }, Reply::Events(it) => it);
    let last = events.last().and_then(|event| event["seq"].as_u64());
    let next = last.unwrap_or(after);
    Ok(Json(EventPage { events, next }).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// The number of the last event that the peer has seen.
fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(last) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = last.to_str().ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| {
        let sentence = "Last-Event-ID is the number of an event";
        Problem::new(Kind::Invalid, sentence)
    })?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_a_stream() {
        let check = |accepted: &[&str], stream| {
            let mut headers = HeaderMap::new();
            for kinds in accepted {
                headers.append(ACCEPT, kinds.parse().expect("a header"));
            }
            assert_eq!(wants_stream(&headers), stream, "{accepted:?}");
        };
        check(&[], false);
        check(&["*/*"], false);
        check(&["application/json"], false);
        check(&["text/event-stream"], true);
        check(&["Text/Event-Stream;q=0.9"], true);
        check(&["application/json, text/event-stream"], true);
        check(&["application/json", "text/event-stream"], true);
        check(&["text/event-streams"], false);
    }
}
