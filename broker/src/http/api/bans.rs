//! Who is kept out by address.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::{Ban, Network, Role, Timestamp};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::control::{BanWish, Reply, Request, schema};
use crate::http::ask::{At, answered};
use crate::http::body;
use crate::http::caller::{AsOperator, Viewer};
use crate::http::problem::{Kind, Problem};

/// A ban.
#[derive(Serialize, ToSchema)]
#[schema(as = Ban)]
pub(super) struct BanView {
    #[schema(value_type = String, example = "192.0.2.0/24")]
    network: Network,
    reason: Option<String>,
    #[schema(schema_with = schema::time)]
    at: Timestamp,
    /// When it ends by itself.
    #[schema(schema_with = schema::time_or_null)]
    until: Option<Timestamp>,
}

impl From<Ban> for BanView {
    fn from(ban: Ban) -> Self {
        Self {
            network: ban.network,
            reason: ban.reason,
            at: ban.at,
            until: ban.until,
        }
    }
}

/// The bans that hold now
#[utoipa::path(get, path = "/api/v1/bans", tag = "bans", operation_id = "list_bans",
    responses((status = OK, body = Vec<BanView>)))]
pub(super) async fn list(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
) -> Result<Json<Vec<BanView>>, Problem> {
    let bans = answered!(&broker, Request::Bans, Reply::Bans(it) => it);
    Ok(Json(bans.into_iter().map(Into::into).collect()))
}

/// Keep an address or a network out, and end its sessions (operator)
///
/// A ban of the same network is replaced. A network wider than an IPv4 /16 or an
/// IPv6 /48, or one that may lock out this machine, takes the role admin.
#[utoipa::path(post, path = "/api/v1/bans", tag = "bans", operation_id = "add_ban",
    request_body = BanWish, responses((status = CREATED, body = BanView)))]
pub(super) async fn add(
    AsOperator(login): AsOperator,
    State(broker): State<Arc<Broker>>,
    body::Json(wish): body::Json<BanWish>,
) -> Result<(StatusCode, Json<BanView>), Problem> {
    may_ban(login.role(), &wish.network)?;
    let ban = answered!(&broker, Request::Ban(wish), Reply::Ban(it) => it);
    Ok((StatusCode::CREATED, Json(ban.into())))
}

/// Whether an operator of this role may ban this network.
fn may_ban(role: Role, network: &Network) -> Result<(), Problem> {
    let many = network.is_wide() || network.is_perilous();
    match many && role < Role::Admin {
        true => Err(Problem::new(
            Kind::Forbidden,
            format!(
                "banning {network} takes the role admin: it is wider than a site's network \
                 (/16, or /48 for IPv6), or may lock out this machine"
            ),
        )),
        false => Ok(()),
    }
}

/// Let an address or a network in again (operator)
///
/// The `/` of a network is written `%2F`.
#[utoipa::path(delete, path = "/api/v1/bans/{network}", tag = "bans",
    operation_id = "remove_ban", params(("network" = String, Path)),
    responses((status = NO_CONTENT)))]
pub(super) async fn remove(
    _: AsOperator,
    State(broker): State<Arc<Broker>>,
    At(network): At<Network>,
) -> Result<StatusCode, Problem> {
    answered!(&broker, Request::Unban { network }, Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}
