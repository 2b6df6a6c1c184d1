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
use crate::http::problem::{Kind, Problem};

/// Failures that are told one by one.
const TOLD: usize = 10;

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
    let request = Request::ReserveBlock {
        product: product.clone(),
    };
    let block = answered!(&broker, request, Reply::Block(it) => it);
    let excepted = wish.except.len() as u64;
    let request = Request::Except {
        product: product.clone(),
        block,
        names: wish.except,
    };
    // They are written first: if one cannot be, nothing has happened.
    let outcome = answered!(&broker, request, Reply::Changed(it) => it);
    if !outcome.failed.is_empty() {
        let told = outcome.failed.iter().take(TOLD);
        let told: Vec<&str> = told.map(|failure| failure.reason.as_str()).collect();
        let sentence = format!(
            "nothing is blocked: {} exceptions cannot be made ({})",
            outcome.failed.len(),
            told.join("; ")
        );
        return Err(Problem::new(Kind::Conflict, sentence));
    }
    let request = Request::BlockProduct {
        product,
        block,
        excepted,
    };
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
