//! A request, as far as every resource needs it.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request};
use bytes::Bytes;
use firstwake::feed::Format;
use firstwake::{Admission, Timestamp};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{Extensions, HeaderMap, StatusCode};
use http_body_util::Limited;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::denied::Denied;
use super::path::Ending;
use crate::broker::Broker;
use crate::control::steward::carry_out;
use crate::control::{Reply, Request as Wish};
use crate::http::budget::{NO_ROOM, NotRead};
use crate::http::{Admitted, Budget};
use crate::misread::{self, Misread};

/// How long a body may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A body that is not yet read: it is worth reading only once whoever asks is
/// known.
pub(super) struct Unread<'a> {
    body: Body,
    budget: &'a Budget,
}

/// A request whose caller is not yet known.
pub(super) struct Asked<'a> {
    pub(super) broker: &'a Broker,
    pub(super) source: IpAddr,
    pub(super) now: Timestamp,
    admitted: Extensions,
    ending: Ending,
    pub(super) headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        broker: &'a Broker,
        source: IpAddr,
        ending: Ending,
        request: Request,
    ) -> Result<(Self, Unread<'a>), Denied> {
        let (parts, body) = request.into_parts();
        let Parts {
            uri,
            headers,
            extensions,
            ..
        } = parts;
        let query = Query::try_from_uri(&uri);
        let Query(query) =
            query.map_err(|_| Denied::new(StatusCode::BAD_REQUEST, "the query cannot be read"))?;
        let asked = Self {
            broker,
            source,
            now: broker.clock.now(),
            admitted: extensions,
            ending,
            headers,
            query,
        };
        let budget = &broker.bodies;
        Ok((asked, Unread { body, budget }))
    }

    /// Has a request carried out for somebody who may have it.
    pub(super) async fn carry_out(&self, request: Wish) -> Result<Reply, Denied> {
        Ok(carry_out(request, &self.broker.downlink()).await?)
    }

    /// Somebody was admitted.
    pub(super) fn is_admitted(&self, admission: Admission) {
        Admitted::tell(&self.admitted, admission);
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The format in which an answer is wanted that comes in both: by the end of the path, or by what
    /// is accepted.
    pub(super) fn format(&self) -> Result<Format, Denied> {
        match self.ending {
            Ending::Known(format) => Ok(format),
            Ending::Other => Err(Denied::not_acceptable()),
            Ending::None => accepted(&self.headers).ok_or_else(Denied::not_acceptable),
        }
    }

    /// Refuses a format that an answer does not come in: JSON is all there is.
    pub(super) fn takes_json(&self) -> Result<(), Denied> {
        match self.format()? {
            Format::Json => Ok(()),
            Format::Csv => Err(Denied::not_acceptable()),
        }
    }

    /// The format of a body of values: by the end of the path, or by what it
    /// is said to be.
    pub(super) fn body_format(&self) -> Result<Format, Denied> {
        match self.ending {
            Ending::Known(format) => Ok(format),
            Ending::Other => Err(Denied::not_acceptable()),
            Ending::None => {
                let kind = self.headers.get(CONTENT_TYPE);
                let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
                let kind = kind.split(';').next().unwrap_or_default().trim();
                Ok(match kind.eq_ignore_ascii_case("text/csv") {
                    true => Format::Csv,
                    false => Format::Json,
                })
            }
        }
    }
}

impl Unread<'_> {
    /// The whole body, of at most so many bytes.
    pub(super) async fn whole(self, most: usize) -> Result<Bytes, Denied> {
        let body = Body::new(Limited::new(self.body, most));
        match timeout(DEADLINE, self.budget.read(body)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(NotRead::NoRoom)) => Err(Denied::new(StatusCode::SERVICE_UNAVAILABLE, NO_ROOM)),
            Ok(Err(NotRead::TooLarge)) => Err(Denied::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {most} bytes: send it in parts"),
            )),
            Ok(Err(NotRead::Broken)) => Err(Denied::new(
                StatusCode::BAD_REQUEST,
                "the body did not come whole",
            )),
            Err(_) => Err(Denied::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body was not here within {} s", DEADLINE.as_secs()),
            )),
        }
    }
}

/// Reads a body of JSON.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Denied> {
    misread::json(body).map_err(|misread| match misread {
        Misread::Form(sentence) => Denied::invalid(sentence),
        Misread::NotJson(sentence) => Denied::new(StatusCode::BAD_REQUEST, sentence),
    })
}

/// The format that a client accepts most; `None` if neither.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Some(Format::Json);
    }
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range);
    // Of those wanted as much, the first.
    let best = ranges.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(format, _)| format)
}

/// One range of an `Accept`, and how much it is wanted, in thousandths.
fn range(text: &str) -> Option<(Format, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    let quality: f32 = quality.map_or(Some(1.0), |q| q.parse().ok())?;
    let format = match kind.as_str() {
        "*/*" | "application/*" | "application/json" => Format::Json,
        "text/csv" | "text/*" => Format::Csv,
        _ => return None,
    };
    (quality > 0.0).then_some((format, (quality.min(1.0) * 1000.0) as u32))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_accepted() {
        let check = |accept: &[&str], expected: Option<Format>| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_str(value).expect("valid"));
            }
            assert_eq!(accepted(&headers), expected, "{accept:?}");
        };
        let (json, csv) = (Some(Format::Json), Some(Format::Csv));
        check(&[], json);
        check(&["*/*"], json);
        check(&["application/json"], json);
        check(&["Text/CSV"], csv);
        check(&["text/html,application/xml;q=0.9,*/*;q=0.8"], json);
        check(&["application/json;q=0.5, text/csv"], csv);
        check(&["text/csv;q=0.5", "application/json; q=0.6"], json);
        check(&["text/csv;q=0"], None);
        check(&["application/xml"], None);
        check(&["text/csv;q=x"], None);
        check(&[""], None);
    }
}
