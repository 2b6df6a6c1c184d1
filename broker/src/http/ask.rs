//! From a route to the one place where requests of operators are carried out,
//! and back.

use std::sync::Arc;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use http::Uri;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::broker::Broker;
use crate::control::steward::carry_out;
use crate::control::{Because, Declined, Reply, Request};
use crate::misread;

/// Has a request carried out for somebody who may have it.
pub(super) async fn ask(broker: &Broker, request: Request) -> Result<Reply, Problem> {
    Ok(carry_out(request, &broker.downlink()).await?)
}

/// Takes what a request is answered with apart.
macro_rules! answered {
    ($broker:expr, $request:expr, $reply:pat => $value:expr) => {
        match $crate::http::ask::ask($broker, $request).await? {
            $reply => $value,
            _ => return Err($crate::http::ask::another_question()),
        }
    };
}
pub(super) use answered;

/// No request is answered with another's reply.
pub(super) fn another_question() -> Problem {
    Problem::new(
        Kind::Unavailable,
        "the server gave an answer to another question",
    )
}

impl From<Declined> for Problem {
    fn from(declined: Declined) -> Self {
        let kind = match declined.because {
            Because::Invalid => Kind::Invalid,
            Because::NotFound => Kind::NotFound,
            Because::Conflict => Kind::Conflict,
            Because::Forbidden => Kind::Forbidden,
            Because::TooFast => Kind::TooMany,
            Because::Busy => Kind::Unavailable,
        };
        Self::new(kind, declined.sentence)
    }
}

/// The parts of a path, parsed.
pub(super) struct At<T>(pub(super) T);

/// What stands behind a `?`, parsed.
pub(super) struct With<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Broker>> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, broker).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(no_path(&rejection)),
        }
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<Broker>> for With<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, broker).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(no_query(&rejection, &parts.uri)),
        }
    }
}

fn no_path(rejection: &PathRejection) -> Problem {
    let why = match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
            ErrorKind::DeserializeError {
                key,
                value,
                message,
            } => misread::part(key, value, message),
            ErrorKind::ParseErrorAtKey { key, value, .. } => {
                misread::part(key, value, misread::NUMBER)
            }
            ErrorKind::ParseErrorAtIndex { value, .. } | ErrorKind::ParseError { value, .. } => {
                misread::part("", value, misread::NUMBER)
            }
            ErrorKind::InvalidUtf8InPathParam { key } => {
                format!("\"{key}\" is not UTF-8 under its percent signs")
            }
            ErrorKind::Message(message) => {
                let why = misread::sentence("", message);
                why.strip_prefix("the whole: ").unwrap_or(&why).to_owned()
            }
            _ => "it has too many or too few parts".to_owned(),
        },
        _ => "it has too many or too few parts".to_owned(),
    };
    Problem::new(
        Kind::Invalid,
        format!("the address is not understood: {why}"),
    )
}

fn no_query(rejection: &QueryRejection, uri: &Uri) -> Problem {
    let why = rejection.body_text();
    let why = why
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&why);
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
    let why = misread::query(why, &pairs);
    Problem::new(
        Kind::Invalid,
        format!("what stands behind ? is not understood: {why}"),
    )
}
