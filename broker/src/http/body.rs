//! A request's body: bounded in size and in time, read once.

use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::budget::{NO_ROOM, NotRead};
use super::problem::{Kind, Problem};
use crate::broker::Broker;
use crate::misread;

/// Bytes of most bodies at most.
const MOST: usize = 1024 * 1024;
/// Bytes of what strangers ask, or of what carries what strangers sent.
const QUESTIONS: usize = 64 * 1024;
/// Bytes of a list of exceptions, which has to come at once.
const LISTS: usize = 16 * 1024 * 1024;
/// Devices that are changed at once.
pub(crate) const DEVICES: usize = 10_000;
/// Serials that are registered at once.
pub(crate) const SERIALS: usize = 100_000;
/// How long a body may take, as a multiple of what a request's head may.
const HEADS: u32 = 3;

/// The bound of most routes.
pub(crate) fn limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(MOST)
}

/// The bound of routes that take long lists.
pub(crate) fn limit_of_lists() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LISTS)
}

/// The bound of routes that read before they know who asks.
pub(crate) fn limit_of_questions() -> DefaultBodyLimit {
    DefaultBodyLimit::max(QUESTIONS)
}

/// Refuses a list that is better sent in parts: what is done with it takes
/// many times its room.
pub(crate) fn check_list<T>(list: &[T], most: usize) -> Result<(), Problem> {
    if list.len() <= most {
        return Ok(());
    }
    let sentence = format!("a list has at most {most} devices: send it in parts");
    Err(Problem::new(Kind::TooLarge, sentence))
}

/// The whole body, as it came.
pub(crate) struct Whole(pub(crate) Bytes);

/// A body of JSON, parsed.
pub(crate) struct Json<T>(pub(crate) T);

impl FromRequest<Arc<Broker>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, broker: &Arc<Broker>) -> Result<Self, Problem> {
        let read = broker.bodies.read(request.into_limited_body());
        let seconds = broker.limits.connect_seconds.saturating_mul(HEADS);
        match timeout(Duration::from_secs(seconds.into()), read).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(why)) => Err(refused(why)),
            Err(_) => {
                let sentence = format!("the body was not here within {seconds} s");
                Err(Problem::new(Kind::Timeout, sentence))
            }
        }
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Broker>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, broker: &Arc<Broker>) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::MediaType,
                "send JSON and say so (Content-Type: application/json)",
            ));
        }
        let Whole(bytes) = Whole::from_request(request, broker).await?;
        match misread::json(&bytes) {
            Ok(parsed) => Ok(Self(parsed)),
            Err(misread) => Err(Problem::new(Kind::Invalid, misread.to_string())),
        }
    }
}

/// A page elsewhere can have a browser send forms, but not JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.and_then(|text| text.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn refused(why: NotRead) -> Problem {
    match why {
        NotRead::TooLarge => {
            Problem::new(Kind::TooLarge, "the body is too large: send it in parts")
        }
        NotRead::Broken => Problem::new(Kind::Invalid, "the body did not come whole"),
        NotRead::NoRoom => Problem::new(Kind::Unavailable, NO_ROOM),
    }
}
