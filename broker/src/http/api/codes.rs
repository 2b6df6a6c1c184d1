//! A product's activation codes, for its factory.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firstwake::{ProductId, Serial};
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::broker::Broker;
use crate::control::request::CodePage;
use crate::control::{Reply, Request};
use crate::http::ask::{At, With, answered};
use crate::http::caller::Admin;
use crate::http::problem::Problem;

/// Codes on a page, unless said otherwise.
const PAGE: usize = 1000;

/// Which of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Behind this one: `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Serial>,
    /// How many: 1000 unless said otherwise.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// The activation codes of a product's devices (admin)
///
/// In the order of their serials, made with the product's newest secret. Each
/// page leaves an event (`codes_exported`).
#[utoipa::path(get, path = "/api/v1/products/{product_id}/codes", tag = "products",
    operation_id = "export_codes", params(("product_id" = String, Path), Which),
    responses((status = OK, body = CodePage)))]
pub(super) async fn export(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
    With(which): With<Which>,
) -> Result<Response, Problem> {
    let request = Request::Codes {
        product,
        after: which.after,
        limit: which.limit.unwrap_or(PAGE),
    };
    let page = answered!(&broker, request, Reply::Codes(it) => it);
    Ok(([(CACHE_CONTROL, "no-store")], Json(page)).into_response())
}
