//! The command line: what can be asked, and how it is answered.
//!
//! Exit status: 0 done, 1 refused or failed (one sentence on standard error),
//! 2 wrong usage.

mod ban;
mod cert;
mod code;
mod device;
mod events;
mod feed;
mod many;
mod operator;
mod product;
pub(crate) mod serials;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::control::{Absent, Control};
use crate::demo;
use crate::home::{FirstOperator, Home};
use crate::output::complain;

/// A secure front door for fleets of devices that speak MQTT
#[derive(Parser)]
#[command(name = "firstwake", version, arg_required_else_help = true)]
struct Args {
    /// Where everything is kept [default: $XDG_DATA_HOME/firstwake or ~/.local/share/firstwake]
    #[arg(long, global = true, value_name = "DIR", env = "FIRSTWAKE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server until it is told to stop
    Serve(Box<serve::Args>),
    /// Show what this is: a server, thousands of simulated devices, an operator
    Demo(demo::Args),
    /// Kinds of devices
    #[command(subcommand)]
    Product(product::Command),
    /// Single devices
    #[command(subcommand)]
    Device(device::Command),
    /// Messages down to devices
    #[command(subcommand)]
    Feed(feed::Command),
    /// Keep sources out, whoever connects from there
    #[command(subcommand)]
    Ban(ban::Command),
    /// Who may watch and talk to devices
    #[command(subcommand)]
    Operator(operator::Command),
    /// Read the audit log, one JSON object a line
    Events(events::Args),
    /// Certificates to try TLS with
    #[command(subcommand)]
    Cert(cert::Command),
    /// Compute a device's activation code
    Code(code::Args),
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let args = Args::parse();
    // Whatever is made from here on is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(args.run()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("firstwake: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Args {
    async fn run(self) -> Result<()> {
        let data_dir = || match &self.data_dir {
            Some(path) => Ok(path.clone()),
            None => Home::default_path(),
        };
        match self.command {
            Command::Serve(args) => args.run(data_dir()?).await,
            Command::Demo(args) => args.run().await,
            Command::Product(command) => {
                let absent = command.absent();
                command.run(&mut reach(data_dir()?, absent).await?).await
            }
            Command::Device(command) => {
                command
                    .run(&mut reach(data_dir()?, Absent::IsAnError).await?)
                    .await
            }
            Command::Feed(command) => {
                command
                    .run(&mut reach(data_dir()?, Absent::IsAnError).await?)
                    .await
            }
            Command::Ban(command) => {
                command
                    .run(&mut reach(data_dir()?, Absent::IsAnError).await?)
                    .await
            }
            Command::Operator(command) => {
                let absent = command.absent();
                command.run(&mut reach(data_dir()?, absent).await?).await
            }
            Command::Events(args) => {
                args.run(&mut reach(data_dir()?, Absent::IsAnError).await?)
                    .await
            }
            Command::Cert(command) => command.run(),
            Command::Code(args) => args.run(),
        }
    }
}

async fn reach(data_dir: PathBuf, absent: Absent) -> Result<Control> {
    let (control, first) = Control::reach(&data_dir, absent).await?;
    if let Some(first) = first {
        announce(&first);
    }
    Ok(control)
}

/// Tells about the first operator: the password only on a terminal, where it
/// ends up in nobody's log.
fn announce(first: &FirstOperator) {
    use std::io::IsTerminal;
    let file = first.file.display();
    complain(&format!("the first operator's credentials are in {file}"));
    if std::io::stderr().is_terminal() {
        let (name, password) = (&first.name, first.password.as_str());
        complain(&format!("username {name}, password {password}"));
    }
}
