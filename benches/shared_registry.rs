//! How fast servers write to a registry in PostgreSQL, one of them and two.
//!
//! `scripts/with-postgres cargo run --release -p firstwake --features postgres
//! --example shared_registry` prints one JSON object a line:
//! `{"servers":1,"write":"device","writers":64,"count":1,"elapsed_us":1}`.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "what measures the store needs a clock for that"
)]
#![expect(clippy::print_stdout, reason = "whoever measures reads what it prints")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use deadpool_postgres::{Manager, Pool};
use firstwake::hardware::Facts;
use firstwake::registry::postgres::{Dial, Line};
use firstwake::registry::{
    Batch, Commit, HintCredentials, Postgres, Registrant, Registration, Write,
};
use firstwake::{Entropy, EventKind, FeedId, ProductId, Registry, SealingKey, Serial, Timestamp};
use futures_util::future;
use tokio_postgres::{Config, Error, NoTls};

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const DEVICES: usize = 16_384;
const BATCH: usize = 1024;
/// Over all servers.
const WRITERS: usize = 64;
const WRITES: usize = 16_384;

#[tokio::main]
async fn main() {
    let address = std::env::var("FIRSTWAKE_TEST_POSTGRES");
    let address = address.expect("run this under scripts/with-postgres");
    for servers in [1, 2] {
        let config = database(&address).await;
        let opened = (0..servers).map(|_| open(&config));
        measure(future::join_all(opened).await).await;
    }
}

async fn measure(servers: Vec<Arc<Postgres>>) {
    let print = |write: &str, writers: usize, count: usize, begun: Instant| {
        let (servers, elapsed) = (servers.len(), begun.elapsed().as_micros());
        println!(
            r#"{{"servers":{servers},"write":"{write}","writers":{writers},"count":{count},"elapsed_us":{elapsed}}}"#
        );
    };
    let begun = Instant::now();
    let mut feeds = Vec::new();
    for batch in 0..DEVICES / BATCH {
        feeds.extend(register(&servers[0], batch).await);
    }
    print("register", 1, DEVICES, begun);

    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let server = Arc::clone(&servers[writer % servers.len()]);
        let share = feeds.iter().copied().skip(writer).step_by(WRITERS);
        tokio::spawn(write_devices(server, share.collect()))
    });
    for writer in future::join_all(writers).await {
        writer.expect("wrote");
    }
    print("device", WRITERS, WRITES, begun);

    let begun = Instant::now();
    for feed in &feeds {
        let read = servers[0].device(*feed).await.expect("readable");
        read.expect("registered");
    }
    print("read, one after another", 1, DEVICES, begun);
}

async fn register(server: &Postgres, batch: usize) -> Vec<FeedId> {
    let registrant = |number: usize| Registrant {
        serial: Serial::parse(&format!("{batch}-{number}")).expect("valid"),
        codes: Vec::new(),
        hardware: Facts::default(),
        label: None,
    };
    let batch = Batch {
        product: ProductId::parse("aaaaaaaaaaaaaaaaaaaa").expect("valid"),
        generation: 1,
        devices: (0..BATCH).map(registrant).collect(),
        at: NOW,
    };
    let outcome = server.register(batch).await.expect("registered");
    let feed = |registration| match registration {
        Registration::New(feed) | Registration::Known(feed) => feed,
    };
    outcome.into_iter().map(feed).collect()
}

/// Changes each device once, with an event, as an activation does.
async fn write_devices(server: Arc<Postgres>, feeds: Vec<FeedId>) {
    for feed in feeds {
        let device = server.device(feed).await.expect("readable");
        let device = device.expect("registered");
        let event = device.event(EventKind::ActivationConfirmed, NOW);
        let written = server.commit(Write::Device(device), vec![event]).await;
        assert_eq!(written, Ok(Commit::Done));
    }
}

/// A database of its own.
async fn database(address: &str) -> Config {
    let mut config = Config::from_str(address).expect("an address");
    let (client, connection) = config.connect(NoTls).await.expect("a server");
    tokio::spawn(connection);
    let drawn = "SELECT 't' || replace(gen_random_uuid()::text, '-', '')";
    let name: String = client.query_one(drawn, &[]).await.expect("a name").get(0);
    let sql = format!("CREATE DATABASE {name}");
    client.batch_execute(&sql).await.expect("a database");
    config.dbname(&name);
    config
}

async fn open(config: &Config) -> Arc<Postgres> {
    let manager = Manager::new(config.clone(), NoTls);
    let pool = Pool::builder(manager).max_size(16).build().expect("a pool");
    let dial = Arc::new(Plain(config.clone()));
    let server = Postgres::open(pool, dial).await.expect("opens");
    let key = SealingKey::parse(&"5a".repeat(32)).expect("64 characters");
    server.seal_hints(HintCredentials::draw(&key, &Counted));
    // As a server does that takes in what the others say.
    drop(server.hints());
    Arc::new(server)
}

/// A name for each server: nothing here is secret.
struct Counted;

impl Entropy for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        buffer.fill(COUNT.fetch_add(1, Ordering::Relaxed));
    }
}

struct Plain(Config);

#[async_trait]
impl Dial for Plain {
    async fn dial(&self) -> Result<Line, Error> {
        let (client, connection) = self.0.connect(NoTls).await?;
        Ok(Line::new(client, connection))
    }
}
