//! Who may ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::OperatorName;
use http::StatusCode;

use crate::broker::Broker;
use crate::control::view::OperatorView;
use crate::control::wish::OperatorWish;
use crate::control::{Reply, Request};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::Admin;
use crate::http::problem::{Kind, Problem};

/// All operators (admin)
#[utoipa::path(get, path = "/api/v1/operators", tag = "operators",
    operation_id = "list_operators", responses((status = OK, body = Vec<OperatorView>)))]
pub(super) async fn list(
    _: Admin,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<Vec<OperatorView>>, Problem> {
    let operators = answered!(&broker, Request::Operators, Reply::Operators(it) => it);
    Ok(Json(operators))
}

/// Add an operator, or give one another password and other rights (admin)
///
/// Sessions and tokens of one that is replaced go on with the new rights, or
/// end. A token that ends makes no operators: they would outlast it.
#[utoipa::path(put, path = "/api/v1/operators/{name}", tag = "operators",
    operation_id = "put_operator", params(("name" = String, Path)),
    request_body = OperatorWish, responses((status = NO_CONTENT)))]
pub(super) async fn put(
    Admin(login): Admin,
    State(broker): State<Arc<Broker>>,
    At(name): At<OperatorName>,
    body::Json(wish): body::Json<OperatorWish>,
) -> Result<StatusCode, Problem> {
    if login.expires_at().is_some() {
        return Err(Problem::new(
            Kind::Forbidden,
            "a token that ends makes or changes no operator, who would outlast it: \
             use one without an end, or the password",
        ));
    }
    let request = Request::AddOperator {
        name,
        password: wish.password,
        role: wish.role,
        publish: wish.publish,
        subscribe: wish.subscribe,
    };
    answered!(&broker, request, Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}

/// Remove an operator, its sessions and its tokens (admin)
#[utoipa::path(delete, path = "/api/v1/operators/{name}", tag = "operators",
    operation_id = "remove_operator", params(("name" = String, Path)),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(name): At<OperatorName>,
) -> Result<StatusCode, Problem> {
    answered!(&broker, Request::RemoveOperator { name }, Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}
