//! A request that is sent twice and carried out once: `Idempotency-Key`.
//!
//! The core remembers, durably, that a request has begun and how it was
//! answered. Who sends the same again is answered the same again; what has
//! begun and was never answered is not begun anew, since it may have been done.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use firstwake::{Begun, Once};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::body::Whole;
use super::caller::Caller;
use super::problem::{Kind, Problem};
use crate::broker::Broker;

/// The request header.
const KEY: &str = "idempotency-key";
/// Characters of a key at most.
const LONGEST: usize = 255;
/// Says that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Bytes of an answer that is remembered, at most. Of a longer one it is
/// remembered that there was one.
const REMEMBERED: usize = 256 * 1024;

/// An answer as it is remembered.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    /// Those that say something about this answer.
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Carries out a request with a key once.
pub(super) async fn once(
    State(broker): State<Arc<Broker>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match attempt(&broker, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn attempt(broker: &Arc<Broker>, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, broker).await?;
    let Caller::Operator(login) = caller else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    // Read before the route asks whether its sender may have that done: so no
    // route that takes a key takes more than the least of bodies.
    let whole = Request::from_parts(parts.clone(), body);
    let Whole(bytes) = Whole::from_request(whole, broker).await?;
    let asked = digest(&parts, &bytes);
    let now = broker.clock.now();
    let begun = broker.provisioner.begin_once(&login, &key, asked, now);
    match begun.await {
        Ok(Once::Begun(begun)) => {
            let request = Request::from_parts(parts, Body::from(bytes));
            // A peer that goes away does not take back what it asked for.
            let carried = carry_out(Arc::clone(broker), begun, request, next);
            let carried = broker.tasks.spawn(carried).await;
            carried.unwrap_or_else(|_| Err(unavailable()))
        }
        Ok(Once::Answered(bytes)) => Answer::again(&bytes),
        Ok(Once::Unfinished) => Err(Problem::new(
            Kind::Conflict,
            "a request with this Idempotency-Key has begun and was not answered: it is being \
             carried out, or the server ended in the middle; see what is there, then use another key",
        )),
        Ok(Once::TooOften) => Err(Problem::new(
            Kind::TooMany,
            "an operator that may only look names ten requests a minute: wait",
        )),
        Ok(Once::OtherRequest) => Err(Problem::new(
            Kind::KeyReused,
            "this Idempotency-Key was used for another request: use another key",
        )),
        Err(error) => {
            tracing::warn!(%error, "a request could not begin");
            Err(unavailable())
        }
    }
}

/// Has the request carried out and remembers the answer, or that nothing was
/// done.
async fn carry_out(
    broker: Arc<Broker>,
    begun: Begun,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|_| unavailable())?;
    let remembered = match head.status {
        status if status.is_success() => {
            let answer = match body.len() {
                0..=REMEMBERED => Answer::of(status, &head.headers, &body),
                _ => too_long().await,
            };
            broker.provisioner.end_once(begun, &answer).await
        }
        status if status.is_client_error() => broker.provisioner.forget_once(begun).await,
        // It may have been done: it stays begun.
        _ => Ok(()),
    };
    if let Err(error) = remembered {
        tracing::warn!(%error, "how a request was answered could not be remembered");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

impl Answer {
    fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
        let kept = [CONTENT_TYPE, LOCATION, CACHE_CONTROL];
        let headers = kept.into_iter().filter_map(|name| {
            let value = headers.get(&name)?;
            Some((name.as_str().to_owned(), value.as_bytes().to_vec()))
        });
        let answer = Self {
            status: status.as_u16(),
            headers: headers.collect(),
            body: body.to_vec(),
        };
        postcard::to_extend(&answer, Vec::new()).unwrap_or_default()
    }

    fn again(bytes: &[u8]) -> Result<Response, Problem> {
        let answer: Self = postcard::from_bytes(bytes).map_err(|_| unavailable())?;
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| unavailable())?;
        let headers = response.headers_mut();
        for (name, value) in &answer.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unavailable())?;
            let value = HeaderValue::from_bytes(value).map_err(|_| unavailable())?;
            headers.insert(name, value);
        }
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// All that was asked: the same key with anything else is a mistake.
fn digest(parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut all = Sha256::new();
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), body] {
        all.update((part.len() as u64).to_be_bytes());
        all.update(part);
    }
    all.finalize().into()
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let key = keys.next().and_then(|key| key.to_str().ok());
    match key {
        Some(key) if (1..=LONGEST).contains(&key.len()) && keys.next().is_none() => {
            Ok(key.to_owned())
        }
        _ => Err(Problem::new(
            Kind::Invalid,
            format!("an Idempotency-Key is one of 1 to {LONGEST} printable characters"),
        )),
    }
}

/// What is told again of an answer that was too long to be remembered.
async fn too_long() -> Vec<u8> {
    let problem = Problem::new(
        Kind::Conflict,
        "this was carried out, and its answer was too long to be kept: see what is there",
    );
    let (head, body) = problem.into_response().into_parts();
    let body = to_bytes(body, REMEMBERED).await.unwrap_or_default();
    Answer::of(head.status, &head.headers, &body)
}

fn unavailable() -> Problem {
    let sentence = "the registry does not answer: see what was done before you ask again";
    Problem::new(Kind::Unavailable, sentence)
}
