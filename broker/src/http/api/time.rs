//! What time it is, for devices without a clock. Nobody has to say who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;

/// The server's time.
#[derive(Serialize, ToSchema)]
pub(super) struct Time {
    /// RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Milliseconds since 1970.
    unix: u64,
}

/// What time it is
#[utoipa::path(get, path = "/api/v1/time", tag = "server", operation_id = "show_time", security(()),
    responses((status = OK, body = Time)))]
pub(super) async fn time(State(broker): State<Arc<Broker>>) -> Json<Time> {
    let now = broker.clock.now();
    Json(Time {
        time: now,
        unix: now.as_millis(),
    })
}
