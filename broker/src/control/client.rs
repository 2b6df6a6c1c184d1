//! A command's way to the registry.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use firstwake::{Counts, Provisioner};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::request::{Reply, Request};
use super::socket::{connect, read_line, write_line};
use super::steward::carry_out;
use crate::downlink::Dispatch;
use crate::edge::Clock;
use crate::home::{FirstOperator, Home, InUse, Lock};
use crate::limits::Limits;

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

/// The registry, one way or the other.
pub(crate) enum Control {
    /// A server is running: it does what is asked.
    Server(BufReader<UnixStream>),
    /// None is: this process holds the lock.
    Own {
        provisioner: Box<Provisioner>,
        _lock: Lock,
    },
}

impl Control {
    /// Reaches the registry in `path`. The second value is what a first run made.
    pub(crate) async fn reach(
        path: &Path,
        absent: Absent,
    ) -> Result<(Self, Option<FirstOperator>)> {
        if absent == Absent::IsAnError && !path.join("lock").exists() {
            bail!(
                "there is no data directory {}: name the server's with --data-dir, or make a \
                 product, which makes one",
                path.display()
            );
        }
        let home = Home::prepare(path)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(stream) = connect(&home).await? {
                return Ok((Self::Server(BufReader::new(stream)), None));
            }
            match home.try_lock()? {
                Ok(lock) => {
                    let (provisioner, first) = lock.open(Clock::start().now()).await?;
                    let own = Self::Own {
                        provisioner: Box::new(provisioner),
                        _lock: lock,
                    };
                    return Ok((own, first));
                }
                Err(InUse { by }) if Instant::now() > deadline => bail!(
                    "the data directory {} is in use by process {by}, which does not answer",
                    home.path().display()
                ),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Asks for one thing. A refusal is an error that is a [`Declined`].
    ///
    /// [`Declined`]: super::Declined
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Reply> {
        let reply = match self {
            Self::Server(stream) => {
                write_line(stream, &request)
                    .await
                    .context("the server did not take the request")?;
                let line = read_line(stream).await;
                let line = line.ok().flatten().context("the server did not answer")?;
                serde_json::from_slice(&line)
                    .context("the server's answer is not understood: is it another version?")?
            }
            Self::Own { provisioner, .. } => {
                let dispatch = Dispatch {
                    provisioner,
                    sessions: None,
                    capacity: Limits::default().mailbox(),
                    rates: Counts::default(),
                    moment: Clock::start().moment(),
                };
                return Ok(carry_out(request, &dispatch).await?);
            }
        };
        match reply {
            Reply::Refused(declined) => Err(declined.into()),
            reply => Ok(reply),
        }
    }
}
