//! The commands: from options to the library and back to a person.

mod identity;
mod licence;
mod sign;

use std::io;
use std::time::Duration;

use anyhow::Context;
use firstwake_connector::{Activated, OnCommand, Secret, Signing, read_values};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command, DeviceArgs, LicenceCommand, PatienceArgs, RunArgs, wrong_usage};

/// Carries out what was asked for.
pub(crate) async fn carry_out(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Identity { board, output } => identity::show(&board, output),
        Command::Activate { device, patience } => activate(&device, &patience).await,
        Command::Run { device, run } => stay(&device, run).await,
        Command::Sign { own, sign } => sign::sign(&own, &sign),
        Command::Licence { verify, ask } => match verify {
            Some(LicenceCommand::Verify(verify)) => licence::verify(&verify),
            None => licence::ask(&ask).await,
        },
    }
}

async fn activate(args: &DeviceArgs, patience: &PatienceArgs) -> anyhow::Result<()> {
    let device = args.device()?;
    let code = args.source();
    let code = code.map(|source| source.read(&device.serial)).transpose()?;
    let has_something = code.is_some()
        || matches!(device.signing, Signing::BurntIn(_))
        || device.credentials.load(&device.serial)?.is_some();
    if !has_something {
        wrong_usage(
            "an activation code is needed: --code-file, --code-stdin, --secret-file, \
             --secret-stdin or FIRSTWAKE_CODE; or --device-key-file",
        );
    }
    let give_up_after = Duration::from_secs(patience.give_up_after);
    let activated = firstwake_connector::activate(&device, code.as_ref(), give_up_after);
    report(&activated.await?);
    Ok(())
}

async fn stay(args: &DeviceArgs, run: RunArgs) -> anyhow::Result<()> {
    let device = args.device()?;
    let code = args.source();
    let code = code.map(|source| source.read(&device.serial)).transpose()?;
    let on_command = match run.on_command {
        Some(program) => OnCommand::Run {
            program,
            limit: Duration::from_secs(run.command_timeout),
        },
        None if run.no_commands => OnCommand::Ignore,
        None => OnCommand::Print(Box::new(io::stdout())),
    };
    let stop = asked_to_stop().context("cannot listen for signals")?;
    let values = read_values(io::stdin(), run.datastream).context("cannot start a thread")?;
    firstwake_connector::run(&device, code.as_ref(), values, on_command, stop).await?;
    Ok(())
}

/// SIGINT or SIGTERM.
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn report(activated: &Activated) {
    let (stored, how) = match activated {
        Activated::Now(stored) => (stored, "activated"),
        Activated::Already(stored) => (stored, "already activated, nothing to do"),
    };
    let credentials = stored.credentials();
    let proof = match credentials.secret() {
        Secret::ApiKey(_) => "",
        Secret::KeyPair(_) => ", and signs with its own key",
        Secret::DeviceKey(_) => ", and signs with its device key",
    };
    let serial = credentials.serial();
    match credentials.feed_id() {
        Some(feed) => say(&format!("{how}: {serial} has feed {feed}{proof}")),
        None => say(&format!("{how}: {serial}{proof}")),
    }
}

/// What the command was run for.
#[expect(clippy::print_stdout, reason = "the one place for answers")]
fn say(text: &str) {
    println!("{text}");
}
