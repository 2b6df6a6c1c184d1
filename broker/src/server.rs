//! `Config → build → run`: a server from its options to its end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::{Rate, Registry, Timestamp};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Connections};
use crate::bus::{Bus, Watch};
use crate::certificate::{self, Certificate};
use crate::config::Config;
use crate::control::socket;
use crate::database::Company;
use crate::edge::{Clock, OsEntropy};
use crate::gate::Gate;
use crate::home::{FirstOperator, Home, Lock};
use crate::keep::Seats;
use crate::listen::door::Door;
use crate::mqtt::packet::Farewell;

use crate::http::{Budget, Streams};
use crate::paces::Paces;
use crate::sessions::Sessions;
use crate::signals::Hangups;
use crate::values::Values;
use crate::wills::Wills;
use crate::{neighbours, systemd, watchers};

/// How long sessions have to end once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// A server that is bound and not yet serving.
pub(crate) struct Server {
    lock: Lock,
    broker: Arc<Broker>,
    router: Watch,
    doors: Vec<Door>,
    certificates: Vec<Arc<Certificate>>,
    control: UnixListener,
    first_operator: Option<FirstOperator>,
}

impl Config {
    /// Takes the data directory, opens the registry, binds the sockets.
    pub(crate) async fn build(self) -> Result<Server> {
        let Self {
            data_dir,
            database,
            entrances,
            limits,
        } = self;
        for entrance in &entrances {
            entrance.check()?;
        }
        let mut certificates = Vec::new();
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
        if let Some(database) = &database {
            home.settle(database)?;
        }
        let open = |entrance| Door::open(entrance, &mut certificates, &limits);
        let doors = entrances.into_iter().map(open).collect::<Result<_>>()?;
        let (provisioner, first_operator) = lock.open(Company::Others, clock.now()).await?;
        let clock = clock.guarded(newest_event(&**provisioner.registry()).await?);
        let clock = match provisioner.registry().is_shared() {
            true => clock.among_others(),
            false => clock,
        };
        let failures = Rate::per_minute(limits.failures_per_minute, limits.failures_burst);
        let provisioner = provisioner
            .with_failures(failures)
            .serving_since(clock.now());
        let bans = Arc::clone(provisioner.bans());
        let gate = Arc::new(Gate::new(&limits, bans, clock));
        let (bus, router) = Bus::start()?;
        let control = socket::bind(lock.home()).context("the control socket cannot be made")?;
        let broker = Arc::new(Broker {
            provisioner,
            sessions: Arc::new(Sessions::default()),
            seats: Arc::new(Seats::default()),
            wills: Wills::default(),
            values: Values::default(),
            paces: Paces::default(),
            peers: Arc::default(),
            streams: Streams::default(),
            bodies: Budget::new(limits.http_body_bytes),
            answers: Budget::new(limits.http_answer_bytes),
            bus,
            gate,
            clock,
            limits,
            connections: Connections::begin(&OsEntropy),
            rates: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        Ok(Server {
            lock,
            broker,
            router,
            doors,
            certificates,
            control,
            first_operator,
        })
    }
}

/// When the newest event was written.
async fn newest_event(registry: &dyn Registry) -> Result<Option<Timestamp>> {
    let newest = *registry.newest().borrow();
    let events = registry.events(newest.saturating_sub(1), 1).await?;
    Ok(events.first().map(|event| event.body.at))
}

impl Server {
    /// What is spoken where, by real addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let addresses = self.doors.iter();
        addresses.map(|door| (door.name, door.listener.address()))
    }

    /// What the first run made, to be told once.
    pub(crate) fn first_operator(&self) -> Option<&FirstOperator> {
        self.first_operator.as_ref()
    }

    /// Serves until `stop`, then lets sessions end. An error is a part that
    /// the server cannot do without.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>, hangups: Hangups) -> Result<()> {
        let Self {
            lock,
            broker,
            router,
            doors,
            certificates,
            control,
            first_operator: _,
        } = self;
        let tasks = broker.tasks.clone();
        let mut services = JoinSet::new();
        for door in doors {
            door.serve(&mut services, &broker, &tasks);
        }
        services.spawn(socket::serve(control, Arc::clone(&broker), tasks.clone()));
        services.spawn(watchers::write_values(Arc::clone(&broker)));
        services.spawn(watchers::sweep(Arc::clone(&broker)));
        services.spawn(watchers::expire(Arc::clone(&broker)));
        services.spawn(watchers::enforce(Arc::clone(&broker)));
        services.spawn(neighbours::heed(Arc::clone(&broker)));
        services.spawn(watchers::renew_leases(Arc::clone(&broker)));
        services.spawn(watchers::drop_ended(Arc::clone(&broker)));
        services.spawn(watchers::index_codes(Arc::clone(&broker)));
        services.spawn(watchers::report(Arc::clone(&broker)));
        services.spawn(certificate::watch(certificates, hangups));
        services.spawn(systemd::watchdog());
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
        broker
            .values
            .write(&broker.provisioner, broker.clock.now())
            .await;
        // The registry writes what it accepted before the lock is let go.
        drop(broker);
        drop(lock);
        outcome
    }
}
