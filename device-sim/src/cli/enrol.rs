//! `enrol`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use device_sim::enrol::{self, EnrolPlan};
use device_sim::serials::SerialSource;
use firstwake::ProductId;

use super::options::{LoopArgs, TlsArgs, look_up, read_product_secret};
use super::publish;

#[derive(Debug, Args)]
pub(super) struct EnrolArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// A file that holds the product secret: 40 hex characters.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// PREFIX:COUNT for PREFIX000000 and on, or a file with one serial a line.
    #[arg(long, value_name = "FILE|PREFIX:COUNT")]
    serials: SerialSource,
    /// The product, whose id devices sign.
    #[arg(long, value_name = "PRODUCT_ID", value_parser = ProductId::parse)]
    product: ProductId,
    #[command(flatten)]
    pace: LoopArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

impl EnrolArgs {
    pub(super) async fn run(self) -> Result<()> {
        let report = enrol::run(EnrolPlan {
            broker: look_up(&self.broker).await?,
            transport: self.tls.transport()?,
            secret: read_product_secret(&self.secret_file)?,
            product: self.product,
            serials: self.serials.load()?,
            in_flight: self.pace.in_flight,
            step_deadline: self.pace.step_deadline,
        })
        .await?;
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}
