//! Devices: one by its serial, or many.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use firstwake::{DeviceName, ProductId, Role, Serial};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::broker::Broker;
use crate::control::request::{DevicePage, Outcome, Registered};
use crate::control::{Act, DeviceView, DevicesWish, ExplanationView, LabelWish, Reply, Request};
use crate::http::ask::{At, With, answered};
use crate::http::body;
use crate::http::caller::{Admin, AsOperator, Viewer};
use crate::http::problem::{Kind, Problem};

/// Devices on a page, unless said otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;
/// Seconds that a code is open again, unless said otherwise, and at most.
const WINDOW: u64 = 60 * 60;
const LONGEST_WINDOW: u64 = 366 * 24 * 60 * 60;

/// Which of two products a serial is meant of.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// Needed only where two products share the serial.
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
}

/// Which devices are looked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this product.
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// Part of the serial, in any case.
    serial: Option<String>,
    /// Whether it has been given a key.
    activated: Option<bool>,
    /// Behind this one: `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<DeviceName>,
    /// How many: 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What is to be done with one device.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Needed only where two products share the serial.
    #[param(value_type = Option<String>)]
    product_id: Option<ProductId>,
    /// `reopen`: for so long; an hour unless said otherwise.
    #[param(minimum = 1, maximum = 31622400)]
    seconds: Option<u64>,
}

/// An act on many devices.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActOnMany {
    act: ActName,
    /// `reopen`: for so long; an hour unless said otherwise.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31622400)]
    seconds: Option<u64>,
    /// Each as SERIAL, or PRODUCT_ID/SERIAL.
    #[schema(value_type = Vec<String>)]
    devices: Vec<DeviceName>,
}

/// What operators do to devices.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ActName {
    /// End its session and keep it out until `resume`.
    Suspend,
    /// Let a suspended device in again.
    Resume,
    /// End its session and keep it out until it is clear who is who.
    Quarantine,
    /// Let a quarantined device in again.
    Release,
    /// End its session and let it in never again.
    Revoke,
    /// Forget its keys, so that it activates anew on the same feed.
    Reset,
    /// The same, even if it was revoked (admin).
    ResetFromRevoked,
    /// Let the code of an active device work again for a while.
    Reopen,
    /// Let its next login enrol the board it comes from.
    ForgetHardware,
    /// Let a device whose lease has run out in again.
    Renew,
}

impl ActName {
    /// The act, if this operator may have it done.
    fn of(self, role: Role, seconds: Option<u64>) -> Result<Act, Problem> {
        let act = match self {
            Self::Suspend => Act::Suspend,
            Self::Resume => Act::Resume,
            Self::Quarantine => Act::Quarantine,
            Self::Release => Act::Release,
            Self::Revoke => Act::Revoke,
            Self::Reset => Act::Reset,
            Self::ResetFromRevoked if role < Role::Admin => {
                let sentence = "only an admin undoes a revocation";
                return Err(Problem::new(Kind::Forbidden, sentence));
            }
            Self::ResetFromRevoked => Act::ResetFromRevoked,
            Self::ForgetHardware => Act::ForgetHardware,
            Self::Renew => Act::Renew,
            Self::Reopen => {
                let seconds = seconds.unwrap_or(WINDOW);
                if !(1..=LONGEST_WINDOW).contains(&seconds) {
                    let sentence = "a window is open from one second to a year (seconds)";
                    return Err(Problem::new(Kind::Invalid, sentence));
                }
                return Ok(Act::Reopen { seconds });
            }
        };
        match seconds {
            Some(_) => Err(Problem::new(
                Kind::Invalid,
                "only reopen takes a time (seconds)",
            )),
            None => Ok(act),
        }
    }
}

/// What a device is given for its new serial.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    #[schema(value_type = String, example = "LAMP-000002")]
    serial: Serial,
}

/// A device's activation code.
#[derive(Serialize, ToSchema)]
pub(super) struct Code {
    /// 40 hex characters.
    code: String,
}

/// The key that a device signs with, if it has made none itself.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownKey {
    /// 64 hex characters.
    device_key: String,
}

fn name(serial: Serial, product: Option<ProductId>) -> DeviceName {
    DeviceName { product, serial }
}

/// Devices, in the order of their products and serials
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", operation_id = "list_devices",
    params(Which), responses((status = OK, body = DevicePage)))]
pub(super) async fn list(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    With(which): With<Which>,
) -> Result<Json<DevicePage>, Problem> {
    let limit = which.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        let sentence = format!("a page has from 1 to {LARGEST_PAGE} devices (limit)");
        return Err(Problem::new(Kind::Invalid, sentence));
    }
    if which.after.as_ref().is_some_and(|it| it.product.is_none()) {
        let sentence = "say behind which device as the page before did: PRODUCT_ID/SERIAL (after)";
        return Err(Problem::new(Kind::Invalid, sentence));
    }
    let request = Request::Devices {
        product: which.product_id,
        after: which.after,
        serial: which.serial,
        activated: which.activated,
        limit,
    };
    let page = answered!(&broker, request, Reply::Devices(it) => it);
    Ok(Json(page))
}

/// Make serials known to a product (operator)
///
/// Those that it knows already stay as they are.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices",
    operation_id = "register_devices", request_body = DevicesWish,
    responses((status = CREATED, body = Registered)))]
pub(super) async fn register(
    _: AsOperator,
    State(broker): State<Arc<Broker>>,
    body::Json(wish): body::Json<DevicesWish>,
) -> Result<(StatusCode, Json<Registered>), Problem> {
    body::check_list(&wish.serials, body::SERIALS)?;
    let registered = answered!(&broker, Request::Register(wish), Reply::Registered(it) => it);
    Ok((StatusCode::CREATED, Json(registered)))
}

