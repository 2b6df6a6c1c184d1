//! A PostgreSQL server for these tests, and a database of its own for each.
//!
//! It is the one that `scripts/with-postgres` says, or, without it, one that
//! the same script starts for this process. Where there is no PostgreSQL the
//! tests say so and end: CI runs them under the script, which fails then.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, OnceLock};

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::{Client, Config, Error, NoTls};

use super::super::{Dial, Line, OpenError, Postgres, Registry};
use crate::entropy::counting::Counting;
use crate::registry::HintCredentials;
use crate::sealing::SealingKey;

/// The sealing key of most servers here.
pub(crate) const KEY: u8 = 0x5a;

/// As a server of this sealing key has them; no two have the same name.
pub(crate) fn credentials(key: u8) -> HintCredentials {
    static ENTROPY: LazyLock<Counting> = LazyLock::new(Counting::default);
    let key = SealingKey::parse(&hex::encode([key; 32])).expect("64 characters");
    HintCredentials::draw(&key, &*ENTROPY)
}

/// An empty database, whose name nobody else has.
#[derive(Clone)]
pub(crate) struct Database {
    config: Config,
}

impl Database {
    /// Where the server is, if there is one.
    pub(crate) fn server() -> Option<String> {
        static ADDRESS: OnceLock<Option<String>> = OnceLock::new();
        let address = ADDRESS.get_or_init(|| {
            let given = std::env::var("FIRSTWAKE_TEST_POSTGRES").ok();
            let address = given.or_else(start);
            if address.is_none() {
                // Past the test runner, which keeps what passing tests print.
                let said = "no PostgreSQL on this machine: its tests did not run\n";
                io::stderr().write_all(said.as_bytes()).expect("said");
            }
            address
        });
        address.clone()
    }

    /// Makes one, if there is a server.
    pub(crate) async fn create() -> Option<Self> {
        let mut config = Config::from_str(&Self::server()?).expect("an address");
        let admin = connect(&config).await;
        let drawn = "SELECT 't' || replace(gen_random_uuid()::text, '-', '')";
        let name: String = admin.query_one(drawn, &[]).await.expect("a name").get(0);
        let sql = format!("CREATE DATABASE {name}");
        admin.batch_execute(&sql).await.expect("a database");
        config.dbname(&name);
        Some(Self { config })
    }

    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// A role that may connect and has no rights on anything here.
    pub(crate) async fn stranger(&self) -> Config {
        let admin = self.connect().await;
        let drawn = "SELECT 'r' || replace(gen_random_uuid()::text, '-', '')";
        let name: String = admin.query_one(drawn, &[]).await.expect("a name").get(0);
        let sql = format!("CREATE ROLE {name} LOGIN");
        admin.batch_execute(&sql).await.expect("a role");
        let mut config = self.config.clone();
        config.user(&name);
        config
    }

    /// A connection past the store.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.config).await
    }

    /// Opens it as a server with the key that all of these tests have.
    pub(crate) async fn open(&self) -> Postgres {
        let opened = self.try_open().await.expect("opens");
        opened.seal_hints(credentials(KEY));
        opened
    }

    pub(crate) async fn try_open(&self) -> Result<Postgres, OpenError> {
        Postgres::open(self.pool(), self.dial()).await
    }

    pub(crate) async fn try_open_alone(&self) -> Result<Postgres, OpenError> {
        Postgres::open_alone(self.pool(), self.dial()).await
    }

    pub(crate) fn pool(&self) -> Pool {
        let fast = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.config.clone(), NoTls, fast);
        Pool::builder(manager).max_size(8).build().expect("a pool")
    }

    pub(crate) fn dial(&self) -> Arc<dyn Dial> {
        Arc::new(Plain(self.config.clone()))
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

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a server");
    tokio::spawn(connection);
    client
}

/// Starts one that ends when this process does: its input ends then.
fn start() -> Option<String> {
    static RUNNING: OnceLock<Child> = OnceLock::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/with-postgres");
    let tell_and_wait = "echo \"$FIRSTWAKE_TEST_POSTGRES\"; cat";
    let mut child = Command::new(script)
        .args(["--installed", "sh", "-c", tell_and_wait])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut address = String::new();
    let told = BufReader::new(child.stdout.take()?).read_line(&mut address);
    RUNNING.get_or_init(|| child);
    told.ok()
        .filter(|bytes| *bytes > 0)
        .map(|_| address.trim().to_owned())
}
