//! An entrance of the configuration, opened: a listener and how peers come
//! through it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::Listener;
use super::tcp::Tcp;
use super::tls::{Inside, Tls, provider};
use super::websocket::{Plain, Rules, Secure};
use crate::broker::Broker;
use crate::certificate::{Certificate, Files};
use crate::config::{Entrance, Plaintext, Protocol};
use crate::connection::Mqtt;
use crate::http::{Face, Http};
use crate::limits::Limits;
use crate::origins::Origins;

/// A listener that is bound, and what is spoken on it.
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) listener: Listener,
    way: Way,
}

enum Way {
    Tcp(Tcp),
    Tls(Tls),
    WebSocket(Plain),
    SecureWebSocket(Secure),
    Http(Tcp, Face),
    Https(Tls, Face),
}

impl Entrance {
    /// Secrets stay on this machine unless they are encrypted, or somebody
    /// said that they need not be.
    pub(crate) fn check(&self) -> Result<()> {
        let address = self.socket.address()?;
        if address.ip().is_loopback() {
            return Ok(());
        }
        let plain = match &self.protocol {
            Protocol::Http => bail!(
                "plain HTTP on {address} shows passwords and tokens to whoever listens in: \
                 use HTTPS (--https) or a loopback address"
            ),
            Protocol::Mqtt(Plaintext::Loopback) | Protocol::WebSocket(Plaintext::Loopback, _) => {
                "MQTT"
            }
            Protocol::Xively(Plaintext::Loopback) => "HTTP",
            _ => return Ok(()),
        };
        bail!(
            "plain {plain} on {address} shows codes and keys to whoever listens in: \
             use TLS or a loopback address, or accept it with --dangerous-plaintext"
        );
    }
}

impl Door {
    /// Reads the certificate, if there is one, and binds. Doors that name the
    /// same files share their certificate.
    pub(crate) fn open(
        entrance: Entrance,
        certificates: &mut Vec<Arc<Certificate>>,
        limits: &Limits,
    ) -> Result<Self> {
        let Entrance { socket, protocol } = entrance;
        let rules = |origins: Origins| Rules {
            origins: Arc::new(origins),
            packet: limits.device_packet_bytes.max(limits.operator_packet_bytes) as usize,
        };
        let name = protocol.name();
        let way = match protocol {
            Protocol::Mqtt(_) => Way::Tcp(Tcp),
            Protocol::Mqtts(files) => {
                Way::Tls(Tls::new(certificate(files, certificates)?, Inside::Mqtt)?)
            }
            Protocol::WebSocket(_, origins) => Way::WebSocket(Plain(rules(origins))),
            Protocol::WebSockets(files, origins) => {
                let tls = Tls::new(certificate(files, certificates)?, Inside::Http)?;
                Way::SecureWebSocket(Secure(tls, rules(origins)))
            }
            Protocol::Http => Way::Http(Tcp, Face::Operators),
            Protocol::Https(files) => {
                let tls = Tls::new(certificate(files, certificates)?, Inside::Http)?;
                Way::Https(tls, Face::Everybody)
            }
            Protocol::Xively(_) => Way::Http(Tcp, Face::Devices),
        };
        let address = socket.address()?;
        let listener = Listener::open(socket).with_context(|| {
            format!(
                "{address} cannot be listened on (--{name} ADDR takes another, --{name} off none)"
            )
        })?;
        Ok(Self {
            name,
            listener,
            way,
        })
    }

    /// Begins to accept.
    pub(crate) fn serve(
        self,
        services: &mut JoinSet<()>,
        broker: &Arc<Broker>,
        connections: &TaskTracker,
    ) {
        let Self { listener, way, .. } = self;
        let (broker, connections) = (Arc::clone(broker), connections.clone());
        match way {
            Way::Tcp(way) => services.spawn(listener.serve(way, Mqtt, broker, connections)),
            Way::Tls(way) => services.spawn(listener.serve(way, Mqtt, broker, connections)),
            Way::WebSocket(way) => services.spawn(listener.serve(way, Mqtt, broker, connections)),
            Way::SecureWebSocket(way) => {
                services.spawn(listener.serve(way, Mqtt, broker, connections))
            }
            Way::Http(way, face) => {
                let http = Http::new(face, &broker);
                services.spawn(listener.serve(way, http, broker, connections))
            }
            Way::Https(way, face) => {
                let http = Http::new(face, &broker);
                services.spawn(listener.serve(way, http, broker, connections))
            }
        };
    }
}

fn certificate(files: Files, known: &mut Vec<Arc<Certificate>>) -> Result<Arc<Certificate>> {
    if let Some(found) = known.iter().find(|known| *known.files() == files) {
        return Ok(Arc::clone(found));
    }
    let new = Arc::new(Certificate::load(files, provider())?);
    known.push(Arc::clone(&new));
    Ok(new)
}
