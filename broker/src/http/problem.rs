//! What went wrong with a request: problem details (RFC 9457).
//!
//! The one place where a refusal becomes a status. A stranger learns nothing
//! but "no"; who proved a secret is told which refusal it was, and what the time
//! is, so that a device whose clock is off can sign anew. No detail repeats what
//! the peer sent as a credential.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use firstwake::{NotAdmitted, Proof, Refusal, Timestamp};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// A request that was not carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    code: Option<&'static str>,
    server_time: Option<Timestamp>,
}

/// The closed list of problems. `docs/api.md` has a line for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is not what the route takes.
    Invalid,
    /// Nobody was shown to be asking.
    Unauthenticated,
    /// Whoever asks may not have that done.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is such a thing, but not to be asked that.
    Method,
    /// The body did not come in time.
    Timeout,
    /// It does not go with what is there.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body is of another kind.
    MediaType,
    /// The key of a request was used for another.
    KeyReused,
    /// Somebody asks too often, or too much is asked.
    TooMany,
    /// It could not be decided or written down.
    Unavailable,
}

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details<'a> {
    /// Which problem it is: the address of a line about it.
    #[serde(rename = "type")]
    #[schema(example = "/api/v1/problems#not-found")]
    kind: String,
    /// The same in words.
    #[schema(example = "Not found")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// What happened this time, and what to do.
    #[schema(example = "no device has the serial S1: check it letter by letter (case matters)")]
    detail: &'a str,
    /// For who proved a secret, and for devices: the reason as MQTT has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "token_expired")]
    code: Option<&'a str>,
    /// For who proved a secret: what time it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    server_time: Option<Timestamp>,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::Conflict,
        Self::TooLarge,
        Self::MediaType,
        Self::KeyReused,
        Self::TooMany,
        Self::Unavailable,
    ];

    /// Status, anchor and title.
    const fn as_sent(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid", "Invalid request"),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Not authenticated",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "Request timeout"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Unsupported media type",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "Idempotency key reused",
            ),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "Too many requests",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Unavailable",
            ),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            code: None,
            server_time: None,
        }
    }

    /// Names the reason by a word that programs compare.
    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Nothing was shown that could be judged.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            Kind::Unauthenticated,
            "show a token (Authorization: Bearer TOKEN) or an operator's name and password (Basic)",
        )
    }
}

impl Problem {
    /// Why somebody was not let in.
    pub(crate) fn refused(not: &NotAdmitted, now: Timestamp) -> Self {
        let refusal = match not {
            NotAdmitted::Refused(refusal) => *refusal,
            NotAdmitted::Unavailable(_) => {
                let sentence = "the registry does not answer: try again in a few seconds";
                return Self::new(Kind::Unavailable, sentence);
            }
        };
        match refusal {
            Refusal::Banned => Self::new(Kind::Forbidden, "your address is kept out"),
            Refusal::Overloaded | Refusal::Throttled => {
                Self::new(Kind::TooMany, "too much is asked now: try again later")
            }
            proved if proved.proof() == Proof::Proved => Self {
                server_time: Some(now),
                ..Self::new(kind(proved), proved.meaning()).with_code(proved.as_str())
            },
            _ => Self::new(
                Kind::Unauthenticated,
                "what was shown is nobody's: neither a token nor a key that holds, nor an \
                 operator's name and password",
            ),
        }
    }
}

/// What became of somebody who proved a secret.
fn kind(refusal: Refusal) -> Kind {
    match refusal {
        // A fresh token is another matter.
        Refusal::TokenExpired | Refusal::TokenReplayed => Kind::Unauthenticated,
        _ => Kind::Forbidden,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, anchor, title) = self.kind.as_sent();
        let details = Details {
            kind: format!("/api/v1/problems#{anchor}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code,
            server_time: self.server_time,
        };
        let mut response = (status, Json(details)).into_response();
        let headers = response.headers_mut();
        let put = HeaderValue::from_static;
        headers.insert(CONTENT_TYPE, put("application/problem+json"));
        headers.insert(CACHE_CONTROL, put("no-store"));
        match self.kind {
            Kind::Unauthenticated => {
                headers.append(WWW_AUTHENTICATE, put("Bearer realm=\"firstwake\""));
                let basic = "Basic realm=\"firstwake\", charset=\"UTF-8\"";
                headers.append(WWW_AUTHENTICATE, put(basic));
            }
            Kind::TooMany => {
                headers.insert(RETRY_AFTER, put("60"));
            }
            Kind::Unavailable => {
                headers.insert(RETRY_AFTER, put("5"));
            }
            _ => {}
        }
        response
    }
}

/// Answers what no route knows.
pub(crate) async fn nothing_here() -> Problem {
    Problem::new(
        Kind::NotFound,
        "there is nothing here: /api/v1/openapi.json lists what there is",
    )
}

/// Answers a method that a route does not know.
pub(crate) async fn no_such_method() -> Problem {
    Problem::new(
        Kind::Method,
        "this cannot be asked here: the header Allow lists what can",
    )
}

/// The list of problems, for whoever follows the address of one.
pub(crate) async fn list() -> String {
    let lines = Kind::ALL.map(|kind| {
        let (status, anchor, title) = kind.as_sent();
        format!("{anchor}: {title} ({})\n", status.as_u16())
    });
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_line_for_each() {
        let page = include_str!("../../../docs/api.md");
        for kind in Kind::ALL {
            let (status, anchor, title) = kind.as_sent();
            let line = format!("| `{anchor}` | {} | {title} |", status.as_u16());
            assert!(page.contains(&line), "no line: {line}");
        }
    }

    #[test]
    fn strangers_are_told_the_same() {
        let now = Timestamp::from_millis(7);
        let told = |refusal| Problem::refused(&NotAdmitted::Refused(refusal), now);
        let no = told(Refusal::UnknownDevice);
        assert_eq!(no.kind, Kind::Unauthenticated);
        for refusal in Refusal::ALL {
            let problem = told(*refusal);
            match (refusal, refusal.proof()) {
                (Refusal::Banned, _) => assert_eq!(problem.kind, Kind::Forbidden),
                (Refusal::Overloaded | Refusal::Throttled, _) => {
                    assert_eq!(problem.kind, Kind::TooMany);
                }
                (_, Proof::Unproved) => assert_eq!(problem, no, "{refusal}"),
                (_, Proof::Proved) => {
                    assert_eq!(problem.kind, kind(*refusal));
                    assert_eq!(problem.detail, refusal.meaning());
                    assert_eq!(problem.code, Some(refusal.as_str()));
                    assert_eq!(problem.server_time, Some(now));
                }
            }
        }
    }
}
