//! The fleet at a glance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::broker::Broker;
use crate::control::view::FleetView;
use crate::control::{Reply, Request};
use crate::http::ask::answered;
use crate::http::caller::Viewer;
use crate::http::problem::Problem;

/// The fleet at a glance
#[utoipa::path(get, path = "/api/v1/fleet", tag = "server", operation_id = "show_fleet",
    responses((status = OK, body = FleetView)))]
pub(super) async fn fleet(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<FleetView>, Problem> {
    let fleet = answered!(&broker, Request::Fleet, Reply::Fleet(it) => it);
    Ok(Json(fleet))
}
