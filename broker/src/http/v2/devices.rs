//! `products/ID/devices`: a product's devices, and new ones.

use std::str::FromStr;

use firstwake::{DeviceFilter, ProductId, Role, Serial};
use serde::{Deserialize, Serialize};

use super::Answer;
use super::denied::Denied;
use super::device::{self, Shown};
use super::products;
use super::request::{Asked, Unread, parse};
use crate::control::{DevicesWish, Request};

/// Bytes of a list of serials.
const MOST: usize = 1024 * 1024;
/// Devices in one list.
const DEVICES: usize = 10_000;

pub(super) async fn list(product: &ProductId, asked: &Asked<'_>) -> Result<Answer, Denied> {
    #[derive(Serialize)]
    struct List {
        #[serde(rename = "totalResults")]
        total: u64,
        #[serde(rename = "itemsPerPage")]
        per_page: usize,
        /// Counted from 0.
        #[serde(rename = "startIndex")]
        start: u64,
        devices: Vec<Shown>,
    }
    asked.takes_json()?;
    let login = asked.operator(Role::Viewer).await?;
    let page: u64 = number(asked, "page", 1, 1, 1_000_000_000)?;
    let per_page: usize = number(asked, "per_page", 30, 1, 1000)?;
    let start = (page - 1) * per_page as u64;
    let filter = DeviceFilter {
        serial: asked.parameter("serial").map(str::to_owned),
        activated: match asked.parameter("activated") {
            None | Some("all" | "") => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Denied::invalid("activated is true, false or all")),
        },
    };
    let provisioner = &asked.broker.provisioner;
    let found = provisioner
        .search(product, &filter, start, per_page)
        .await?;
    let mut devices = Vec::with_capacity(found.devices.len());
    for one in &found.devices {
        devices.push(device::describe(one, &login, asked).await?);
    }
    Ok(products::page(&List {
        total: found.total,
        per_page,
        start,
        devices,
    }))
}

/// A number of the query within its bounds.
fn number<T>(asked: &Asked<'_>, name: &str, usual: T, least: T, most: T) -> Result<T, Denied>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = asked.parameter(name) else {
        return Ok(usual);
    };
    let number = text.parse().ok();
    number
        .filter(|number| (&least..=&most).contains(&number))
        .ok_or_else(|| Denied::invalid(format!("{name} is a number from {least} to {most}")))
}

/// A list is taken whole or, if anything in it is wrong, not at all. Who is
/// there already stays as it is.
pub(super) async fn register(
    product: &ProductId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    #[derive(Deserialize)]
    struct Sent {
        devices: Vec<New>,
    }
    #[derive(Deserialize)]
    struct New {
        serial: String,
    }
    asked.operator(Role::Operator).await?;
    let sent: Sent = parse(&body.whole(MOST).await?)?;
    if sent.devices.is_empty() {
        return Err(Denied::invalid(
            r#"there are no devices: write {"devices":[{"serial":"abc123"}]}"#,
        ));
    }
    if sent.devices.len() > DEVICES {
        return Err(Denied::invalid(format!(
            "more than {DEVICES} devices: send them in several requests"
        )));
    }
    let mut serials = Vec::with_capacity(sent.devices.len());
    for (number, one) in (1..).zip(&sent.devices) {
        let serial = Serial::parse(&one.serial);
        serials.push(serial.map_err(|error| Denied::invalid(format!("device {number}: {error}")))?);
    }
    let mut known = std::collections::HashSet::with_capacity(serials.len());
    serials.retain(|serial| known.insert(serial.clone()));
    let devices = serials.into_iter().map(Into::into).collect();
    let wish = DevicesWish::of(product.clone(), devices);
    asked.carry_out(Request::Register(wish)).await?;
    Ok(Answer::Created(format!("/v2/products/{product}/devices")))
}
