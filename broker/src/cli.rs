//! The command line: what can be asked, and how it is answered.
//!
//! What the exit status says stands in `exit`, how answers are written in
//! `form`.

mod ban;
mod cert;
mod code;
mod completions;
mod device;
mod events;
mod exit;
mod feed;
mod form;
mod man;
mod many;
mod operator;
mod product;
pub(crate) mod serials;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use self::exit::Exit;
use self::form::Form;
use crate::control::{Absent, Control};
use crate::demo;
use crate::home::{FirstOperator, Home};
use crate::http;
use crate::output::{complain, say};

/// A secure front door for fleets of devices that speak MQTT
#[derive(Parser)]
#[command(name = "firstwake", version, arg_required_else_help = true, after_help = exit::TOLD)]
struct Args {
    /// Where everything is kept [default: $XDG_DATA_HOME/firstwake or ~/.local/share/firstwake]
    #[arg(long, global = true, value_name = "DIR", env = "FIRSTWAKE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// How answers are written
    #[arg(long, global = true, value_name = "FORM", default_value = "table")]
    output: Form,
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
    /// Read the audit log, an event a line
    Events(events::Args),
    /// Certificates to try TLS with
    #[command(subcommand)]
    Cert(cert::Command),
    /// Compute a device's activation code
    Code(code::Args),
    /// Write what makes a shell complete this command to standard output
    Completions(completions::Args),
    /// Write the manual pages, one for each command, into a directory
    Man(man::Args),
    /// Write the page of the HTTP API, as docs/openapi.json has it
    #[command(hide = true)]
    Openapi,
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let args = Args::parse();
    args.check();
    // Whatever is made from here on is for its owner alone; the manual is for
    // everybody.
    if !matches!(args.command, Command::Man(_)) {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(args.run()));
    if let Err(error) = &outcome {
        complain(&format!("firstwake: {error:#}"));
    }
    ExitCode::from(Exit::after(&outcome) as u8)
}

impl Args {
    /// Refuses what the parser alone cannot.
    fn check(&self) {
        let has_one_form = match self.command {
            Command::Demo(_) => "demo",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
            _ => return,
        };
        if self.output == Form::Json {
            let words = format!("`firstwake {has_one_form}` answers in one form only");
            let error = Self::command().error(ErrorKind::ArgumentConflict, words);
            error.exit();
        }
    }

    async fn run(self) -> Result<()> {
        let data_dir = || match &self.data_dir {
            Some(path) => Ok(path.clone()),
            None => Home::default_path(),
        };
        let reach = async |absent| reach(data_dir()?, absent).await;
        let form = self.output;
        match self.command {
            Command::Serve(args) => args.run(data_dir()?, form).await,
            Command::Demo(args) => args.run().await,
            Command::Product(command) => {
                let mut control = reach(command.absent()).await?;
                command.run(&mut control, form).await
            }
            Command::Device(command) => {
                let mut control = reach(Absent::IsAnError).await?;
                command.run(&mut control, form).await
            }
            Command::Feed(command) => {
                let mut control = reach(Absent::IsAnError).await?;
                command.run(&mut control, form).await
            }
            Command::Ban(command) => {
                let mut control = reach(Absent::IsAnError).await?;
                command.run(&mut control, form).await
            }
            Command::Operator(command) => {
                let mut control = reach(command.absent()).await?;
                command.run(&mut control, form).await
            }
            Command::Events(args) => {
                let mut control = reach(Absent::IsAnError).await?;
                args.run(&mut control, form).await
            }
            Command::Cert(command) => command.run(form),
            Command::Code(args) => args.run(form),
            Command::Completions(args) => args.run(Self::command()),
            Command::Man(args) => args.run(Self::command()),
            Command::Openapi => say(http::page().trim_end()),
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
