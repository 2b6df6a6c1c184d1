//! The two commands: from options to the library and back to a person.

use std::io;
use std::time::Duration;

use anyhow::Context;
use firstwake::DatastreamId;
use firstwake_connector::{Activated, read_values};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DeviceArgs;

pub(crate) async fn activate(args: &DeviceArgs, seconds: u64) -> anyhow::Result<()> {
    let device = args.device();
    let code = args.required_source().read(&device.serial)?;
    let patience = Duration::from_secs(seconds);
    let activated = firstwake_connector::activate(&device, &code, patience).await?;
    report(&activated);
    Ok(())
}

pub(crate) async fn run(args: &DeviceArgs, datastream: Option<DatastreamId>) -> anyhow::Result<()> {
    let device = args.device();
    let source = args.source();
    let code = source
        .map(|source| source.read(&device.serial))
        .transpose()?;
    let stop = asked_to_stop().context("cannot listen for signals")?;
    let values = read_values(io::stdin(), datastream).context("cannot start a thread")?;
    firstwake_connector::run(&device, code.as_ref(), values, stop).await?;
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
