//! What a server answered, as a reply or as the sentence that it gave.

use anyhow::{Result, anyhow};
use firstwake::visible;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::call::Call;
use crate::control::client::Unreachable;
use crate::control::client::address::Address;
use crate::control::declined::{Because, Declined};
use crate::control::request::Reply;

/// As it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) kind: Option<HeaderValue>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// What is read of problem details (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

pub(super) fn read(answer: &Answer, call: &Call, address: &Address) -> Result<Reply> {
    if answer.status.is_success() {
        return (call.read)(&answer.body);
    }
    let address = address.as_str();
    if answer.status == StatusCode::UNAUTHORIZED {
        let sentence = format!(
            "{address} does not know this token: it was removed, its time is over, or it is \
             another server's"
        );
        return Err(declined(Because::Forbidden, sentence));
    }
    let kind = answer.kind.as_ref().and_then(|it| it.to_str().ok());
    let problem = kind
        .filter(|kind| kind.starts_with("application/problem+json"))
        .and_then(|_| serde_json::from_slice::<Problem>(&answer.body).ok());
    match (problem, because(answer.status)) {
        (Some(problem), because) => Err(declined(because, visible(&problem.detail).into_owned())),
        // A proxy before the server, for one.
        (None, Because::Busy) => {
            let status = answer.status;
            Err(Unreachable(anyhow!("{address} answers {status}: try again")).into())
        }
        (None, _) => {
            let status = answer.status;
            Err(anyhow!("{address} answers {status}: is it Firstwake?"))
        }
    }
}

fn declined(because: Because, sentence: String) -> anyhow::Error {
    Declined { because, sentence }.into()
}

fn because(status: StatusCode) -> Because {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Because::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => Because::NotFound,
        StatusCode::CONFLICT => Because::Conflict,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Because::Busy,
        status if status.is_server_error() => Because::Busy,
        _ => Because::Invalid,
    }
}
