//! The HTTP face: what operators ask, and what devices ask.
//!
//! It carries requests to the core and answers back. It decides nothing about
//! who gets in: whoever asks is admitted by the core, for each request anew,
//! and a handler gets that admission from an extractor it cannot do without.
//! Paths and queries may hold codes and keys, so none is ever logged: what is
//! logged is the route that matched.

mod api;
mod ask;
mod body;
mod budget;
mod caller;
mod elsewhere;
mod health;
mod once;
mod peers;
mod problem;
mod serve;
mod unread;
mod v2;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use firstwake::Admission;
use http::Extensions;

pub(crate) use self::api::Streams;
pub(crate) use self::api::page;
pub(crate) use self::budget::Budget;
pub(crate) use self::peers::Peers;

use crate::broker::Broker;

/// What can be asked at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// What operators and services ask.
    Operators,
    /// What devices ask.
    Devices,
    /// Both.
    Everybody,
}

/// HTTP/1.0 and 1.1, with what can be asked.
#[derive(Clone)]
pub(crate) struct Http {
    app: Router,
}

/// The admission of one request, for the connection that it came over. One
/// that admits nobody leaves it empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admitted(Arc<Mutex<Option<Admission>>>);

impl Admitted {
    /// Leaves the admission of the request that has these extensions.
    pub(crate) fn tell(extensions: &Extensions, admission: Admission) {
        if let Some(Self(slot)) = extensions.get() {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(admission);
        }
    }

    fn take(&self) -> Option<Admission> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(pub(crate) IpAddr);

impl Http {
    /// Puts together what can be asked.
    pub(crate) fn new(face: Face, broker: &Arc<Broker>) -> Self {
        let operators = || health::router(broker).merge(api::router(broker));
        let devices = || Router::new().nest("/v2", v2::router(broker));
        let app = match face {
            Face::Operators => operators().fallback(problem::nothing_here),
            Face::Devices => devices().fallback(v2::nothing_here),
            Face::Everybody => operators().merge(devices()).fallback(problem::nothing_here),
        };
        let app = app.layer(from_fn(log));
        Self { app }
    }
}

/// Logs a request by its route.
async fn log(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    // A method may be anything, and a stranger's.
    let method = match method.as_str().len() {
        0..=7 => method.as_str(),
        _ => "?",
    };
    tracing::debug!(method, route, status = response.status().as_u16(), "asked");
    response
}
