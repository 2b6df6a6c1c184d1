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
use device_sim::responder::{self, Responder};
use device_sim::serials::SerialSource;
use device_sim::{Ask, Confirm, Hold, Kind, Plan, Progress, floor, storm};
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
    /// The service that answers requests on a broker which issues nothing.
    #[command(hide = true)]
    Responder(ResponderArgs),
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
struct ResponderArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// What it logs in with.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// A file that holds its password.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// PREFIX:COUNT for PREFIX000000 and on, or a file with one serial a line.
    #[arg(long, value_name = "FILE|PREFIX:COUNT")]
    serials: SerialSource,
    /// How many devices are under way at any time (closed loop).
    #[arg(long, value_name = "N", default_value = "200")]
    in_flight: NonZeroUsize,
    /// Also publish an empty message to provision/<serial>/request: for brokers
    /// where nobody is told of a SUBSCRIBE.
    #[arg(long)]
    request: bool,
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
            Command::Responder(args) => respond(args).await,
        }
    }
}

async fn against_broker(args: StormArgs) -> Result<()> {
    let secret = std::fs::read_to_string(&args.secret_file)
        .map(zeroize::Zeroizing::new)
        .with_context(|| format!("cannot read {}", args.secret_file.display()))?;
    let secret = ProductSecret::parse(secret.trim())
        .with_context(|| format!("{} holds no secret", args.secret_file.display()))?;
    let broker = look_up(&args.broker).await?;
    args.load.run(broker, secret, args.hold, Kind::Storm).await
}

async fn look_up(broker: &str) -> Result<SocketAddr> {
    let mut addresses = tokio::net::lookup_host(broker)
        .await
        .with_context(|| format!("{broker} is no address of a broker"))?;
    match addresses.next() {
        Some(address) => Ok(address),
        None => bail!("{broker} has no address"),
    }
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
            ask: match self.request {
                false => Ask::Subscribe,
                true => Ask::SubscribeAndRequest,
            },
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
    tokio::select! {
        () = server.serve() => {}
        () = parent_gone() => {}
    }
    Ok(())
}

async fn respond(args: ResponderArgs) -> Result<()> {
    let password = std::fs::read_to_string(&args.password_file)
        .map(zeroize::Zeroizing::new)
        .with_context(|| format!("cannot read {}", args.password_file.display()))?;
    let login = responder::Login {
        username: args.username,
        password: zeroize::Zeroizing::new(password.trim().to_owned()),
    };
    let responder = Responder::subscribe(look_up(&args.broker).await?, &login).await?;
    writeln!(std::io::stdout(), "subscribed")?;
    tokio::select! {
        ended = responder.serve() => Ok(ended?),
        () = parent_gone() => Ok(()),
    }
}

/// Waits for the end of standard input: a server that is another's child must
/// not outlive it.
async fn parent_gone() {
    let gone = tokio::task::spawn_blocking(|| {
        let mut end = Vec::new();
        std::io::stdin().read_to_end(&mut end)
    });
    drop(gone.await);
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
            "device-sim floor --serials d-:10 --in-flight 5 --confirm --request",
            true,
        );
        check("device-sim floor --serials d-:0 --in-flight 5", false);
        check(
            "device-sim floor --serials d-:10 --in-flight 5 --hold 5",
            false,
        );
    }
}
