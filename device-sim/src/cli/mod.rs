//! The command line: options in, a plan out, and a report on the screen.
//!
//! Its options and exit statuses are a contract for scripts.

mod enrol;
mod floor;
mod handshakes;
mod options;
mod reconnect;
mod responder;
mod storm;
mod uplink;
mod who;

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

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
    Storm(storm::StormArgs),
    /// Run the same storm against a server that does the least any must.
    Floor(storm::FloorArgs),
    /// Let a fleet show the public halves of key pairs of its own.
    Enrol(enrol::EnrolArgs),
    /// Let a fleet come back with its keys, codes or signatures.
    Reconnect(reconnect::ReconnectArgs),
    /// Let a fleet publish, and count what reaches an operator.
    Uplink(uplink::UplinkArgs),
    /// Do TLS handshakes, as many a second as there can be.
    Handshakes(handshakes::HandshakesArgs),
    /// The other side of `floor` and of `--floor`.
    #[command(hide = true)]
    FloorServer(floor::FloorServerArgs),
    /// The service that answers requests on a broker which issues nothing.
    #[command(hide = true)]
    Responder(responder::ResponderArgs),
}

impl Cli {
    pub(crate) async fn run(self) -> Result<()> {
        match self.command {
            Command::Storm(args) => args.run().await,
            Command::Floor(args) => args.run().await,
            Command::Enrol(args) => args.run().await,
            Command::Reconnect(args) => args.run().await,
            Command::Uplink(args) => args.run().await,
            Command::Handshakes(args) => args.run().await,
            Command::FloorServer(args) => args.run().await,
            Command::Responder(args) => args.run().await,
        }
    }
}

/// Shows a report, and keeps it as JSON if that was asked for.
fn publish(report: &(impl Serialize + fmt::Display), json: Option<&Path>) -> Result<()> {
    if let Some(path) = json {
        keep(path, &device_sim::to_json(report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    write!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// Writes a file beside the one that is named and renames it into its place, so
/// that a link that is there is replaced and not followed.
fn keep(path: &Path, text: &str) -> Result<()> {
    ensure!(
        fs::metadata(path).map_or(true, |found| found.is_file()),
        "it is not a file"
    );
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    // Left by a run that was cut off, or put there by another: it is not opened.
    drop(fs::remove_file(&beside));
    fs::File::create_new(&beside)?.write_all(text.as_bytes())?;
    Ok(fs::rename(&beside, path)?)
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

#[cfg(test)]
mod tests;
