//! Which server this is.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::caller::Viewer;

/// Which server this is.
#[derive(Serialize, ToSchema)]
pub(super) struct Version {
    /// Of the program.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Which server this is
#[utoipa::path(get, path = "/api/v1/version", tag = "server", operation_id = "show_version",
    responses((status = OK, body = Version)))]
pub(super) async fn version(_: Viewer) -> Json<Version> {
    let version = env!("CARGO_PKG_VERSION");
    Json(Version { version })
}
