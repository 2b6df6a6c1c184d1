//! What operators and services ask: `/api/v1`.
//!
//! One resource a file. The page of what there is is made from the handlers,
//! so it cannot leave one out.

mod time;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{body, problem};
use crate::broker::Broker;

/// What the page says about the whole.
#[derive(OpenApi)]
#[openapi(info(
    title = "Firstwake",
    description = "For operators and services. docs/api.md has examples.",
    license(name = "Apache-2.0 OR MIT")
))]
struct Page;

/// The routes under `/api/v1`.
pub(super) fn router(broker: &Arc<Broker>) -> Router {
    let (router, page) = routes().split_for_parts();
    let page = page.to_json().unwrap_or_default();
    router
        .route("/api/v1/openapi.json", get(async || page))
        .route("/api/v1/problems", get(problem::list))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(body::limit())
        .with_state(Arc::clone(broker))
}

fn routes() -> OpenApiRouter<Arc<Broker>> {
    OpenApiRouter::with_openapi(Page::openapi())
        .routes(routes!(time::time))
        .routes(routes!(version::version))
}
