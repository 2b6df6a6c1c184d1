//! `uplink`.

use std::io::Read;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use device_sim::uplink::{
    self, MessagesPerDevice, Pace, PayloadSize, Topics, UplinkPlan, UplinkQos,
};
use device_sim::{ServiceLogin, credentials};
use zeroize::Zeroizing;

use super::options::{LoopArgs, TlsArgs, look_up, read_secret, seconds};
use super::publish;

#[derive(Debug, Args)]
pub(super) struct UplinkArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// Who publishes: a file that `storm --save-credentials` wrote.
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// The operator that counts what arrives.
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// A file that holds its password.
    #[arg(long, value_name = "FILE", required_unless_present = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read its password from standard input.
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// How many messages each device publishes, 1 to 60,000.
    #[arg(long, value_name = "N")]
    messages: MessagesPerDevice,
    /// Bytes of each payload, 36 to 8,192.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    size: PayloadSize,
    /// The quality of service of publishing and of subscribing.
    #[arg(long, value_name = "0|1", default_value = "1", value_parser = qos)]
    qos: UplinkQos,
    /// At QoS 1, unacknowledged messages of each device (closed loop).
    #[arg(long, value_name = "N", default_value = "8", conflicts_with = "rate")]
    window: NonZeroU16,
    /// Messages a second of all devices together (open loop).
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// The first part of every topic.
    #[arg(long, value_name = "TOPIC", default_value = "feeds")]
    topic_prefix: String,
    /// The datastream that devices publish.
    #[arg(long, value_name = "NAME", default_value = "temperature")]
    datastream: String,
    /// How long nothing must arrive before what is missing is lost.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    patience: Duration,
    #[command(flatten)]
    pace: LoopArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

impl UplinkArgs {
    pub(super) async fn run(self) -> Result<()> {
        let password = match &self.password_file {
            Some(path) => read_secret(path)?,
            None => read_stdin()?,
        };
        let report = uplink::run(UplinkPlan {
            broker: look_up(&self.broker).await?,
            transport: self.tls.transport()?,
            devices: credentials::load(&self.credentials)?,
            in_flight: self.pace.in_flight,
            operator: ServiceLogin {
                username: self.operator,
                password,
            },
            topics: Topics {
                prefix: self.topic_prefix,
                datastream: self.datastream,
            },
            messages: self.messages,
            size: self.size,
            qos: self.qos,
            pace: match self.rate {
                None => Pace::Window(self.window),
                Some(rate) => Pace::PerSecond(rate),
            },
            patience: self.patience,
            step_deadline: self.pace.step_deadline,
        })
        .await?;
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}

fn read_stdin() -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn qos(text: &str) -> Result<UplinkQos, String> {
    match text {
        "0" => Ok(UplinkQos::AtMostOnce),
        "1" => Ok(UplinkQos::AtLeastOnce),
        _ => Err("devices publish at QoS 0 or 1".to_owned()),
    }
}
