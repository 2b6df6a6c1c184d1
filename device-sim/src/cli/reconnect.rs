//! `reconnect`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use device_sim::reconnect::{self, ReconnectPlan};
use device_sim::{Downlink, Hold};

use super::options::{LoopArgs, ServerArgs, TlsArgs, seconds};
use super::publish;
use super::who::WhoArgs;

#[derive(Debug, Args)]
pub(super) struct ReconnectArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    who: WhoArgs,
    /// Let each device subscribe its commands and its configuration. Their
    /// feeds have to be known: only with `key`.
    #[arg(long, conflicts_with = "secret_file")]
    subscribe: bool,
    /// Keep sessions open this long after the last device is in.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    hold: Option<Duration>,
    #[command(flatten)]
    pace: LoopArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

impl ReconnectArgs {
    pub(super) async fn run(self) -> Result<()> {
        let downlink = match self.subscribe {
            false => Downlink::Ignore,
            true => Downlink::Subscribe,
        };
        let transport = self.tls.transport()?;
        let server = self.server.reach().await?;
        let report = reconnect::run(ReconnectPlan {
            broker: server.address,
            transport,
            proof: self.who.proof(),
            devices: self.who.callers(downlink)?,
            in_flight: self.pace.in_flight,
            hold: self.hold.map(Hold::For),
            step_deadline: self.pace.step_deadline,
        })
        .await?;
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}
