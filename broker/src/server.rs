//! `Config → build → run`: a server from its options to its end.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Connections};
use crate::bus::{Bus, Watch};
use crate::control::socket;
use crate::edge::Clock;
use crate::home::{FirstOperator, Home, Lock};
use crate::keep::Seats;
use crate::limits::Limits;
use crate::listen::Listener;
use crate::mqtt::packet::Farewell;
use crate::sessions::Sessions;
use crate::watchers;
use crate::wills::Wills;

/// How long sessions have to end once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) mqtt: SocketAddr,
    pub(crate) plaintext: Plaintext,
    pub(crate) limits: Limits,
}

/// Where MQTT may be spoken without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plaintext {
    /// Only where nobody listens in.
    Loopback,
    /// Anywhere: codes and keys can be read on the way.
    Dangerous,
}

/// A server that is bound and not yet serving.
pub(crate) struct Server {
    lock: Lock,
    broker: Arc<Broker>,
    router: Watch,
    listener: Listener,
    control: UnixListener,
    first_operator: Option<FirstOperator>,
}

impl Config {
    /// Takes the data directory, opens the registry, binds the sockets.
    pub(crate) async fn build(self) -> Result<Server> {
        let Self {
            data_dir,
            mqtt,
            plaintext,
            limits,
        } = self;
        if !mqtt.ip().is_loopback() && plaintext == Plaintext::Loopback {
            bail!(
                "plain MQTT on {mqtt} shows codes and keys to whoever listens in: \
                 use a loopback address, or accept it with --dangerous-plaintext"
            );
        }
        let clock = Clock::start();
        let home = Home::prepare(&data_dir)?;
        let lock = match home.try_lock()? {
            Ok(lock) => lock,
            Err(in_use) => bail!(
                "the data directory {} is in use by process {}",
                home.path().display(),
                in_use.by
            ),
        };
        let listener =
            Listener::bind(mqtt).with_context(|| format!("{mqtt} cannot be listened on"))?;
        let (provisioner, first_operator) = lock.open(clock.now()).await?;
        let (bus, router) = Bus::start()?;
        let control = socket::bind(lock.home()).context("the control socket cannot be made")?;
        let broker = Arc::new(Broker {
            provisioner,
            sessions: Arc::new(Sessions::default()),
            seats: Arc::new(Seats::default()),
            wills: Wills::default(),
            bus,
            clock,
            limits,
            connections: Connections::from(clock.moment()),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        Ok(Server {
            lock,
            broker,
            router,
            listener,
            control,
            first_operator,
        })
    }
}

impl Server {
    /// The real address of the MQTT listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What the first run made, to be told once.
    pub(crate) fn first_operator(&self) -> Option<&FirstOperator> {
        self.first_operator.as_ref()
    }

    /// Serves until `stop`, then lets sessions end. An error is a part that
    /// the server cannot do without.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Result<()> {
        let Self {
            lock,
            broker,
            router,
            listener,
            control,
            first_operator: _,
        } = self;
        let tasks = broker.tasks.clone();
        let mut services = JoinSet::new();
        services.spawn(listener.serve(Arc::clone(&broker), tasks.clone()));
        services.spawn(socket::serve(control, Arc::clone(&broker), tasks.clone()));
        services.spawn(watchers::sweep(Arc::clone(&broker)));
        services.spawn(watchers::expire(Arc::clone(&broker)));
        services.spawn(watchers::enforce(Arc::clone(&broker)));
        services.spawn(watchers::report(Arc::clone(&broker)));
        let outcome = tokio::select! {
            () = stop => Ok(()),
            ended = router.ended() => Err(anyhow!(ended)),
            _ = services.join_next() => Err(anyhow!("a part of the server has ended")),
        };
        services.shutdown().await;
        tasks.close();
        broker.stopping.cancel();
        broker.sessions.end_all(Farewell::ShuttingDown);
        if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
            let left = tasks.len();
            tracing::warn!(left, "connections were still open when the server stopped");
        }
        // The registry writes what it accepted before the lock is let go.
        drop(broker);
        drop(lock);
        outcome
    }
}
