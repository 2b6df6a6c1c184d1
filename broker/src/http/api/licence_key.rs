//! The key that licences are signed with: its public half, for applications
//! that check a licence without a network. Nobody has to say who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::broker::Broker;
use crate::control::view::LicenceKeyView;
use crate::control::{Reply, Request};
use crate::http::ask::answered;
use crate::http::problem::Problem;

/// The key that licences are signed with
#[utoipa::path(get, path = "/api/v1/licence-key", tag = "server", operation_id = "show_licence_key",
    security(()), responses((status = OK, body = LicenceKeyView)))]
pub(super) async fn licence_key(
    State(broker): State<Arc<Broker>>,
) -> Result<Json<LicenceKeyView>, Problem> {
    let key = answered!(&broker, Request::LicenceKey, Reply::LicenceKey(it) => it);
    Ok(Json(key))
}
