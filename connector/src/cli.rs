//! The command line of `firstwake-device`. No secret is ever an argument.

mod own;
mod source;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use firstwake::hardware::FactSet;
use firstwake::signed::Audience;
use firstwake::{DatastreamId, Serial};
use firstwake_connector::Device;

use self::own::BrokerArgs;
pub(crate) use self::own::{BoardArgs, DeviceArgs, OwnArgs};

/// Activates this device over MQTT, keeps its credentials, publishes its
/// values, signs its requests.
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
    /// Show the facts that tell this board from a copy.
    Identity {
        #[command(flatten)]
        board: BoardArgs,
        /// How to show them.
        #[arg(long, value_name = "FORM", default_value = "text")]
        output: Form,
    },
    /// Make a key pair (or get an API key) with an activation code, store it,
    /// and log in once.
    Activate {
        #[command(flatten)]
        device: DeviceArgs,
        #[command(flatten)]
        patience: PatienceArgs,
    },
    /// Stay connected, publish values (lines `NAME VALUE` on standard input),
    /// and take commands.
    Run {
        #[command(flatten)]
        device: DeviceArgs,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Print a token, fresh and good for one use: for a request to a server of
    /// one's own, or for a login.
    Sign {
        #[command(flatten)]
        own: OwnArgs,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Ask the server for a licence token, or check one offline.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Licence {
        #[command(subcommand)]
        verify: Option<LicenceCommand>,
        #[command(flatten)]
        ask: LicenceArgs,
    },
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct PatienceArgs {
    /// How long to try while the server is away or busy.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) give_up_after: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The datastream that bare values belong to.
    #[arg(long, value_name = "NAME")]
    pub(crate) datastream: Option<DatastreamId>,
    /// Run this program for each command, in place of printing a line. It has
    /// the payload on its standard input, and in its environment
    /// FIRSTWAKE_COMMAND, FIRSTWAKE_FEED and FIRSTWAKE_SERIAL.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) on_command: Option<PathBuf>,
    /// When a program is ended that has not ended by itself.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "on_command"
    )]
    pub(crate) command_timeout: u64,
    /// Take no commands.
    #[arg(long, conflicts_with = "on_command")]
    pub(crate) no_commands: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The name of the server that is asked, such as https://api.example.com.
    #[arg(long, value_name = "NAME", required_unless_present = "login")]
    pub(crate) audience: Option<Audience>,
    /// The request's method, such as GET.
    #[arg(long, required_unless_present = "login")]
    pub(crate) method: Option<String>,
    /// The request's path and query, exactly as they are sent.
    #[arg(long, value_name = "PATH", required_unless_present = "login")]
    pub(crate) target: Option<String>,
    /// The request's body; `-` is standard input. None is an empty body.
    #[arg(long, value_name = "FILE")]
    pub(crate) body_file: Option<PathBuf>,
    /// A token to log in with, over MQTT as the password, over HTTP as Bearer.
    #[arg(long, conflicts_with_all = ["audience", "method", "target", "body_file"])]
    pub(crate) login: bool,
}

/// All that is needed is required unless there is a subcommand, which is more
/// than the types of shared arguments can say.
#[derive(Debug, Args)]
pub(crate) struct LicenceArgs {
    /// The MQTT server.
    #[arg(long, value_name = "HOST:PORT", required = true)]
    broker: Option<String>,
    /// Send secrets unencrypted to a broker that is not this machine: everyone
    /// on the way can read them.
    #[arg(long)]
    dangerous_plaintext: bool,
    /// The device's serial number.
    #[arg(long, required = true)]
    serial: Option<Serial>,
    /// Where the credentials are kept, readable by their owner only.
    #[arg(long, value_name = "FILE", required = true)]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) patience: PatienceArgs,
    /// Where to keep it; else it is printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl LicenceArgs {
    /// The device that was described. Wrong usage ends the program.
    pub(crate) fn device(&self) -> Device {
        let (Some(broker), Some(serial), Some(credentials)) =
            (&self.broker, &self.serial, &self.credentials)
        else {
            wrong_usage("expected --broker, --serial and --credentials, or `licence verify`");
        };
        let broker = BrokerArgs {
            broker: broker.clone(),
            dangerous_plaintext: self.dangerous_plaintext,
        };
        let own = OwnArgs {
            serial: serial.clone(),
            credentials: credentials.clone(),
        };
        own.device(&broker)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LicenceCommand {
    /// Check a licence without a network: signature, dates, serial, board.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The licence.
    pub(crate) licence: PathBuf,
    /// The server's public key, as PEM or JWK.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    #[command(flatten)]
    pub(crate) board: BoardArgs,
    /// Facts that may be others than they were, with commas between them.
    #[arg(long, value_name = "FACTS", default_value_t = FactSet::replaceable())]
    pub(crate) may_change: FactSet,
}

pub(crate) fn wrong_usage(sentence: &str) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, sentence)
        .exit()
}
