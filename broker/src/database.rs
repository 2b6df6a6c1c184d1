//! The PostgreSQL database that the registry may lie in, and how it is reached.
//!
//! What is said of it holds no secret, so it stands in the configuration file
//! and is remembered in the data directory: a command that is started there
//! later finds the same registry. Over a network the database is spoken to
//! with TLS.

mod address;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use firstwake::registry::Postgres;
use firstwake::registry::postgres::{Dial, Line};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

/// Connections that are open at most.
const CONNECTIONS: usize = 16;
/// How long the database may take to answer a connection.
const CONNECTING: Duration = Duration::from_secs(5);

/// Who may use the registry at the same time. The one in a data directory is
/// its owner's alone in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Others,
    Nobody,
}

/// Whether there was a registry in the database before: it is made only where
/// there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Before,
    Not,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// As PostgreSQL's own programs take it, without a password.
    postgres: String,
    /// A file that holds the password, and nothing else.
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// Trust only certificates that lead to one in this file (PEM).
    #[serde(default)]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// Speak to it without TLS on a network.
    #[serde(default)]
    dangerous_plaintext: bool,
}

impl Database {
    /// One that needs no password, or none that is written down.
    pub(crate) fn at(url: String) -> Self {
        Self {
            postgres: url,
            password_file: None,
            certificate_authority: None,
            dangerous_plaintext: false,
        }
    }

    /// Where it is, for people.
    pub(crate) fn told(&self) -> &str {
        &self.postgres
    }

    /// Whether it can be meant so.
    pub(crate) fn check(&self) -> Result<()> {
        let config = self.parse()?;
        if config.get_password().is_some() {
            bail!(
                "the URL of the database holds a password, which a list of processes would show: \
                 put it into a file and name that as password_file under [registry]"
            );
        }
        if config.get_hosts().is_empty() {
            bail!(
                "the URL of the database names no host: write postgres://USER@HOST/NAME, or \
                 postgres://USER@%2Frun%2Fpostgresql/NAME for a socket of this machine"
            );
        }
        let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
        if addresses > 0 && addresses != hosts {
            bail!("the URL of the database names {hosts} hosts and {addresses} in hostaddr");
        }
        Ok(())
    }

    fn parse(&self) -> Result<tokio_postgres::Config> {
        let config: tokio_postgres::Config = self.postgres.parse().map_err(|error| {
            // It may say more than anybody should read.
            tracing::debug!(%error, "not the URL of a database");
            anyhow!("the URL of the database is not understood: write postgres://USER@HOST/NAME")
        })?;
        Ok(config)
    }

    /// Opens the registry in it.
    pub(crate) async fn open(&self, company: Company, known: Known) -> Result<Postgres> {
        let mut config = self.parse()?;
        let in_the_clear = self.is_in_the_clear(&config);
        if in_the_clear && !self.dangerous_plaintext {
            config = address::literally(&config);
        }
        config
            .application_name("firstwake")
            .connect_timeout(CONNECTING);
        if let Some(path) = &self.password_file {
            config.password(password(path)?);
        }
        if in_the_clear {
            open(config, NoTls, company, known).await
        } else {
            config.ssl_mode(SslMode::Require);
            let tls = MakeRustlsConnect::new(self.client_tls()?);
            open(config, tls, company, known).await
        }
    }

    /// Whether it is spoken to without TLS.
    fn is_in_the_clear(&self, config: &tokio_postgres::Config) -> bool {
        let is_asked_for =
            self.certificate_authority.is_some() || config.get_ssl_mode() == SslMode::Require;
        self.dangerous_plaintext || (!is_asked_for && address::is_here(config))
    }

    fn client_tls(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match &self.certificate_authority {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let wrong = || format!("{} is no file of certificates (PEM)", path.display());
                let certificates = CertificateDer::pem_file_iter(path).with_context(wrong)?;
                for certificate in certificates {
                    let added = roots.add(certificate.with_context(wrong)?);
                    added.with_context(wrong)?;
                }
                if roots.is_empty() {
                    bail!("{} holds no certificate", path.display());
                }
            }
        }
        Ok(ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

fn password(path: &Path) -> Result<Zeroizing<String>> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

async fn open<T>(
    config: tokio_postgres::Config,
    tls: T,
    company: Company,
    known: Known,
) -> Result<Postgres>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let dialler = Arc::new(Dialler { config, tls });
    let opened = match (company, known) {
        (Company::Others, Known::Not) => Postgres::open(pool, dialler).await,
        (Company::Others, Known::Before) => Postgres::open_existing(pool, dialler).await,
        (Company::Nobody, _) => Postgres::open_alone(pool, dialler).await,
    };
    Ok(opened?)
}

/// Makes connections beside those of the pool.
struct Dialler<T> {
    config: tokio_postgres::Config,
    tls: T,
}

#[async_trait]
impl<T> Dial for Dialler<T>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::Stream: Send + Sync,
    T::TlsConnect: Send + Sync,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    async fn dial(&self) -> Result<Line, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        Ok(Line::new(client, connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_no_password() {
        let check = |url: &str| Database::at(url.to_owned()).check();
        for good in [
            "postgres://firstwake@db.example/firstwake",
            "postgres://firstwake@%2Frun%2Fpostgresql/firstwake",
            "host=/run/postgresql user=firstwake",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for (bad, told) in [
            ("postgres://u:secret@db.example/f", "password_file"),
            ("user=firstwake", "names no host"),
            ("host=a,b hostaddr=10.0.0.7 user=f", "2 hosts and 1"),
            ("hostaddr=127.0.0.1 user=f", "names no host"),
            ("mysql://db.example", "not understood"),
        ] {
            let refused = check(bad).expect_err(bad).to_string();
            assert!(refused.contains(told), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn tls_is_left_out_only_where_nobody_listens_in() {
        let clear =
            |database: &Database| database.is_in_the_clear(&database.parse().expect("understood"));
        let at = |url: &str| Database::at(url.to_owned());
        assert!(clear(&at("host=localhost user=f")));
        assert!(clear(&at("host=localhost user=f sslmode=disable")));
        assert!(!clear(&at("host=localhost user=f sslmode=require")));
        assert!(!clear(&at("host=localhost hostaddr=10.0.0.7 user=f")));
        assert!(!clear(&at("host=10.0.0.7 user=f sslmode=disable")));
        let certified = Database {
            certificate_authority: Some("ca.pem".into()),
            ..at("host=localhost user=f")
        };
        assert!(!clear(&certified));
        let asked_for = Database {
            dangerous_plaintext: true,
            ..at("host=10.0.0.7 user=f")
        };
        assert!(clear(&asked_for));
    }

    #[test]
    fn a_password_is_a_line() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("password");
        fs::write(&path, " two words \r\n").expect("written");
        assert_eq!(password(&path).expect("readable").as_str(), " two words ");
        assert!(password(&home.path().join("none")).is_err());
    }
}
