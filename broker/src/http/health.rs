//! Whether the server lives, and whether it can serve: for whoever starts,
//! stops and balances servers. Nobody has to say who asks.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::problem::{self, Kind, Problem};
use crate::broker::Broker;

pub(super) fn router(broker: &Arc<Broker>) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(Arc::clone(broker))
}

/// It answers, so it lives.
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Whether what it needs for serving answers too.
async fn ready(State(broker): State<Arc<Broker>>) -> Result<Json<Value>, Problem> {
    match broker.provisioner.registry().census().await {
        Ok(_) => Ok(Json(json!({"status": "ready"}))),
        Err(error) => {
            tracing::warn!(%error, "not ready: the registry is in trouble");
            let sentence = "the registry does not answer: see the server's log";
            Err(Problem::new(Kind::Unavailable, sentence))
        }
    }
}
