//! Which device this is, and where its server is.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use firstwake::Serial;
use firstwake::hardware::Pepper;
use firstwake_connector::{
    Broker, CodeSource, CredentialsFile, Device, Machine, Pace, Signing, Stored,
};

use super::source::{ProofArgs, SourceArgs, pepper_in};
use super::wrong_usage;

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// The MQTT server.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) broker: String,
    /// Send secrets unencrypted to a broker that is not this machine: everyone
    /// on the way can read them.
    #[arg(long)]
    pub(super) dangerous_plaintext: bool,
}

impl BrokerArgs {
    /// The server that was described. Wrong usage ends the program.
    fn broker(&self) -> Broker {
        let broker = if self.dangerous_plaintext {
            Broker::dangerous_plaintext(&self.broker)
        } else {
            Broker::loopback(&self.broker)
        };
        broker.unwrap_or_else(|error| wrong_usage(&error.to_string()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct OwnArgs {
    /// The device's serial number.
    #[arg(long)]
    pub(crate) serial: Serial,
    /// Where the credentials are kept, readable by their owner only.
    #[arg(long, value_name = "FILE")]
    pub(super) credentials: PathBuf,
}

impl OwnArgs {
    pub(crate) fn file(&self) -> CredentialsFile {
        CredentialsFile::at(&self.credentials)
    }

    /// A device that works with what is stored.
    pub(crate) fn device(&self, broker: &BrokerArgs) -> Device {
        Device {
            broker: broker.broker(),
            serial: self.serial.clone(),
            credentials: self.file(),
            machine: Machine::here(),
            signing: Signing::WhereAllowed,
            pace: Pace::default(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    proof: ProofArgs,
}

impl DeviceArgs {
    /// The device that was described. Wrong usage ends the program.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        Ok(Device {
            signing: self.proof.signing()?,
            ..self.own.device(&self.broker)
        })
    }

    /// Where the code is, if it is anywhere.
    pub(crate) fn source(&self) -> Option<CodeSource> {
        self.source.source()
    }
}

/// Under what this board's facts are hashed, if it is known.
#[derive(Debug, Args)]
pub(crate) struct BoardArgs {
    /// The device's serial number, with --credentials.
    #[arg(long, requires = "credentials")]
    pub(crate) serial: Option<Serial>,
    /// Where the device's credentials are: they hold the product's pepper.
    #[arg(long, value_name = "FILE", requires = "serial")]
    credentials: Option<PathBuf>,
    /// A file whose first line is the product's pepper.
    #[arg(long, value_name = "FILE", conflicts_with = "credentials")]
    pepper_file: Option<PathBuf>,
}

impl BoardArgs {
    pub(crate) fn pepper(&self) -> anyhow::Result<Option<Pepper>> {
        if let Some(file) = &self.pepper_file {
            return Ok(Some(pepper_in(file)?));
        }
        Ok(self
            .stored()?
            .and_then(|stored| stored.credentials().pepper().cloned()))
    }

    fn stored(&self) -> anyhow::Result<Option<Stored>> {
        let (Some(serial), Some(path)) = (&self.serial, &self.credentials) else {
            return Ok(None);
        };
        let stored = CredentialsFile::at(path).load(serial)?;
        let missing = || format!("there are no credentials in {}", path.display());
        Ok(Some(stored.with_context(missing)?))
    }
}
