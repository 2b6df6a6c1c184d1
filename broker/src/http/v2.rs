//! What devices and their makers' apps ask, as Xively had it under `/v2`.
//!
//! Shipped firmware reads these answers by position and by character, so every
//! byte counts: bodies are compact, none ends in a line break, and each comes
//! whole, with its length. Every error has the same two fields. A path holds
//! codes and a query may hold keys, so neither is ever logged, nor repeated in
//! an answer. `docs/xively.md` says what is offered and what differs.

mod activation;
mod caller;
mod datastream;
mod denied;
mod device;
mod devices;
mod feed;
mod path;
mod product;
mod products;
mod request;
mod verb;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use firstwake::feed::Format;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};

use self::denied::Denied;
use self::path::{Ending, Resource};
use self::request::Asked;
use self::verb::Verb;
use super::Source;
use super::elsewhere::is_of_elsewhere;
use crate::broker::Broker;

/// The routes under `/v2`.
pub(crate) fn router(broker: &Arc<Broker>) -> Router {
    Router::new().fallback(serve).with_state(Arc::clone(broker))
}

/// Answers what is not under `/v2` where nothing else is.
pub(crate) async fn nothing_here() -> Response {
    Denied::nothing_here().into_response()
}

async fn serve(State(broker): State<Arc<Broker>>, request: Request) -> Response {
    let source = request.extensions().get::<Source>();
    let source = source.map_or(Ipv4Addr::UNSPECIFIED.into(), |source| source.0);
    let (what, answered) = match Resource::parse(request.uri().path()) {
        Ok(_) if is_of_elsewhere(request.headers()) => {
            let sentence = "web pages of another origin may not ask anything here";
            ("nothing", Err(Denied::forbidden(sentence)))
        }
        Ok((resource, ending)) => {
            let what = resource.name();
            (
                what,
                answer(&broker, source, resource, ending, request).await,
            )
        }
        Err(path::NoSuchPath) => ("nothing", Err(Denied::nothing_here())),
    };
    let mut response = match answered {
        Ok(answer) => answer.into_response(),
        Err(denied) => denied.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    tracing::debug!(what, status = response.status().as_u16(), "asked under /v2");
    response
}

/// Carries out what is asked of one resource.
async fn answer(
    broker: &Broker,
    source: IpAddr,
    resource: Resource,
    ending: Ending,
    request: Request,
) -> Result<Answer, Denied> {
    let verbs = resource.verbs();
    let verb = Verb::parse(request.method()).filter(|verb| verbs.contains(verb));
    let Some(verb) = verb else {
        return Err(match verbs {
            [] => Denied::not_offered(&resource),
            _ => Denied::method(verbs),
        });
    };
    let (asked, body) = Asked::new(broker, source, ending, request)?;
    match (resource, verb) {
        (Resource::Activation(code), _) => activation::by_code(&code, &asked).await,
        (Resource::ActivationOf(name), _) => activation::by_name(&name, &asked).await,
        (Resource::Products, Verb::Get | Verb::Head) => products::list(&asked).await,
        (Resource::Products, _) => products::create(&asked, body).await,
        (Resource::Product(id), Verb::Get | Verb::Head) => product::show(&id, &asked).await,
        (Resource::Product(id), Verb::Put) => product::change(&id, &asked, body).await,
        (Resource::Product(id), _) => product::remove(&id, &asked).await,
        (Resource::Devices(id), Verb::Get | Verb::Head) => devices::list(&id, &asked).await,
        (Resource::Devices(id), _) => devices::register(&id, &asked, body).await,
        (Resource::Device(name), Verb::Get | Verb::Head) => device::show(&name, &asked).await,
        (Resource::Device(name), Verb::Put) => device::rename(&name, &asked, body).await,
        (Resource::Device(name), _) => device::remove(&name, &asked).await,
        (Resource::Feed(feed), Verb::Get | Verb::Head) => feed::show(feed, &asked).await,
        (Resource::Feed(feed), _) => feed::write(feed, &asked, body).await,
        (Resource::Datastreams(feed), _) => feed::add(feed, &asked, body).await,
        (Resource::Datastream(feed, id), Verb::Get | Verb::Head) => {
            datastream::show(feed, &id, &asked).await
        }
        (Resource::Datastream(feed, id), _) => datastream::write(feed, &id, &asked, body).await,
        (Resource::Datapoints(feed, id), _) => datastream::add(feed, &id, &asked, body).await,
        (Resource::NoCode, _) => Err(activation::by_no_code(&asked)),
        (absent @ Resource::Absent(_), _) => Err(Denied::not_offered(&absent)),
    }
}

/// What is answered when nothing went wrong.
pub(super) enum Answer {
    /// A page in one of the formats.
    Page(Format, Vec<u8>),
    /// It was done.
    Done,
    /// It was made, and is found there.
    Created(String),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (format, page) = match self {
            Self::Page(format, page) => (format, page),
            Self::Done => return StatusCode::OK.into_response(),
            Self::Created(place) => {
                return (StatusCode::CREATED, [(LOCATION, place)]).into_response();
            }
        };
        let mut response = Response::new(Body::from(page));
        let kind = HeaderValue::from_static(match format {
            Format::Json => "application/json; charset=utf-8",
            Format::Csv => "text/csv; charset=utf-8",
        });
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
