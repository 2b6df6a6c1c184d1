//! What devices measure, and what they are sent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::topic::device::Downlink;
use firstwake::{FeedId, OperatorLogin, Qos};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::broker::Broker;
use crate::control::view::FeedView;
use crate::control::wish::ValueWish;
use crate::control::{Note, Reply, Request, Wanted};
use crate::http::ask::{At, With, answered};
use crate::http::body::{self, Whole};
use crate::http::caller::{AsOperator, Viewer};
use crate::http::problem::{Kind, Problem};

/// Bytes of a message to a device at most: what one packet may hold.
const LARGEST: usize = 256 * 1024;

/// Values to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValues {
    values: Vec<ValueWish>,
}

/// How a command is sent.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// 0: only to a device that is connected now; 1, unless said otherwise:
    /// until it is received.
    #[param(minimum = 0, maximum = 1)]
    qos: Option<u8>,
    /// Seconds after which it is of no use.
    expires_in: Option<u32>,
}

/// What became of a message.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    became: Wanted,
}

/// A feed's current values
#[utoipa::path(get, path = "/api/v1/feeds/{feed_id}", tag = "feeds", operation_id = "show_feed",
    params(("feed_id" = u32, Path)), responses((status = OK, body = FeedView)))]
pub(super) async fn show(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    At(feed): At<FeedId>,
) -> Result<Json<FeedView>, Problem> {
    let feed = answered!(&broker, Request::Feed { feed }, Reply::Feed(it) => it);
    Ok(Json(feed))
}

/// Keep values as a feed's current ones (operator)
///
/// All are kept or none; an older one never replaces a newer one. Nobody is
/// sent a message.
#[utoipa::path(put, path = "/api/v1/feeds/{feed_id}/values", tag = "feeds",
    operation_id = "put_values", params(("feed_id" = u32, Path)), request_body = NewValues,
    responses((status = NO_CONTENT)))]
pub(super) async fn put(
    _: AsOperator,
    State(broker): State<Arc<Broker>>,
    At(feed): At<FeedId>,
    body::Json(NewValues { values }): body::Json<NewValues>,
) -> Result<StatusCode, Problem> {
    answered!(&broker, Request::PutValues { feed, values }, Reply::Done => ());
    Ok(StatusCode::NO_CONTENT)
}

/// Send a device a command: the body, byte for byte (operator, or who may publish it)
#[utoipa::path(post, path = "/api/v1/feeds/{feed_id}/commands/{name}", tag = "feeds",
    operation_id = "send_command", params(("feed_id" = u32, Path), ("name" = String, Path), How),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = ACCEPTED, body = Sent)))]
pub(super) async fn send(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    At((feed, name)): At<(FeedId, String)>,
    With(how): With<How>,
    Whole(payload): Whole,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let qos = match how.qos {
        Some(0) => Qos::AtMostOnce,
        None | Some(1) => Qos::AtLeastOnce,
        Some(_) => return Err(Problem::new(Kind::Invalid, "qos is 0 or 1")),
    };
    let downlink = Downlink::command(feed, &name);
    let downlink = downlink.map_err(|_| {
        let sentence = "a command's name is one level of a topic: no / + #, not empty";
        Problem::new(Kind::Invalid, sentence)
    })?;
    may_send(&login, &downlink)?;
    let note = Note::Command {
        name,
        payload: bounded(&payload)?,
        qos,
        expiry: how.expires_in,
    };
    let became = answered!(&broker, Request::Send { feed, note }, Reply::Sent(it) => it);
    Ok((StatusCode::ACCEPTED, Json(Sent { became })))
}

/// Set a device's configuration: the body, byte for byte (operator, or who may publish it)
#[utoipa::path(put, path = "/api/v1/feeds/{feed_id}/config", tag = "feeds",
    operation_id = "set_configuration", params(("feed_id" = u32, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = ACCEPTED, body = Sent)))]
pub(super) async fn configure(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    At(feed): At<FeedId>,
    Whole(payload): Whole,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    may_send(&login, &Downlink::configuration(feed))?;
    if payload.is_empty() {
        let sentence = "an empty configuration is none: DELETE it";
        return Err(Problem::new(Kind::Invalid, sentence));
    }
    let payload = bounded(&payload)?;
    let note = Note::Configuration { payload };
    let became = answered!(&broker, Request::Send { feed, note }, Reply::Sent(it) => it);
    Ok((StatusCode::ACCEPTED, Json(Sent { became })))
}

/// Keep no configuration any more (operator, or who may publish it)
#[utoipa::path(delete, path = "/api/v1/feeds/{feed_id}/config", tag = "feeds",
    operation_id = "clear_configuration", params(("feed_id" = u32, Path)),
    responses((status = NO_CONTENT)))]
pub(super) async fn clear(
    Viewer(login): Viewer,
    State(broker): State<Arc<Broker>>,
    At(feed): At<FeedId>,
) -> Result<StatusCode, Problem> {
    may_send(&login, &Downlink::configuration(feed))?;
    let payload = Vec::new();
    let note = Note::Configuration { payload };
    answered!(&broker, Request::Send { feed, note }, Reply::Sent(_) => ());
    Ok(StatusCode::NO_CONTENT)
}

/// Who may publish it over MQTT may send it here.
fn may_send(login: &OperatorLogin, downlink: &Downlink) -> Result<(), Problem> {
    if login.rights().may_publish(downlink.topic()) {
        return Ok(());
    }
    let sentence = format!(
        "this takes the role operator, or the right to publish {}",
        downlink.topic().as_str()
    );
    Err(Problem::new(Kind::Forbidden, sentence))
}

fn bounded(payload: &[u8]) -> Result<Vec<u8>, Problem> {
    if payload.len() > LARGEST {
        let sentence = format!("a message to a device holds at most {LARGEST} bytes");
        return Err(Problem::new(Kind::TooLarge, sentence));
    }
    Ok(payload.to_vec())
}
