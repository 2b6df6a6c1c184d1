//! Which server this is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::broker::Broker;
use crate::control::view::VersionView;
use crate::control::{Reply, Request};
use crate::http::ask::answered;
use crate::http::caller::Viewer;
use crate::http::problem::Problem;

/// Which server this is
#[utoipa::path(get, path = "/api/v1/version", tag = "server", operation_id = "show_version",
    responses((status = OK, body = VersionView)))]
pub(super) async fn version(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<VersionView>, Problem> {
    let version = answered!(&broker, Request::Version, Reply::Version(it) => it);
    Ok(Json(version))
}
