//! `storm` and `floor`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use device_sim::credentials::CredentialsFile;
use device_sim::floor::Speaks;
use device_sim::serials::SerialSource;
use device_sim::{Ask, Confirm, Hold, Kind, Plan, Progress, storm};
use firstwake::ProductSecret;

use super::options::{
    IdentityArgs, LoopArgs, TlsArgs, look_up, read_product_secret, seconds, start_floor,
};
use super::publish;

#[derive(Debug, Args)]
pub(super) struct StormArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// A file that holds the product secret: 40 hex characters.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    #[command(flatten)]
    fleet: FleetArgs,
    /// Keep confirmed sessions open this long after the last device is done.
    #[arg(long, value_name = "SECONDS", requires = "confirm", value_parser = seconds)]
    hold: Option<Duration>,
    /// Save what devices were given to this new file, which is as secret as
    /// all their keys.
    #[arg(long, value_name = "FILE")]
    save_credentials: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct FloorArgs {
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    identity: IdentityArgs,
}

#[derive(Debug, Args)]
struct FleetArgs {
    /// PREFIX:COUNT for PREFIX000000 and on, or a file with one serial a line.
    #[arg(long, value_name = "FILE|PREFIX:COUNT")]
    serials: SerialSource,
    /// Also publish an empty message to provision/<serial>/request: for brokers
    /// where nobody is told of a SUBSCRIBE.
    #[arg(long)]
    request: bool,
    /// Ask over HTTP in place of MQTT: GET /v2/devices/<code>/activate.
    #[arg(long, conflicts_with_all = ["request", "confirm"])]
    http: bool,
    /// Let each device come back with its key, which confirms it.
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    pace: LoopArgs,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Whom the fleet meets.
struct Meeting {
    broker: SocketAddr,
    secret: ProductSecret,
    hold: Option<Duration>,
    kind: Kind,
}

impl StormArgs {
    pub(super) async fn run(self) -> Result<()> {
        let meeting = Meeting {
            broker: look_up(&self.broker).await?,
            secret: read_product_secret(&self.secret_file)?,
            hold: self.hold,
            kind: Kind::Storm,
        };
        let file = self.save_credentials.map(CredentialsFile::create);
        self.fleet.meet(meeting, file.transpose()?).await
    }
}

/// The floor looks at no code, so any secret will do.
const FLOOR_SECRET: &str = "0000000000000000000000000000000000000000";

impl FloorArgs {
    pub(super) async fn run(self) -> Result<()> {
        let speaks = match self.fleet.http {
            false => Speaks::Mqtt,
            true => Speaks::Http,
        };
        let server = start_floor(self.identity.identity(), speaks)?;
        let meeting = Meeting {
            broker: server.address(),
            secret: ProductSecret::parse(FLOOR_SECRET)?,
            hold: None,
            kind: Kind::Floor,
        };
        self.fleet.meet(meeting, None).await
    }
}

impl FleetArgs {
    async fn meet(self, meeting: Meeting, file: Option<CredentialsFile>) -> Result<()> {
        let plan = Plan {
            broker: meeting.broker,
            transport: self.tls.transport()?,
            secret: meeting.secret,
            serials: self.serials.load()?,
            in_flight: self.pace.in_flight,
            ask: match (self.http, self.request) {
                (true, _) => Ask::Http,
                (false, false) => Ask::Subscribe,
                (false, true) => Ask::SubscribeAndRequest,
            },
            confirm: match (self.confirm, meeting.hold) {
                (false, _) => Confirm::Skip,
                (true, None) => Confirm::ThenClose,
                (true, Some(time)) => Confirm::ThenHold(Hold::For(time)),
            },
            step_deadline: self.pace.step_deadline,
        };
        let mut report = storm::run(plan, Arc::new(Progress::default())).await?;
        report.kind = meeting.kind;
        if let Some(file) = file {
            file.save(&report.devices)?;
        }
        publish(&report, self.pace.json.as_deref())?;
        Ok(report.verdict()?)
    }
}
