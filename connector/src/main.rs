//! `firstwake-device`: see the library, and `docs/connector.md`.

mod cli;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use firstwake_connector::{Activated, activate, read_values, run};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
    match perform(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one sentence that says why")]
            {
                eprintln!("firstwake-device: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn perform(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Activate {
            device: args,
            give_up_after,
        } => {
            let device = args.device();
            let code = args.required_source().read(&device.serial)?;
            let patience = Duration::from_secs(give_up_after);
            report(&activate(&device, &code, patience).await?);
        }
        Command::Run {
            device: args,
            datastream,
        } => {
            let device = args.device();
            let source = args.source();
            let code = source
                .map(|source| source.read(&device.serial))
                .transpose()?;
            let values = read_values(io::stdin(), datastream).context("cannot start a thread")?;
            run(&device, code.as_ref(), values, asked_to_stop()?).await?;
        }
    }
    Ok(())
}

/// SIGINT or SIGTERM.
fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[expect(
    clippy::print_stdout,
    reason = "the one line that the command is run for"
)]
fn report(activated: &Activated) {
    let (stored, how) = match activated {
        Activated::Now(stored) => (stored, "activated"),
        Activated::Already(stored) => (stored, "already activated, nothing to do"),
    };
    let credentials = stored.credentials();
    println!(
        "{how}: {} has feed {}",
        credentials.serial(),
        credentials.feed_id()
    );
}
