//! What a server is started with: the configuration file, and the options that
//! override it.
//!
//! The file holds no secret; certificates and keys are named by path. An
//! unknown key is refused, so that a misspelt limit is not a missing one. What
//! comes out of here is complete: nothing later asks whether an option was
//! given.

mod file;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use thiserror::Error;

pub(crate) use file::File;
use file::{Https, Mqtts};

use crate::certificate::Files;
use crate::database::Database;
use crate::limits::Limits;
use crate::origins::Origins;
use crate::systemd::Sockets;

/// Plain protocols stay on this machine unless somebody says otherwise; what is
/// encrypted is there for everybody.
const MQTT: Where = at(Ipv4Addr::LOCALHOST, 1883);
const MQTTS: Where = at(Ipv4Addr::UNSPECIFIED, 8883);
const WEBSOCKET: Where = at(Ipv4Addr::LOCALHOST, 8083);
const WEBSOCKETS: Where = at(Ipv4Addr::UNSPECIFIED, 8084);
const HTTP: Where = at(Ipv4Addr::LOCALHOST, 8080);
const HTTPS: Where = at(Ipv4Addr::UNSPECIFIED, 8443);
const XIVELY: Where = at(Ipv4Addr::LOCALHOST, 8081);

const fn at(ip: Ipv4Addr, port: u16) -> Where {
    Where::At(SocketAddr::V4(SocketAddrV4::new(ip, port)))
}

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Where the registry lies, if that is said.
    pub(crate) database: Option<Database>,
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) limits: Limits,
}

/// One way in.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) socket: Socket,
    pub(crate) protocol: Protocol,
}

/// What peers speak there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt(Plaintext),
    Mqtts(Files),
    WebSocket(Plaintext, Origins),
    WebSockets(Files, Origins),
    /// Operators' HTTP: never in the clear but on this machine.
    Http,
    /// The same with TLS, and with it what devices ask.
    Https(Files),
    /// What devices ask over HTTP, for firmware without TLS.
    Xively(Plaintext),
}

/// Where a listener's socket comes from.
#[derive(Debug)]
pub(crate) enum Socket {
    Bind(SocketAddr),
    /// From the service manager, which keeps it while the server restarts.
    Inherited(TcpListener),
}

/// Where devices may be spoken to without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plaintext {
    /// Only where nobody listens in.
    #[default]
    Loopback,
    /// Anywhere: codes and keys can be read on the way.
    Dangerous,
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Where {
    At(SocketAddr),
    Off,
}

/// Neither an address nor `off`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is no address: write IP:PORT, such as 127.0.0.1:1883 or [::]:8883, or off")]
pub(crate) struct NoAddress(String);

/// The options of `serve` that are about listening.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Where to listen for MQTT; port 0 takes a free one, `off` turns it off
    /// [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt: Option<Where>,
    /// Where to listen for MQTT over TLS
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtts: Option<Where>,
    /// Where to listen for MQTT over WebSocket, at the path /mqtt
    #[arg(long, value_name = "ADDR")]
    pub(crate) ws: Option<Where>,
    /// Where to listen for MQTT over WebSocket and TLS, at the path /mqtt
    #[arg(long, value_name = "ADDR")]
    pub(crate) wss: Option<Where>,
    /// Where to listen for HTTP from this machine: the API of operators
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<Where>,
    /// Where to listen for HTTP over TLS: the API of operators, and what
    /// devices ask under /v2
    #[arg(long, value_name = "ADDR")]
    pub(crate) https: Option<Where>,
    /// Where to listen for HTTP from devices without TLS, under /v2
    #[arg(long, value_name = "ADDR")]
    pub(crate) xively: Option<Where>,
    /// The server's certificate with its chain, PEM; read again on SIGHUP and
    /// when it changes
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Keep the registry in this PostgreSQL database, which other servers may
    /// share, and not in the data directory; without a password in it
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// Speak with devices without TLS on an address that is not loopback:
    /// whoever listens in reads codes and keys
    #[arg(long)]
    pub(crate) dangerous_plaintext: bool,
}

