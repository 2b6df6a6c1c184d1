//! What stands for an operator's password. Everybody sees, makes and removes
//! tokens of their own; an admin, everybody's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firstwake::{OperatorLogin, OperatorName, Role, TokenId};
use http::StatusCode;
use http::header::{CACHE_CONTROL, LOCATION};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::control::view::TokenView;
use crate::control::wish::TokenWish;
use crate::control::{Reply, Request};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::Viewer;
use crate::http::problem::{Kind, Problem};

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedToken {
    token: TokenView,
    /// What is shown as `Authorization: Bearer`: told this once.
    secret: String,
}

/// Own tokens; an admin's answer has everybody's
#[utoipa::path(get, path = "/api/v1/tokens", tag = "operators", operation_id = "list_tokens",
    responses((status = OK, body = Vec<TokenView>)))]
pub(super) async fn list(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<Vec<TokenView>>, Problem> {
    let mut tokens = answered!(&broker, Request::Tokens, Reply::Tokens(it) => it);
    tokens.retain(|token| may_touch(&login, &token.operator));
    Ok(Json(tokens))
}

/// Make a token (of others: admin)
#[utoipa::path(post, path = "/api/v1/tokens", tag = "operators", operation_id = "create_token",
    request_body = TokenWish, responses((status = CREATED, body = CreatedToken)))]
pub(super) async fn create(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    body::Json(mut wish): body::Json<TokenWish>,
) -> Result<Response, Problem> {
    let operator = wish.operator.get_or_insert_with(|| login.name().clone());
    if !may_touch(&login, operator) {
        let sentence = "tokens of others are an admin's to make";
        return Err(Problem::new(Kind::Forbidden, sentence));
    }
    if let Some(end) = login.expires_at() {
        // Who holds what ends gets nothing from it that lasts longer.
        let left = end.since(broker.clock.now()).as_secs().max(1);
        wish.seconds = Some(wish.seconds.map_or(left, |seconds| seconds.min(left)));
    }
    let (token, secret) = answered!(&broker, Request::CreateToken(wish),
        Reply::TokenCreated { token, secret } => (token, secret));
    let place = format!("/api/v1/tokens/{}", token.id);
    let headers = [(LOCATION, place), (CACHE_CONTROL, "no-store".to_owned())];
    let created = Json(CreatedToken { token, secret });
    Ok((StatusCode::CREATED, headers, created).into_response())
}

/// End a token, and what was opened with it (of others: admin)
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "operators",
    operation_id = "remove_token", params(("id" = String, Path)),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    At(id): At<TokenId>,
) -> Result<StatusCode, Problem> {
    let tokens = answered!(&broker, Request::Tokens, Reply::Tokens(it) => it);
    let known = tokens.iter().find(|token| token.id == id);
    // Whose it is, is told to nobody else.
    if !known.is_some_and(|token| may_touch(&login, &token.operator)) {
        let sentence = format!("there is no token {id} of yours");
        return Err(Problem::new(Kind::NotFound, sentence));
    }
    answered!(&broker, Request::RemoveToken { token: id }, Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}

fn may_touch(login: &OperatorLogin, owner: &OperatorName) -> bool {
    login.role() == Role::Admin || login.name() == owner
}