/// One device
#[utoipa::path(get, path = "/api/v1/devices/{serial}", tag = "devices",
    operation_id = "show_device", params(("serial" = String, Path), Of),
    responses((status = OK, body = DeviceView)))]
pub(super) async fn show(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
) -> Result<Json<DeviceView>, Problem> {
    let name = name(serial, of.product_id);
    let device = answered!(&broker, Request::Device { name }, Reply::Device(it) => it);
    Ok(Json(device))
}

/// Give a device another serial, and with it another code (admin)
#[utoipa::path(patch, path = "/api/v1/devices/{serial}", tag = "devices",
    operation_id = "rename_device", params(("serial" = String, Path), Of),
    request_body = Rename, responses((status = OK, body = DeviceView)))]
pub(super) async fn rename(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
    body::Json(rename): body::Json<Rename>,
) -> Result<Json<DeviceView>, Problem> {
    let request = Request::Rename {
        name: name(serial, of.product_id),
        serial: rename.serial,
    };
    let device = answered!(&broker, request, Reply::Device(it) => it);
    Ok(Json(device))
}

/// Say what people call a device (operator)
#[utoipa::path(put, path = "/api/v1/devices/{serial}/label", tag = "devices",
    operation_id = "label_device", params(("serial" = String, Path), Of),
    request_body = LabelWish, responses((status = OK, body = DeviceView)))]
pub(super) async fn label(
    _: AsOperator,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
    body::Json(wish): body::Json<LabelWish>,
) -> Result<Json<DeviceView>, Problem> {
    let request = Request::Label {
        name: name(serial, of.product_id),
        label: wish.label,
    };
    let device = answered!(&broker, request, Reply::Device(it) => it);
    Ok(Json(device))
}

/// Remove a device and all that was its own, for good (admin)
#[utoipa::path(delete, path = "/api/v1/devices/{serial}", tag = "devices",
    operation_id = "remove_device", params(("serial" = String, Path), Of),
    responses((status = OK, body = DeviceView, description = "What it was")))]
pub(super) async fn remove(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
) -> Result<Json<DeviceView>, Problem> {
    let name = name(serial, of.product_id);
    let device = answered!(&broker, Request::RemoveDevice { name }, Reply::Device(it) => it);
    Ok(Json(device))
}

/// Do something to a device (operator; `reset-from-revoked`: admin)
#[utoipa::path(post, path = "/api/v1/devices/{serial}/{act}", tag = "devices",
    operation_id = "act_on_device",
    params(("serial" = String, Path), ("act" = ActName, Path), How),
    responses((status = OK, body = DeviceView)))]
pub(super) async fn act(
    AsOperator(login): AsOperator,
    State(broker): State<Arc<Broker>>,
    At((serial, act)): At<(Serial, ActName)>,
    With(how): With<How>,
) -> Result<Json<DeviceView>, Problem> {
    let act = act.of(login.role(), how.seconds)?;
    let name = name(serial, how.product_id);
    let device = answered!(&broker, Request::Change { name, act }, Reply::Device(it) => it);
    Ok(Json(device))
}

/// Do the same to many devices (operator; `reset-from-revoked`: admin)
///
/// Each is changed or not, whatever becomes of the others.
#[utoipa::path(post, path = "/api/v1/acts", tag = "devices", operation_id = "act_on_devices",
    request_body = ActOnMany, responses((status = OK, body = Outcome)))]
pub(super) async fn act_on_many(
    AsOperator(login): AsOperator,
    State(broker): State<Arc<Broker>>,
    body::Json(wish): body::Json<ActOnMany>,
) -> Result<Json<Outcome>, Problem> {
    let act = wish.act.of(login.role(), wish.seconds)?;
    let names = wish.devices;
    body::check_list(&names, body::DEVICES)?;
    let outcome = answered!(&broker, Request::ChangeMany { names, act }, Reply::Changed(it) => it);
    Ok(Json(outcome))
}

/// A device's activation code (admin)
#[utoipa::path(get, path = "/api/v1/devices/{serial}/code", tag = "devices",
    operation_id = "show_code", params(("serial" = String, Path), Of),
    responses((status = OK, body = Code)))]
pub(super) async fn code(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
) -> Result<Response, Problem> {
    let name = name(serial, of.product_id);
    let code = answered!(&broker, Request::Code { name }, Reply::Shown(it) => it);
    Ok(([(CACHE_CONTROL, "no-store")], Json(Code { code })).into_response())
}

/// The key that a device signs with, if it has made none itself (admin)
#[utoipa::path(get, path = "/api/v1/devices/{serial}/key", tag = "devices",
    operation_id = "show_device_key", params(("serial" = String, Path), Of),
    responses((status = OK, body = ShownKey)))]
pub(super) async fn key(
    _: Admin,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
) -> Result<Response, Problem> {
    let name = name(serial, of.product_id);
    let device_key = answered!(&broker, Request::DeviceKey { name }, Reply::Shown(it) => it);
    Ok(([(CACHE_CONTROL, "no-store")], Json(ShownKey { device_key })).into_response())
}

/// What happened to a device, and what to do about it
#[utoipa::path(get, path = "/api/v1/devices/{serial}/explain", tag = "devices",
    operation_id = "explain_device", params(("serial" = String, Path), Of),
    responses((status = OK, body = ExplanationView)))]
pub(super) async fn explain(
    _: Viewer,
    State(broker): State<Arc<Broker>>,
    At(serial): At<Serial>,
    With(of): With<Of>,
) -> Result<Json<ExplanationView>, Problem> {
    let name = name(serial, of.product_id);
    let explanation = answered!(&broker, Request::Explain { name }, Reply::Explanation(it) => it);
    Ok(Json(*explanation))
}
