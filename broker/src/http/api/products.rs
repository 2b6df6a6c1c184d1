//! Kinds of devices.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firstwake::ProductId;
use http::StatusCode;
use http::header::{CACHE_CONTROL, LOCATION};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::control::view::CensusView;
use crate::control::{ProductPatch, ProductView, ProductWish, Reply, Request};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::{Admin, Viewer};
use crate::http::problem::Problem;

/// A product that was made, with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedProduct {
    product: ProductView,
    /// 40 hex characters.
    secret: String,
}

/// A product's secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Secret {
    /// 40 hex characters.
    secret: String,
}

/// What a product's devices hash the facts of their boards under.
#[derive(Serialize, ToSchema)]
pub(super) struct Pepper {
    /// 64 hex characters.
    pepper: String,
}

/// What went with a product.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    /// So many devices.
    devices: u64,
}

/// All products
#[utoipa::path(get, path = "/api/v1/products", tag = "products",
    operation_id = "list_products", responses((status = OK, body = Vec<ProductView>)))]
pub(super) async fn list(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<Vec<ProductView>>, Problem> {
    let products = answered!(&broker, Request::Products, Reply::Products(it) => it);
    Ok(Json(products))
}

/// Make a product (admin)
#[utoipa::path(post, path = "/api/v1/products", tag = "products",
    operation_id = "create_product", request_body = ProductWish,
    responses((status = CREATED, body = CreatedProduct)))]
pub(super) async fn create(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    body::Json(wish): body::Json<ProductWish>,
) -> Result<Response, Problem> {
    let (product, secret) = answered!(&broker, Request::CreateProduct(wish),
        Reply::ProductCreated { product, secret } => (product, secret));
    let place = format!("/api/v1/products/{}", product.product_id);
    let headers = [(LOCATION, place), (CACHE_CONTROL, "no-store".to_owned())];
    let created = Json(CreatedProduct { product, secret });
    Ok((StatusCode::CREATED, headers, created).into_response())
}

/// One product
#[utoipa::path(get, path = "/api/v1/products/{product_id}", tag = "products",
    operation_id = "show_product", params(("product_id" = String, Path)),
    responses((status = OK, body = ProductView)))]
pub(super) async fn show(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Json<ProductView>, Problem> {
    let product = answered!(&broker, Request::Product { product }, Reply::Product(it) => it);
    Ok(Json(product))
}

/// Change what is given of a product, and nothing else (admin)
#[utoipa::path(patch, path = "/api/v1/products/{product_id}", tag = "products",
    operation_id = "change_product", params(("product_id" = String, Path)),
    request_body = ProductPatch, responses((status = OK, body = ProductView)))]
pub(super) async fn change(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
    body::Json(change): body::Json<ProductPatch>,
) -> Result<Json<ProductView>, Problem> {
    let request = Request::ChangeProduct { product, change };
    let product = answered!(&broker, request, Reply::Product(it) => it);
    Ok(Json(product))
}

/// Remove a product and all its devices, for good (admin)
#[utoipa::path(delete, path = "/api/v1/products/{product_id}", tag = "products",
    operation_id = "remove_product", params(("product_id" = String, Path)),
    responses((status = OK, body = Removed)))]
pub(super) async fn remove(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Json<Removed>, Problem> {
    let request = Request::RemoveProduct { product };
    let devices = answered!(&broker, request, Reply::ProductRemoved { devices } => devices);
    Ok(Json(Removed { devices }))
}

/// A product's newest secret (admin)
#[utoipa::path(get, path = "/api/v1/products/{product_id}/secret", tag = "products",
    operation_id = "show_secret", params(("product_id" = String, Path)),
    responses((status = OK, body = Secret)))]
pub(super) async fn secret(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Response, Problem> {
    let secret = answered!(&broker, Request::Secret { product }, Reply::Shown(it) => it);
    Ok(([(CACHE_CONTROL, "no-store")], Json(Secret { secret })).into_response())
}

/// What a product's devices hash the facts of their boards under (admin)
#[utoipa::path(get, path = "/api/v1/products/{product_id}/pepper", tag = "products",
    operation_id = "show_pepper", params(("product_id" = String, Path)),
    responses((status = OK, body = Pepper)))]
pub(super) async fn pepper(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Response, Problem> {
    let pepper = answered!(&broker, Request::Pepper { product }, Reply::Shown(it) => it);
    Ok(([(CACHE_CONTROL, "no-store")], Json(Pepper { pepper })).into_response())
}

/// How many of a product's devices are in each state
#[utoipa::path(get, path = "/api/v1/products/{product_id}/census", tag = "products",
    operation_id = "count_devices", params(("product_id" = String, Path)),
    responses((status = OK, body = CensusView)))]
pub(super) async fn census(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
) -> Result<Json<CensusView>, Problem> {
    let census = answered!(&broker, Request::Census { product }, Reply::Census(it) => it);
    Ok(Json(census))
}
