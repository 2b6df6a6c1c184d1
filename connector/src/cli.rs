//! The command line of `firstwake-device`. No secret is ever an argument.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use firstwake::{DatastreamId, Serial};
use firstwake_connector::{Broker, CodeSource, CredentialsFile, Device, Origin, Pace};
use zeroize::Zeroizing;

/// Where the code may be, if no option says so.
const CODE_VARIABLE: &str = "FIRSTWAKE_CODE";

/// Activates this device over MQTT, keeps its credentials, publishes its values.
#[derive(Debug, Parser)]
#[command(name = "firstwake-device", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "The activation code may also be in the environment variable \
    FIRSTWAKE_CODE.\nExit status: 0 done, 1 refused or failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get credentials with an activation code, store them, and log in once.
    Activate {
        #[command(flatten)]
        device: DeviceArgs,
        /// How long to try while the server is away or busy.
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        give_up_after: u64,
    },
    /// Stay connected and publish values: lines `NAME VALUE` on standard input.
    Run {
        #[command(flatten)]
        device: DeviceArgs,
        /// The datastream that bare values belong to.
        #[arg(long, value_name = "NAME")]
        datastream: Option<DatastreamId>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// The MQTT server.
    #[arg(long, value_name = "HOST:PORT")]
    broker: String,
    /// Send the activation code and the API key unencrypted to a broker that
    /// is not this machine: everyone on the way can read them.
    #[arg(long)]
    dangerous_plaintext: bool,
    /// The device's serial number.
    #[arg(long)]
    serial: Serial,
    /// Where the credentials are kept, readable by their owner only.
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct SourceArgs {
    /// A file whose first line is the activation code.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// The first line of standard input is the activation code.
    #[arg(long)]
    code_stdin: bool,
    /// A file whose first line is the product secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The first line of standard input is the product secret.
    #[arg(long)]
    secret_stdin: bool,
}

impl DeviceArgs {
    /// The device that was described. Wrong usage ends the program.
    pub(crate) fn device(&self) -> Device {
        let broker = if self.dangerous_plaintext {
            Broker::dangerous_plaintext(&self.broker)
        } else {
            Broker::loopback(&self.broker)
        };
        Device {
            broker: broker.unwrap_or_else(|error| wrong_usage(&error.to_string())),
            serial: self.serial.clone(),
            credentials: CredentialsFile::at(&self.credentials),
            pace: Pace::default(),
        }
    }

    /// Where the code is, if it is anywhere. An option goes before the
    /// environment.
    pub(crate) fn source(&self) -> Option<CodeSource> {
        let SourceArgs {
            code_file,
            code_stdin,
            secret_file,
            secret_stdin,
        } = &self.source;
        let file = |path: &PathBuf| Origin::File(path.clone());
        code_file
            .as_ref()
            .map(|path| CodeSource::Code(file(path)))
            .or(code_stdin.then_some(CodeSource::Code(Origin::Stdin)))
            .or(secret_file
                .as_ref()
                .map(|path| CodeSource::Secret(file(path))))
            .or(secret_stdin.then_some(CodeSource::Secret(Origin::Stdin)))
            .or_else(code_in_environment)
    }

    /// As [`source`](Self::source), where there has to be one.
    pub(crate) fn required_source(&self) -> CodeSource {
        self.source().unwrap_or_else(|| {
            wrong_usage(&format!(
                "an activation code is needed: --code-file, --code-stdin, --secret-file, \
                 --secret-stdin or {CODE_VARIABLE}"
            ))
        })
    }
}

fn code_in_environment() -> Option<CodeSource> {
    let text = std::env::var_os(CODE_VARIABLE)?;
    let text = text.to_string_lossy().into_owned();
    Some(CodeSource::Code(Origin::Environment(Zeroizing::new(text))))
}

fn wrong_usage(sentence: &str) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, sentence)
        .exit()
}
