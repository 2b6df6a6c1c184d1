//! `products/ID/devices/SERIAL`: one device.

use firstwake::feed::precise;
use firstwake::{Device, DeviceName, FeedId, Keys, OperatorLogin, Role, Serial};
use serde::{Deserialize, Serialize};

use super::Answer;
use super::denied::Denied;
use super::products::{self, MOST};
use super::request::{Asked, Unread, parse};
use crate::control::Request;

/// A device as it is shown. Its key is not: nobody has it but the device.
#[derive(Serialize)]
pub(super) struct Shown {
    serial: Serial,
    /// For administrators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_code: Option<String>,
    created_at: String,
    activated_at: Option<String>,
    feed_id: FeedId,
}

/// A device as this operator may see it.
pub(super) async fn describe(
    device: &Device,
    login: &OperatorLogin,
    asked: &Asked<'_>,
) -> Result<Shown, Denied> {
    let provisioner = &asked.broker.provisioner;
    let code = match login.role() >= Role::Admin {
        true => Some(provisioner.code_of(device, asked.now).await?),
        false => None,
    };
    let activated = device.issued_at.filter(|_| device.keys != Keys::None);
    Ok(Shown {
        serial: device.serial.clone(),
        activation_code: code.map(|code| code.expose_hex()),
        created_at: precise(device.registered_at),
        activated_at: activated.map(precise),
        feed_id: device.feed,
    })
}

pub(super) async fn show(name: &DeviceName, asked: &Asked<'_>) -> Result<Answer, Denied> {
    #[derive(Serialize)]
    struct One {
        device: Shown,
    }
    asked.takes_json()?;
    let login = asked.operator(Role::Viewer).await?;
    let found = asked.broker.provisioner.find_device(name).await?;
    let device = describe(&found, &login, asked).await?;
    Ok(products::page(&One { device }))
}

/// Another serial, and with it another code.
pub(super) async fn rename(
    name: &DeviceName,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    #[derive(Deserialize)]
    struct Sent {
        device: Renamed,
    }
    #[derive(Deserialize)]
    struct Renamed {
        serial: String,
    }
    asked.operator(Role::Admin).await?;
    let sent: Sent = parse(&body.whole(MOST).await?)?;
    let serial = Serial::parse(&sent.device.serial);
    let serial = serial.map_err(|error| Denied::invalid(error.to_string()))?;
    let name = name.clone();
    asked.carry_out(Request::Rename { name, serial }).await?;
    Ok(Answer::Done)
}

pub(super) async fn remove(name: &DeviceName, asked: &Asked<'_>) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    let name = name.clone();
    asked.carry_out(Request::RemoveDevice { name }).await?;
    Ok(Answer::Done)
}
