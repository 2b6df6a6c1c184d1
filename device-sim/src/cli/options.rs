//! What several commands are told alike.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use device_sim::floor::{self, Identity, Speaks};
use device_sim::{TlsClient, TlsResumption, TlsSettings, TlsVersion, Transport};
use firstwake::ProductSecret;
use zeroize::Zeroizing;

/// What carries MQTT.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// Speak TLS, and trust the certificates in this file (PEM).
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    #[command(flatten)]
    pub(super) manner: TlsManner,
}

/// How TLS is spoken.
#[derive(Debug, Args)]
pub(super) struct TlsManner {
    /// The name that the broker's certificate must have.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    tls_name: String,
    /// The one version that is offered.
    #[arg(long, value_name = "VERSION", default_value = "1.3")]
    tls_version: VersionArg,
    /// Resume sessions where the broker lets it: the fleet shares its tickets.
    #[arg(long)]
    tls_resume: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VersionArg {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl TlsArgs {
    pub(super) fn transport(self) -> Result<Transport> {
        match self.tls_ca {
            None => Ok(Transport::Plain),
            Some(ca) => Ok(Transport::Tls(self.manner.client(ca)?)),
        }
    }
}

impl TlsManner {
    pub(super) fn client(self, ca: PathBuf) -> Result<TlsClient> {
        let settings = TlsSettings {
            ca,
            name: self.tls_name,
            version: match self.tls_version {
                VersionArg::Tls12 => TlsVersion::Tls12,
                VersionArg::Tls13 => TlsVersion::Tls13,
            },
            resumption: match self.tls_resume {
                false => TlsResumption::Never,
                true => TlsResumption::WherePossible,
            },
        };
        Ok(TlsClient::new(settings)?)
    }
}

/// Who the floor is, over TLS.
#[derive(Debug, Args)]
pub(super) struct IdentityArgs {
    /// The floor speaks TLS with this certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl IdentityArgs {
    pub(super) fn identity(self) -> Option<Identity> {
        let (cert, key) = self.cert.zip(self.key)?;
        Some(Identity { cert, key })
    }
}

/// A broker, or the floor in its place.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR", required_unless_present = "floor")]
    broker: Option<String>,
    /// In place of a broker, a server that does the least any must.
    #[arg(long, conflicts_with = "broker")]
    floor: bool,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// Where to call, and what must live as long as it is called.
pub(super) struct Reached {
    pub(super) address: SocketAddr,
    _floor: Option<floor::Child>,
}

impl ServerArgs {
    pub(super) async fn reach(self) -> Result<Reached> {
        match self.broker {
            Some(broker) => Ok(Reached {
                address: look_up(&broker).await?,
                _floor: None,
            }),
            None => {
                let child = start_floor(self.identity.identity(), Speaks::Mqtt)?;
                Ok(Reached {
                    address: child.address(),
                    _floor: Some(child),
                })
            }
        }
    }
}

pub(super) fn start_floor(identity: Option<Identity>, speaks: Speaks) -> Result<floor::Child> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    Ok(floor::Child::start(&program, identity.as_ref(), speaks)?)
}

/// The closed loop, and the report.
#[derive(Debug, Args)]
pub(super) struct LoopArgs {
    /// How many devices are under way at any time (closed loop).
    #[arg(long, value_name = "N", default_value = "200")]
    pub(super) in_flight: NonZeroUsize,
    /// How long a single step of a device may take.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) step_deadline: Duration,
    /// Write the report to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

pub(super) async fn look_up(broker: &str) -> Result<SocketAddr> {
    let mut addresses = tokio::net::lookup_host(broker)
        .await
        .with_context(|| format!("{broker} is no address of a broker"))?;
    match addresses.next() {
        Some(address) => Ok(address),
        None => bail!("{broker} has no address"),
    }
}

/// A secret in a file; space around it is not part of it.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// A product secret in a file.
pub(super) fn read_product_secret(path: &Path) -> Result<ProductSecret> {
    ProductSecret::parse(&read_secret(path)?)
        .with_context(|| format!("{} holds no secret", path.display()))
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "this is a number of seconds above 0".to_owned())
}
