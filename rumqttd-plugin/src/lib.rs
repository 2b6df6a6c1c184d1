//! For those who already embed rumqttd: an auth handler that asks our
//! provisioner, and a responder on a local link that hands out the keys.
//!
//! Who gets in is decided as in `firstwake serve`. What happens afterwards is
//! stock rumqttd's, and it leaves much open, so use this only where you trust
//! every client that you let in:
//!
//! - There is no ACL. Whoever is in may subscribe `#` and read every key as it
//!   is handed out, publish a false answer to another device, and send requests
//!   in its name (which only makes the answer go out again, to the same topic).
//! - A refused peer gets no CONNACK and no reason; its connection is closed.
//! - Revoking a device keeps it out from the next CONNECT on. It ends no live
//!   session. Nor does an activation session end after its minute.
//! - The handler is told no address: all refusals count as from `0.0.0.0`.
//! - Nobody is told of a SUBSCRIBE: a device is answered only when it sends a
//!   request, and must subscribe before.
//! - One PUBLISH to a topic such as `é/x` ends the router, and per-device
//!   topics make it slower with the square of their number.
//!
//! `docs/plugin.md` has the whole list, with figures; `firstwake serve` is the
//! answer to it. This package must never decide who gets in, and never say more
//! than the response topic of the device that proved its code.
//!
//! ```no_run
//! # async fn embed(
//! #     provisioner: std::sync::Arc<firstwake::Provisioner>,
//! #     mut config: rumqttd::Config,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use firstwake_rumqttd::Plugin;
//!
//! let plugin = Plugin::new(provisioner);
//! for server in config.v4.iter_mut().flat_map(|servers| servers.values_mut()) {
//!     server.set_auth_handler(plugin.auth_handler());
//! }
//! let mut broker = rumqttd::Broker::new(config);
//! let (tx, rx) = broker.link(Plugin::LINK)?;
//! let responder = plugin.responder(tx, rx)?;
//! std::thread::spawn(move || broker.start());
//! let ended = responder.run().await;
//! # Err(ended.into())
//! # }
//! ```

mod kept;
mod os;
mod responder;

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;

use firstwake::{Activation, Admission, Attempt, NotAdmitted, Provisioner};
use rumqttd::local::{LinkRx, LinkTx};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub use self::os::OsEntropy;
pub use self::responder::{Responder, ResponderEnded};

use self::kept::Kept;
use self::os::Clock;

/// Where peers come from, as far as rumqttd tells.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What an auth handler returns: whether the peer is let in.
pub type Admitting = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Connects a provisioner to a stock rumqttd. Clones share their state.
#[derive(Clone)]
pub struct Plugin(Arc<Shared>);

struct Shared {
    provisioner: Arc<Provisioner>,
    kept: Kept<Arc<Mutex<Activation>>>,
    clock: Clock,
}

impl Plugin {
    /// The client id of the responder's link. The auth handler refuses it to
    /// peers: rumqttd ends a link when another client takes its id.
    pub const LINK: &str = "firstwake-responder";

    /// A plugin for one broker.
    pub fn new(provisioner: Arc<Provisioner>) -> Self {
        Self(Arc::new(Shared {
            provisioner,
            kept: Kept::new(),
            clock: Clock::start(),
        }))
    }

    /// What [`rumqttd::ServerSettings::set_auth_handler`] takes. Every listener
    /// of the broker needs it: one without lets everybody in.
    ///
    /// A login with a pending key confirms it before the peer is let in.
    pub fn auth_handler(
        &self,
    ) -> impl Fn(String, String, String) -> Admitting + Send + Sync + 'static + use<> {
        let shared = Arc::clone(&self.0);
        move |client_id, username, password| {
            let shared = Arc::clone(&shared);
            let password = Zeroizing::new(password);
            Box::pin(async move { shared.lets_in(&client_id, &username, &password).await })
        }
    }

    /// The responder, on a link that was made as [`Plugin::LINK`].
    ///
    /// Make it before [`rumqttd::Broker::start`], so that no request is missed.
    /// Waits for the router while its queue is full.
    pub fn responder(&self, tx: LinkTx, rx: LinkRx) -> Result<Responder, ResponderEnded> {
        Responder::new(Arc::clone(&self.0), tx, rx)
    }
}

impl Shared {
    async fn lets_in(&self, client_id: &str, username: &str, password: &str) -> bool {
        if client_id == Plugin::LINK {
            tracing::warn!("a peer tried to take the responder's client id");
            return false;
        }
        let attempt = Attempt {
            username: given(username),
            password: given(password).map(str::as_bytes),
            source: NOWHERE,
            hardware: None,
        };
        match self.provisioner.admit(attempt, self.clock.now()).await {
            Ok(Admission::Activation(activation)) => self.keep(activation),
            Ok(Admission::Device(login)) => {
                // The key is known to work, so it need not go out again: nobody
                // who comes later can have it repeated.
                self.kept.forget(login.product(), login.serial());
                true
            }
            Ok(Admission::Operator(_)) => true,
            // The username may be a key: it is not logged.
            Err(NotAdmitted::Refused(refusal)) => {
                tracing::debug!(%refusal, "a peer was refused");
                false
            }
            Err(NotAdmitted::Unavailable(error)) => {
                tracing::warn!(%error, "nobody can be let in");
                false
            }
        }
    }

    /// Keeps an activation for the responder.
    fn keep(&self, activation: Activation) -> bool {
        let (product, serial) = (activation.product().clone(), activation.serial().clone());
        let activation = Arc::new(Mutex::new(activation));
        let kept = self
            .kept
            .keep(&product, &serial, activation, self.clock.elapsed());
        if kept.is_err() {
            tracing::warn!(%product, %serial, "another product's device of this serial is being activated");
        }
        kept.is_ok()
    }
}

/// rumqttd hands over an absent field as an empty one.
fn given(field: &str) -> Option<&str> {
    (!field.is_empty()).then_some(field)
}
