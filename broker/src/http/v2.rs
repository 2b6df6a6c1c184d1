//! What devices ask under `/v2`. Nothing yet.

use std::sync::Arc;

use axum::Router;
use http::StatusCode;

use crate::broker::Broker;

/// The routes under `/v2`.
pub(crate) fn router(broker: &Arc<Broker>) -> Router {
    Router::new()
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(Arc::clone(broker))
}
