//! `firstwake serve`: the server in the foreground.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::announce;
use super::form::Form;
use crate::config::{Config, File, Options};
use crate::output::complain;
use crate::signals::{FullFiles, Hangups, Stop};
use crate::systemd::{self, Sockets};

/// Open files below which a fleet will not fit.
const FEW_FILES: u64 = 4096;

/// Run the server until it is told to stop
#[derive(clap::Args)]
pub(super) struct Args {
    /// Read the configuration from this file; options override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

impl Args {
    pub(super) async fn run(self, data_dir: PathBuf, form: Form) -> Result<()> {
        start_log();
        raise_file_limit();
        // Before anything is announced: a signal from then on is a clean stop.
        let stop = Stop::listen()?;
        end_at_second_signal()?;
        let hangups = Hangups::listen()?;
        let _full_files = FullFiles::listen()?;
        let file = match &self.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let config = Config::new(data_dir, self.options, file, Sockets::take()?)?;
        let server = config.build().await?;
        if let Some(first) = server.first_operator() {
            announce(first);
        }
        for (name, address) in server.addresses() {
            let answer = json!({ "listener": name, "address": address });
            form.tell(&answer, &format!("{name} listening on {address}"))?;
        }
        systemd::ready();
        server.run(asked_to_stop(stop), hangups).await
    }
}

/// Waits for the first signal, which asks for a clean stop.
async fn asked_to_stop(mut stop: Stop) {
    stop.next().await;
    tracing::info!("stopping");
    systemd::stopping();
}

/// Ends the process at the second signal, wherever it is: on a thread of its
/// own, which no part of the server can hold up.
fn end_at_second_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut stop = {
        let _entered = runtime.enter();
        Stop::listen()?
    };
    std::thread::Builder::new()
        .name("second-signal".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                stop.next().await;
                stop.next().await;
            });
            complain("firstwake: stopped the hard way");
            std::process::exit(1);
        })?;
    Ok(())
}

/// Logs to standard error: `FIRSTWAKE_LOG` chooses what, such as
/// `firstwake_broker=debug`.
fn start_log() {
    // The router logs topics and client ids for every batch; the store, its
    // files; the pool, each connection that a database in trouble has ended.
    let quiet = "info,rumqttd=warn,fjall=warn,lsm_tree=warn,deadpool=error,deadpool_postgres=error";
    let filter = match std::env::var("FIRSTWAKE_LOG") {
        Err(_) => EnvFilter::new(quiet),
        Ok(wish) => EnvFilter::try_new(&wish).unwrap_or_else(|error| {
            complain(&format!(
                "firstwake: FIRSTWAKE_LOG is not understood: {error}"
            ));
            EnvFilter::new(quiet)
        }),
    };
    // Whatever is asked for: its statements' parameters are rows.
    let filter = match "tokio_postgres=warn".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written is lost, and nothing else.
        .log_internal_errors(false)
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
