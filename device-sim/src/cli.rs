//! The command line: options in, a [`Plan`] out, and a report on the screen.
//!
//! Its options and exit statuses are a contract for scripts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use device_sim::serials::SerialSource;
use device_sim::{Confirm, Hold, Kind, Plan, Progress, floor, storm};
use firstwake::ProductSecret;

/// Fleets of simulated devices, each with its own serial and activation code,
/// against any MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "device-sim", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a fleet activate against a broker, N devices at a time.
    Storm(StormArgs),
    /// Run the same storm against a server that does the least any must.
    Floor(LoadArgs),
    /// The other side of `floor`.
    #[command(hide = true)]
    FloorServer,
}

#[derive(Debug, Args)]
struct StormArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// A file that holds the product secret: 40 hex characters.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
    /// Keep confirmed sessions open this long after the last device is done.
    #[arg(long, value_name = "SECONDS", requires = "confirm", value_parser = seconds)]
    hold: Option<Duration>,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// PREFIX:COUNT for PREFIX000000 and on, or a file with one serial a line.
    #[arg(long, value_name = "FILE|PREFIX:COUNT")]
    serials: SerialSource,
    /// How many devices are under way at any time (closed loop).
    #[arg(long, value_name = "N", default_value = "200")]
    in_flight: NonZeroUsize,
    /// Let each device come back with its key, which confirms it.
    #[arg(long)]
    confirm: bool,
    /// How long a single step of a device may take.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    step_deadline: Duration,
    /// Write the report to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Cli {
    pub(crate) async fn run(self) -> Result<()> {
        match self.command {
            Command::Storm(args) => against_broker(args).await,
            Command::Floor(args) => against_floor(args).await,
            Command::FloorServer => be_the_floor().await,
        }
    }
}

async fn against_broker(args: StormArgs) -> Result<()> {
    let secret = std::fs::read_to_string(&args.secret_file)
        .map(zeroize::Zeroizing::new)
        .with_context(|| format!("cannot read {}", args.secret_file.display()))?;
    let secret = ProductSecret::parse(secret.trim())
        .with_context(|| format!("{} holds no secret", args.secret_file.display()))?;
    let mut addresses = tokio::net::lookup_host(&args.broker)
        .await
        .with_context(|| format!("{} is no address of a broker", args.broker))?;
    let Some(broker) = addresses.next() else {
        bail!("{} has no address", args.broker);
    };
    args.load.run(broker, secret, args.hold, Kind::Storm).await
}

/// The floor looks at no code, so any secret will do.
const FLOOR_SECRET: &str = "0000000000000000000000000000000000000000";

async fn against_floor(load: LoadArgs) -> Result<()> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let server = floor::Child::start(&program)?;
    let secret = ProductSecret::parse(FLOOR_SECRET)?;
    load.run(server.address(), secret, None, Kind::Floor).await
}

impl LoadArgs {
    async fn run(
        self,
        broker: SocketAddr,
        secret: ProductSecret,
        hold: Option<Duration>,
        kind: Kind,
    ) -> Result<()> {
        let plan = Plan {
            broker,
            secret,
            serials: self.serials.load()?,
            in_flight: self.in_flight,
            confirm: match (self.confirm, hold) {
                (false, _) => Confirm::Skip,
                (true, None) => Confirm::ThenClose,
                (true, Some(time)) => Confirm::ThenHold(Hold::For(time)),
            },
            step_deadline: self.step_deadline,
        };
        let mut report = storm::run(plan, Arc::new(Progress::default())).await?;
        report.kind = kind;
        if let Some(path) = self.json {
            std::fs::write(&path, report.to_json()?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        write!(std::io::stdout(), "{report}")?;
        Ok(report.verdict()?)
    }
}

async fn be_the_floor() -> Result<()> {
    let server = floor::Server::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    writeln!(std::io::stdout(), "{}", server.address())?;
    let parent_gone = tokio::task::spawn_blocking(|| {
        let mut end = Vec::new();
        std::io::stdin().read_to_end(&mut end)
    });
    tokio::select! {
        () = server.serve() => {}
        _ = parent_gone => {}
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "this is a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage() {
        let check = |line: &str, valid: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), valid, "{line}");
        };
        let storm = "device-sim storm --broker localhost:1883 --secret-file F --serials d-:10";
        check(&format!("{storm} --in-flight 5"), true);
        check(
            &format!("{storm} --in-flight 5 --confirm --hold 0.5 --json R"),
            true,
        );
        check(&format!("{storm} --in-flight 0"), false);
        check(&format!("{storm} --hold 5"), false);
        check(&format!("{storm} --confirm --hold 0"), false);
        check(&format!("{storm} --confirm --hold -1"), false);
        check(
            "device-sim floor --serials d-:10 --in-flight 5 --confirm",
            true,
        );
        check("device-sim floor --serials d-:0 --in-flight 5", false);
        check(
            "device-sim floor --serials d-:10 --in-flight 5 --hold 5",
            false,
        );
    }
}
