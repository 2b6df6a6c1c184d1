//! A command's way to the registry: one of three, and a command does not know
//! which.

mod address;
mod login;
mod own;
mod remote;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use tokio::time::Instant;

use self::own::Own;
use self::remote::Remote;
use self::server::Server;
use super::request::{Reply, Request};
use crate::home::{FirstOperator, Home, InUse};

pub(crate) use self::address::Address;
pub(crate) use self::login::NoToken;

/// How long a command waits for another one, or for a server that is starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a data directory that is not there means to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It is made.
    IsMade,
    /// There is nothing to ask about.
    IsAnError,
}

/// The server or the registry cannot be reached or is in trouble: trying again
/// may help.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(crate) struct Unreachable(Error);

impl Unreachable {
    pub(crate) fn because(error: impl Into<Error>) -> Self {
        Self(error.into())
    }
}

/// The registry, one way or the other.
pub(crate) enum Control {
    /// A server is running on this data directory: it does what is asked.
    Server(Server),
    /// None is: this process holds the lock.
    Own(Arc<Own>),
    /// A server elsewhere, over HTTP.
    Remote(Remote),
}

impl Control {
    /// Reaches the registry in `path`. The second value is what a first run made.
    pub(crate) async fn reach(
        path: &Path,
        absent: Absent,
    ) -> Result<(Self, Option<FirstOperator>)> {
        if absent == Absent::IsAnError && !path.join("lock").exists() {
            bail!(Unreachable(anyhow!(
                "there is no data directory {}: name the server's with --data-dir, or make a \
                 product, which makes one",
                path.display()
            )));
        }
        let home = Home::prepare(path)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(server) = Server::find(&home).await? {
                return Ok((Self::Server(server), None));
            }
            match home.try_lock()? {
                Ok(lock) => {
                    let (own, first) = Own::open(lock).await?;
                    return Ok((Self::Own(Arc::new(own)), first));
                }
                Err(InUse { by }) if Instant::now() > deadline => bail!(Unreachable(anyhow!(
                    "the data directory {} is in use by process {by}, which does not answer",
                    home.path().display()
                ))),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Reaches a server elsewhere: the first request will tell whether it is
    /// there. The token is the one in this file, or the environment's.
    pub(crate) fn elsewhere(
        address: Address,
        token_file: Option<&Path>,
        ca: Option<&Path>,
    ) -> Result<Self> {
        let token = login::token(token_file)?;
        Ok(Self::Remote(Remote::new(address, &token, ca)?))
    }

    /// Another way to the same registry, to ask two things at once.
    pub(crate) async fn beside(&self) -> Result<Self> {
        Ok(match self {
            Self::Server(server) => Self::Server(server.beside().await?),
            Self::Own(own) => Self::Own(Arc::clone(own)),
            Self::Remote(remote) => Self::Remote(remote.clone()),
        })
    }

    /// Whether no server is running: what nobody asks here does not happen.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Asks for one thing. A refusal is an error that is a [`Declined`].
    ///
    /// [`Declined`]: super::Declined
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Reply> {
        let reply = match self {
            Self::Server(server) => server.ask(&request).await?,
            Self::Own(own) => own.ask(request).await?,
            Self::Remote(remote) => remote.ask(request).await?,
        };
        match reply {
            Reply::Refused(declined) => Err(declined.into()),
            reply => Ok(reply),
        }
    }
}
