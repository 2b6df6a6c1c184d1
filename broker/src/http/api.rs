//! What operators and services ask: `/api/v1`.
//!
//! One resource a file. The page of what there is is made from the handlers,
//! so it cannot leave one out. Web pages of elsewhere have no business here:
//! no other origin is allowed anything.

mod bans;
mod blocks;
mod codes;
mod devices;
mod events;
mod feeds;
mod fleet;
mod imports;
mod licence_key;
mod operators;
mod page;
mod products;
mod provision;
mod secrets;
mod time;
mod tokens;
mod verify;
mod version;
mod watching;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::page::page;
pub(crate) use self::watching::Streams;

use super::elsewhere::is_of_elsewhere;
use super::problem::{Kind, Problem};
use super::{body, once, problem};
use crate::broker::Broker;

/// The routes under `/api/v1`.
pub(super) fn router(broker: &Arc<Broker>) -> Router {
    let once = from_fn_with_state(Arc::clone(broker), once::once);
    let most = Router::from(most()).layer(once).layer(body::limit());
    let lists = Router::from(lists()).layer(body::limit_of_lists());
    let fresh = Router::from(fresh()).layer(body::limit_of_questions());
    let text = Bytes::from(page());
    most.merge(lists)
        .merge(fresh)
        .route(
            "/api/v1/openapi.json",
            get(async || ([(CONTENT_TYPE, "application/json")], text)),
        )
        .route("/api/v1/problems", get(problem::list))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn(of_this_origin))
        .with_state(Arc::clone(broker))
}

/// Routes with short bodies.
fn most() -> OpenApiRouter<Arc<Broker>> {
    OpenApiRouter::new()
        .routes(routes!(products::list, products::create))
        .routes(routes!(products::show, products::change, products::remove))
        .routes(routes!(products::secret))
        .routes(routes!(secrets::rotate))
        .routes(routes!(secrets::end))
        .routes(routes!(products::pepper))
        .routes(routes!(products::census))
        .routes(routes!(codes::export))
        .routes(routes!(devices::list, devices::register))
        .routes(routes!(imports::finish))
        .routes(routes!(devices::act_on_many))
        .routes(routes!(devices::show, devices::rename, devices::remove))
        .routes(routes!(devices::act))
        .routes(routes!(devices::label))
        .routes(routes!(devices::code))
        .routes(routes!(devices::key))
        .routes(routes!(devices::explain))
        .routes(routes!(feeds::show))
        .routes(routes!(feeds::put))
        .routes(routes!(feeds::send))
        .routes(routes!(feeds::configure, feeds::clear))
        .routes(routes!(events::list))
        .routes(routes!(operators::list))
        .routes(routes!(operators::put, operators::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(bans::list, bans::add))
        .routes(routes!(bans::remove))
        .routes(routes!(fleet::fleet))
        .routes(routes!(licence_key::licence_key))
        .routes(routes!(time::time))
        .routes(routes!(version::version))
}

/// Routes with a list that has to come whole. They make nothing, so they take
/// no key.
fn lists() -> OpenApiRouter<Arc<Broker>> {
    OpenApiRouter::new().routes(routes!(blocks::block, blocks::unblock))
}

/// Routes whose answer is never given again, whatever key a request carries:
/// what is proved with it is used up.
fn fresh() -> OpenApiRouter<Arc<Broker>> {
    OpenApiRouter::new()
        .routes(routes!(verify::verify))
        .routes(routes!(provision::provision))
}

/// Refuses what a page of another origin has a browser ask: browsers send
/// passwords along that they have seen before.
async fn of_this_origin(request: Request, next: Next) -> Response {
    if is_of_elsewhere(request.headers()) {
        return Problem::new(
            Kind::Forbidden,
            "web pages of another origin may not ask anything here",
        )
        .into_response();
    }
    next.run(request).await
}
