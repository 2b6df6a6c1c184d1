//! Keeping all devices of a product out, but for exceptions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::ProductId;

use crate::broker::Broker;
use crate::control::wish::BlockWish;
use crate::control::{ProductView, Reply, Request};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::Admin;
use crate::http::problem::Problem;

/// Keep a product's devices out, and end their sessions (admin)
///
/// A block that is there is replaced, with its exceptions.
#[utoipa::path(put, path = "/api/v1/products/{product_id}/block", tag = "products",
    operation_id = "block_product", params(("product_id" = String, Path)),
    request_body = BlockWish, responses((status = OK, body = ProductView)))]
pub(super) async fn block(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
    body::Json(wish): body::Json<BlockWish>,
) -> Result<Json<ProductView>, Problem> {
    let except = wish.except;
    let request = Request::BlockProduct { product, except };
    let product = answered!(&broker, request, Reply::Product(it) => it);
    Ok(Json(product))
}

/// Let a product's devices in again (admin)
#[utoipa::path(delete, path = "/api/v1/products/{product_id}/block", tag = "products",
    operation_id = "unblock_product", params(("product_id" = String, Path)),
    responses((status = OK, body = ProductView)))]
pub(super) async fn unblock(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Json<ProductView>, Problem> {
    let request = Request::UnblockProduct { product };
    let product = answered!(&broker, request, Reply::Product(it) => it);
    Ok(Json(product))
}