impl Config {
    /// Puts together what the file says, what the options say instead, and the
    /// sockets that were handed over, which stand for an address.
    pub(crate) fn new(
        data_dir: PathBuf,
        options: Options,
        file: File,
        mut handed: Sockets,
    ) -> Result<Self> {
        let File {
            mqtt,
            mqtts,
            websocket,
            websockets,
            http,
            https,
            xively,
            registry,
            limits,
        } = file;
        let plaintext = |dangerous| match options.dangerous_plaintext || dangerous {
            true => Plaintext::Dangerous,
            false => Plaintext::Loopback,
        };
        let named = options.cert.zip(options.key);
        let named = named.map(|(certificate, key)| Files { certificate, key });

        // The sockets of a listener: those handed over under its name, or what
        // its option says, or its section.
        let mut sockets = |name, option: Option<Where>, section: Option<Where>| {
            listener_sockets(handed.named(name), option.or(section))
        };
        let mut entrances = Vec::new();
        let mut enter = |sockets: Vec<Socket>, protocol: Protocol| {
            entrances.extend(sockets.into_iter().map(|socket| Entrance {
                socket,
                protocol: protocol.clone(),
            }));
        };

        // There without being asked for, as is HTTP.
        let mqtt = mqtt.unwrap_or_default();
        let mqtt_sockets = sockets("mqtt", options.mqtt, Some(mqtt.listen.unwrap_or(MQTT)));
        let plain = plaintext(mqtt.dangerous_plaintext);
        enter(mqtt_sockets, Protocol::Mqtt(plain));

        let listen = mqtts.as_ref().map(|it| it.listen.unwrap_or(MQTTS));
        let mqtts_files = mqtts.and_then(Mqtts::files);
        let mqtts_sockets = sockets("mqtts", options.mqtts, listen);
        if !mqtts_sockets.is_empty() {
            let files = named.clone().or(mqtts_files.clone());
            let files = files.context(no_certificate("mqtts"))?;
            enter(mqtts_sockets, Protocol::Mqtts(files));
        }

        let listen = websocket.as_ref().map(|it| it.listen.unwrap_or(WEBSOCKET));
        let websocket = websocket.unwrap_or_default();
        let plain = plaintext(websocket.dangerous_plaintext);
        let protocol = Protocol::WebSocket(plain, websocket.origins);
        enter(sockets("ws", options.ws, listen), protocol);

        let listen = websockets
            .as_ref()
            .map(|it| it.listen.unwrap_or(WEBSOCKETS));
        let websockets = websockets.unwrap_or_default();
        let wss_sockets = sockets("wss", options.wss, listen);
        if !wss_sockets.is_empty() {
            let origins = websockets.origins.clone();
            let files = named.clone().or(websockets.files());
            let files = files.or(mqtts_files.clone());
            let files = files.context(no_certificate("websockets"))?;
            enter(wss_sockets, Protocol::WebSockets(files, origins));
        }

        let listen = http.unwrap_or_default().listen.unwrap_or(HTTP);
        enter(sockets("http", options.http, Some(listen)), Protocol::Http);

        let listen = https.as_ref().map(|it| it.listen.unwrap_or(HTTPS));
        let https_sockets = sockets("https", options.https, listen);
        if !https_sockets.is_empty() {
            let files = named.or(https.and_then(Https::files)).or(mqtts_files);
            let files = files.context(no_certificate("https"))?;
            enter(https_sockets, Protocol::Https(files));
        }

        let listen = xively.as_ref().map(|it| it.listen.unwrap_or(XIVELY));
        let plain = plaintext(xively.unwrap_or_default().dangerous_plaintext);
        let xively_sockets = sockets("xively", options.xively, listen);
        enter(xively_sockets, Protocol::Xively(plain));

        handed.finish()?;
        if entrances.is_empty() {
            bail!(
                "there is nothing to listen on: turn a listener on (--mqtt, --mqtts, --ws, --wss, \
                 --http, --https, --xively)"
            );
        }
        Ok(Self {
            data_dir,
            database: named_database(options.postgres, registry)?,
            entrances,
            limits,
        })
    }
}

/// An option that names another database leaves nothing of the file's.
fn named_database(option: Option<String>, section: Option<Database>) -> Result<Option<Database>> {
    let database = option.map(Database::at).or(section);
    if let Some(database) = &database {
        database.check()?;
    }
    Ok(database)
}

fn listener_sockets(handed: Vec<TcpListener>, place: Option<Where>) -> Vec<Socket> {
    if !handed.is_empty() {
        return handed.into_iter().map(Socket::Inherited).collect();
    }
    match place {
        Some(Where::At(address)) => vec![Socket::Bind(address)],
        Some(Where::Off) | None => Vec::new(),
    }
}

fn no_certificate(section: &str) -> String {
    format!(
        "a listener with TLS needs a certificate: --cert FILE --key FILE, or certificate and key \
         under [{section}]; `firstwake cert dev` makes one to try"
    )
}

impl Protocol {
    /// What it is called in what the server prints; its option is called so
    /// too.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mqtt(_) => "mqtt",
            Self::Mqtts(_) => "mqtts",
            Self::WebSocket(..) => "ws",
            Self::WebSockets(..) => "wss",
            Self::Http => "http",
            Self::Https(_) => "https",
            Self::Xively(_) => "xively",
        }
    }
}

impl Socket {
    /// The address that is asked for, or was.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Bind(address) => Ok(*address),
            Self::Inherited(listener) => listener.local_addr(),
        }
    }
}

impl FromStr for Where {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| NoAddress(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Where {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
