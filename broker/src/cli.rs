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
mod export;
pub(crate) mod factory;
mod feed;
mod fleet;
mod form;
mod import;
mod licence;
mod man;
mod many;
mod operator;
mod place;
mod product;
mod register;
mod registry;
mod rejects;
mod secret;
mod serials;
mod serve;
mod status;
mod token;
mod whole_file;

use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::exit::Exit;
use self::form::Form;
use self::place::{Place, Reaches};
use crate::control::Absent;
#[cfg(feature = "demo")]
use crate::demo;
use crate::home::FirstOperator;
use crate::http;
use crate::output::{complain, say_exactly};

/// A secure front door for fleets of devices that speak MQTT
#[derive(Parser)]
#[command(name = "firstwake", version, arg_required_else_help = true, after_help = exit::TOLD)]
struct Args {
    #[command(flatten)]
    place: Place,
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
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Kinds of devices
    #[command(subcommand)]
    Product(product::Command),
    /// Single devices
    #[command(subcommand)]
    Device(device::Command),
    /// What devices measured, and messages down to them
    #[command(subcommand)]
    Feed(feed::Command),
    /// Keep sources out, whoever connects from there
    #[command(subcommand)]
    Ban(ban::Command),
    /// Who may watch and talk to devices
    #[command(subcommand)]
    Operator(operator::Command),
    /// What services and commands show in place of an operator's password
    #[command(subcommand)]
    Token(token::Command),
    /// What devices' licences are checked with
    #[command(subcommand)]
    Licence(licence::Command),
    /// The registry as a whole
    #[command(subcommand)]
    Registry(registry::Command),
    /// Whether a server is running here or there, and which
    Status(status::Args),
    /// How many devices are in which state, and what is happening now
    Fleet(fleet::Args),
    /// Read the audit log, an event a line
    Events(events::Args),
    /// Certificates to try TLS with
    #[command(subcommand)]
    Cert(cert::Command),
    /// Compute a device's activation code
    Code(code::Args),
    /// Write the page of the HTTP API, as docs/openapi.json has it
    #[command(hide = true)]
    Openapi,
    /// Write what makes a shell complete this command to standard output
    Completions(completions::Args),
    /// Write the manual pages, one for each command, into a directory
    Man(man::Args),
}

/// Threads that serve, for each core. They read the registry themselves, and
/// while one waits for a disk another goes on.
const THREADS_A_CORE: usize = 2;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let matches = Args::command().get_matches();
    let args = Args::from_arg_matches(&matches).and_then(|args| args.settled(&matches));
    let args = args.unwrap_or_else(|error| error.exit());
    // Whatever is made from here on is for its owner alone; the manual is for
    // everybody.
    if !matches!(args.command, Command::Man(_)) {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS_A_CORE * cores)
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
    fn settled(mut self, matches: &ArgMatches) -> Result<Self, clap::Error> {
        let refuse = |words: String| Self::command().error(ErrorKind::ArgumentConflict, words);
        let (reaches, has_json) = self.command.takes();
        if self.output == Form::Json && !has_json {
            return Err(refuse("this command answers in one form only".to_owned()));
        }
        let place = self.place.settle(matches, reaches);
        place.map_err(|misplaced| refuse(misplaced.to_string()))?;
        Ok(self)
    }

    async fn run(self) -> Result<()> {
        let (place, form) = (self.place, self.output);
        let reach = async |absent| place.reach(absent).await;
        match self.command {
            Command::Serve(args) => args.run(place.data_dir()?, form).await,
            #[cfg(feature = "demo")]
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
            Command::Token(command) => {
                let mut control = reach(Absent::IsAnError).await?;
                command.run(&mut control, form).await
            }
            Command::Licence(command) => {
                let mut control = reach(Absent::IsAnError).await?;
                command.run(&mut control, form).await
            }
            Command::Registry(command) => command.run(&place, form).await,
            Command::Status(args) => {
                let mut control = reach(Absent::IsAnError).await?;
                args.run(&place.told()?, &mut control, form).await
            }
            Command::Fleet(args) => {
                let mut control = reach(Absent::IsAnError).await?;
                args.run(&mut control, form).await
            }
            Command::Events(args) => {
                let mut control = reach(Absent::IsAnError).await?;
                args.run(&mut control, form).await
            }
            Command::Cert(command) => command.run(form),
            Command::Code(args) => args.run(form),
            Command::Openapi => say_exactly(http::page().trim_end()),
            Command::Completions(args) => args.run(Self::command()),
            Command::Man(args) => args.run(Self::command()),
        }
    }
}

impl Command {
    /// Where it can be carried out, and whether it answers in JSON.
    fn takes(&self) -> (Reaches, bool) {
        match self {
            Self::Serve(_) | Self::Registry(_) | Self::Cert(_) | Self::Code(_) => {
                (Reaches::Here, true)
            }
            #[cfg(feature = "demo")]
            Self::Demo(_) => (Reaches::Here, false),
            Self::Openapi | Self::Completions(_) | Self::Man(_) => (Reaches::Here, false),
            Self::Product(_)
            | Self::Device(_)
            | Self::Feed(_)
            | Self::Ban(_)
            | Self::Operator(_)
            | Self::Token(_)
            | Self::Licence(_)
            | Self::Status(_)
            | Self::Fleet(_)
            | Self::Events(_) => (Reaches::Anywhere, true),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Args::command().debug_assert();
    }

    /// Each command stands on its page, with an example or at least its name.
    #[test]
    fn the_page_has_every_command() {
        let page = include_str!("../../docs/cli.md");
        let told = |path: &str, leaf: &str| {
            page.contains(&format!("firstwake {path}")) || page.contains(&format!("`{leaf}`"))
        };
        let shown = |command: &clap::Command| !command.is_hide_set();
        let mut count = 0;
        for command in Args::command().get_subcommands().filter(|it| shown(it)) {
            let name = command.get_name();
            assert!(told(name, name), "{name}");
            for leaf in command.get_subcommands().filter(|it| shown(it)) {
                let leaf = leaf.get_name();
                assert!(told(&format!("{name} {leaf}"), leaf), "{name} {leaf}");
                count += 1;
            }
        }
        assert!(count > 30, "{count}");
    }
}
