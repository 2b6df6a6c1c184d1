//! `reconnect`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use device_sim::reconnect::{self, ReconnectPlan};
use device_sim::{Downlink, Hold, credentials};

use super::options::{LoopArgs, ServerArgs, TlsArgs, seconds};
use super::publish;

#[derive(Debug, Args)]
pub(super) struct ReconnectArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Who comes back: a file that `storm --save-credentials` wrote.
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// Let each device subscribe its commands and its configuration.
    #[arg(long)]
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
        let devices = credentials::load(&self.credentials)?;
        let transport = self.tls.transport()?;
        let server = self.server.reach().await?;
        let report = reconnect::run(ReconnectPlan {
            broker: server.address,
            transport,
            devices,
            in_flight: self.pace.in_flight,
            downlink: match self.subscribe {
                false => Downlink::Ignore,
                true => Downlink::Subscribe,
            },
            hold: self.hold.map(Hold::For),
            step_deadline: self.pace.step_deadline,
        })
        .await?;
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}
