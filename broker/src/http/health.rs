//! Whether the server lives, and whether it can serve: for whoever starts,
//! stops and balances servers. Nobody has to say who asks.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use firstwake::Registry;
use firstwake::registry::Write;
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

async fn ready(State(broker): State<Arc<Broker>>) -> Result<Json<Value>, Problem> {
    if broker.bus.has_ended() {
        let sentence = "the router has ended: the server is about to stop";
        return Err(Problem::new(Kind::Unavailable, sentence));
    }
    let mut answer = answers(&**broker.provisioner.registry()).await?;
    // It serves on, by its own time: for whoever looks after the machine.
    if let Some(jump) = broker.clock.jump() {
        answer.0["clock"] = json!(jump.to_string());
    }
    Ok(answer)
}

/// Whether the registry reads, and would write: it is given nothing to write,
/// which costs it nothing.
async fn answers(registry: &dyn Registry) -> Result<Json<Value>, Problem> {
    let written = registry.commit(Write::Note, Vec::new()).await;
    match written.and(registry.census().await) {
        Ok(_) => Ok(Json(json!({"status": "ready"}))),
        Err(error) => {
            tracing::warn!(%error, "not ready: the registry is in trouble");
            let sentence = "the registry does not answer: see the server's log";
            Err(Problem::new(Kind::Unavailable, sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use firstwake::registry::Memory;

    use super::*;

    #[tokio::test]
    async fn a_registry_in_trouble_is_not_ready() {
        let registry = Memory::default();
        assert!(answers(&registry).await.is_ok());
        registry.fail_after(0);
        let problem = answers(&registry).await.expect_err("it cannot write");
        assert_eq!(problem.into_response().status(), 503);
        registry.recover();
        assert!(answers(&registry).await.is_ok());
    }
}
