//! Lists of serials that were taken in.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::broker::Broker;
use crate::control::{ImportWish, Reply, Request};
use crate::http::ask::answered;
use crate::http::body;
use crate::http::caller::AsOperator;
use crate::http::problem::Problem;

/// Note in the audit log that a list of serials was taken in (operator)
///
/// Whoever has registered a long list in parts says once what became of it.
#[utoipa::path(post, path = "/api/v1/imports", tag = "devices",
    operation_id = "finish_import", request_body = ImportWish,
    responses((status = NO_CONTENT)))]
pub(super) async fn finish(
    _: AsOperator,
    State(broker): State<Arc<Broker>>,
    body::Json(wish): body::Json<ImportWish>,
) -> Result<StatusCode, Problem> {
    answered!(&broker, Request::FinishImport(wish), Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}
