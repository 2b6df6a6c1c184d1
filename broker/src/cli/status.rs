//! `firstwake status`: whether there is a server, and which.

use anyhow::{Result, anyhow, bail};
use serde_json::json;

use super::form::{Form, fields};
use crate::control::{Control, Reply, Request, Unreachable};

/// Whether a server is running here or there, and which; exits with 3 if none is
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, place: &str, control: &mut Control, form: Form) -> Result<()> {
        let Reply::Version(server) = control.ask(Request::Version).await? else {
            bail!("the server gave an answer to another question");
        };
        let Reply::Fleet(fleet) = control.ask(Request::Fleet).await? else {
            bail!("the server gave an answer to another question");
        };
        let running = !control.is_alone();
        let devices = fleet.devices.total();
        let connected = fleet.connected.devices;
        let answer = json!({
            "place": place,
            "running": running,
            "version": server.version,
            "devices": devices,
            "devices_connected": connected,
            "clock": server.clock,
        });
        let clock = server.clock.map_or_else(
            || "as the machine's".to_owned(),
            |jump| format!("the machine's has jumped, it is {jump}"),
        );
        let words = fields(&[
            ("place", place.to_owned()),
            (
                "server",
                if running { "running" } else { "not running" }.to_owned(),
            ),
            ("version", server.version),
            ("devices", devices.to_string()),
            ("connected", connected.to_string()),
            ("clock", clock),
        ]);
        form.tell(&answer, &words)?;
        match running {
            true => Ok(()),
            false => bail!(Unreachable::because(anyhow!("no server is running there"))),
        }
    }
}
