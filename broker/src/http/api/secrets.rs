//! A product's secrets: another one, and the end of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firstwake::{ProductId, Timestamp};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::control::{ProductView, Reply, Request, SecretWish, schema};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::Admin;
use crate::http::problem::Problem;

/// A product's new secret.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedSecret {
    /// Its number.
    generation: u32,
    /// The one before is accepted until then.
    #[schema(schema_with = schema::time)]
    until: Timestamp,
    /// 40 hex characters.
    secret: String,
}

/// Give a product another secret; the one before is accepted for a while (admin)
#[utoipa::path(post, path = "/api/v1/products/{product_id}/secrets", tag = "products",
    operation_id = "rotate_secret", params(("product_id" = String, Path)),
    request_body = SecretWish, responses((status = CREATED, body = RotatedSecret)))]
pub(super) async fn rotate(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(product): At<ProductId>,
    body::Json(wish): body::Json<SecretWish>,
) -> Result<Response, Problem> {
    let request = Request::RotateSecret { product, wish };
    let rotated = answered!(&broker, request,
        Reply::SecretRotated { generation, until, secret } =>
            RotatedSecret { generation, until, secret });
    let headers = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(rotated)).into_response())
}

/// End a secret now that another one has replaced (admin)
#[utoipa::path(delete, path = "/api/v1/products/{product_id}/secrets/{generation}",
    tag = "products", operation_id = "end_secret",
    params(("product_id" = String, Path), ("generation" = u32, Path)),
    responses((status = OK, body = ProductView)))]
pub(super) async fn end(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At((product, generation)): At<(ProductId, u32)>,
) -> Result<Json<ProductView>, Problem> {
    let request = Request::EndSecret {
        product,
        generation,
    };
    let product = answered!(&broker, request, Reply::Product(it) => it);
    Ok(Json(product))
}
