//! `firstwake serve`: the server in the foreground.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use super::announce;
use crate::limits::Limits;
use crate::output::{complain, say};
use crate::server::{Config, Plaintext};
use crate::signals::Stop;

/// Open files below which a fleet will not fit.
const FEW_FILES: u64 = 4096;

/// Run the server until it is told to stop
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to listen for MQTT; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Speak MQTT without TLS on an address that is not loopback: whoever
    /// listens in reads codes and keys
    #[arg(long)]
    dangerous_plaintext: bool,
    /// Set a limit, such as handshakes_per_source=100; docs/limits.md lists them
    #[arg(long = "limit", value_name = "KEY=N", value_parser = limit)]
    limits: Vec<(String, u64)>,
}

fn limit(text: &str) -> Result<(String, u64), String> {
    text.split_once('=')
        .and_then(|(key, number)| Some((key.to_owned(), number.parse().ok()?)))
        .ok_or_else(|| "use KEY=N, such as handshakes_per_source=100".to_owned())
}

/// The limits as they are, but for those that were given.
fn limits(given: Vec<(String, u64)>) -> Result<Limits> {
    let given = given.into_iter().map(|(key, number)| (key, number.into()));
    serde_json::from_value(serde_json::Value::Object(given.collect()))
        .context("a --limit is not understood")
}

impl Args {
    pub(super) async fn run(self, data_dir: PathBuf) -> Result<()> {
        start_log();
        raise_file_limit();
        // Before anything is announced: a signal from then on is a clean stop.
        let stop = Stop::listen()?;
        let config = Config {
            data_dir,
            mqtt: self.mqtt,
            plaintext: if self.dangerous_plaintext {
                Plaintext::Dangerous
            } else {
                Plaintext::Loopback
            },
            limits: limits(self.limits)?,
        };
        let server = config.build().await?;
        if let Some(first) = server.first_operator() {
            announce(first);
        }
        say(&format!("mqtt listening on {}", server.address()))?;
        server.run(asked_to_stop(stop)).await
    }
}

/// Waits for the first signal, which asks for a clean stop. The second ends the
/// process where it is.
async fn asked_to_stop(mut stop: Stop) {
    stop.next().await;
    tracing::info!("stopping");
    tokio::spawn(async move {
        stop.next().await;
        complain("firstwake: stopped the hard way");
        std::process::exit(1);
    });
}

/// Logs to standard error: `FIRSTWAKE_LOG` chooses what, such as
/// `firstwake_broker=debug`.
fn start_log() {
    // The router logs topics and client ids for every batch; the store, its files.
    let quiet = "info,rumqttd=warn,fjall=warn,lsm_tree=warn";
    let filter = match std::env::var("FIRSTWAKE_LOG") {
        Err(_) => EnvFilter::new(quiet),
        Ok(wish) => EnvFilter::try_new(&wish).unwrap_or_else(|error| {
            complain(&format!(
                "firstwake: FIRSTWAKE_LOG is not understood: {error}"
            ));
            EnvFilter::new(quiet)
        }),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Only a second subscriber could make this fail.
    drop(log.try_init());
}

/// Takes as many open files as the system allows: each device holds one.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < FEW_FILES => tracing::warn!(
            files,
            "few files may be open at once, so few devices can be connected: raise the limit (ulimit -Hn, LimitNOFILE=)"
        ),
        Ok(files) => tracing::debug!(files, "files that may be open at once"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
