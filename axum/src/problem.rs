//! Why a request did not get to its handler: problem details (RFC 9457).
//!
//! A stranger learns nothing but "no". Who proved its key is told which refusal
//! it was, and what the time is, so that a device without a right clock can
//! sign anew.

use axum::response::{IntoResponse, Response};
use firstwake::{NotAdmitted, Proof, Refusal, Timestamp};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Why a request did not get to its handler.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// It carries no `Authorization: Bearer`.
    NoToken,
    /// Its body is larger than the server reads.
    TooLarge,
    /// Its body did not come whole.
    CutOff,
    /// The registry refused it, or could not decide.
    NotAdmitted {
        /// Which of the two, and why.
        not: NotAdmitted,
        /// When it was asked.
        now: Timestamp,
    },
}

/// A problem as it is sent.
#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<Timestamp>,
}

/// Which status, and what is said.
struct Told {
    status: StatusCode,
    detail: &'static str,
    /// The refusal and the time, for who proved its key.
    proved: Option<(Refusal, Timestamp)>,
}

impl Rejection {
    fn told(&self) -> Told {
        let strangers = |status, detail| Told {
            status,
            detail,
            proved: None,
        };
        let (refusal, now) = match self {
            Self::NoToken => {
                let sentence = "sign the request and show that (Authorization: Bearer TOKEN)";
                return strangers(StatusCode::UNAUTHORIZED, sentence);
            }
            Self::TooLarge => {
                return strangers(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
            }
            Self::CutOff => {
                return strangers(StatusCode::BAD_REQUEST, "the body did not come whole");
            }
            Self::NotAdmitted { not, now } => match not {
                NotAdmitted::Refused(refusal) => (*refusal, *now),
                NotAdmitted::Unavailable(_) => {
                    let sentence = "it could not be decided who asks: try again in a few seconds";
                    return strangers(StatusCode::SERVICE_UNAVAILABLE, sentence);
                }
            },
        };
        let status = match refusal {
            Refusal::Overloaded | Refusal::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Banned => StatusCode::FORBIDDEN,
            // A fresh token is another matter.
            Refusal::TokenExpired | Refusal::TokenReplayed | Refusal::RequestAltered => {
                StatusCode::UNAUTHORIZED
            }
            refusal if refusal.proof() == Proof::Proved => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        match refusal.proof() {
            Proof::Proved => Told {
                status,
                detail: refusal.meaning(),
                proved: Some((refusal, now)),
            },
            Proof::Unproved if status == StatusCode::UNAUTHORIZED => {
                strangers(status, "the token is nobody's, or not for this request")
            }
            Proof::Unproved => strangers(status, "nothing is taken from there now"),
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        if let Self::NotAdmitted {
            not: NotAdmitted::Unavailable(error),
            ..
        } = &self
        {
            tracing::warn!(%error, "a request could not be verified");
        }
        let told = self.told();
        let details = Details {
            kind: "about:blank",
            title: told.status.canonical_reason().unwrap_or("Error"),
            status: told.status.as_u16(),
            detail: told.detail,
            code: told.proved.map(|(refusal, _)| refusal.as_str()),
            server_time: told.proved.map(|(_, now)| now),
        };
        let body = serde_json::to_string(&details).unwrap_or_default();
        let mut response = (told.status, body).into_response();
        let headers = response.headers_mut();
        let put = HeaderValue::from_static;
        headers.insert(CONTENT_TYPE, put("application/problem+json"));
        headers.insert(CACHE_CONTROL, put("no-store"));
        match told.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, put("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, put("60"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, put("5"));
            }
            _ => {}
        }
        response
    }
}
