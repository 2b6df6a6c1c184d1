//! `handshakes`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use device_sim::handshakes::{self, HandshakesPlan};

use super::options::{LoopArgs, ServerArgs, TlsManner};
use super::publish;

#[derive(Debug, Args)]
pub(super) struct HandshakesArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How many handshakes.
    #[arg(long, value_name = "N")]
    count: NonZeroUsize,
    /// Trust the certificates in this file (PEM).
    #[arg(long, value_name = "FILE")]
    tls_ca: PathBuf,
    #[command(flatten)]
    manner: TlsManner,
    #[command(flatten)]
    pace: LoopArgs,
}

impl HandshakesArgs {
    pub(super) async fn run(self) -> Result<()> {
        let tls = self.manner.client(self.tls_ca)?;
        let server = self.server.reach().await?;
        let report = handshakes::run(HandshakesPlan {
            server: server.address,
            tls,
            count: self.count,
            in_flight: self.pace.in_flight,
            step_deadline: self.pace.step_deadline,
        })
        .await?;
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}
