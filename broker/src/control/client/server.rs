//! A server that is running on the data directory, reached through its socket.

use anyhow::{Context, Result, anyhow};
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::Unreachable;
use crate::control::request::{Reply, Request};
use crate::control::socket::{connect, read_line, write_line};
use crate::home::Home;

pub(crate) struct Server {
    home: Home,
    stream: BufReader<UnixStream>,
}

impl Server {
    /// The server that is running there, if one is.
    pub(super) async fn find(home: &Home) -> Result<Option<Self>> {
        let stream = connect(home).await.map_err(Unreachable::because)?;
        Ok(stream.map(|stream| Self {
            home: home.clone(),
            stream: BufReader::new(stream),
        }))
    }

    /// The same server, reached once more.
    pub(super) async fn beside(&self) -> Result<Self> {
        let found = Self::find(&self.home).await?;
        let gone = || Unreachable(anyhow!("the server has gone"));
        Ok(found.ok_or_else(gone)?)
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply> {
        write_line(&mut self.stream, request)
            .await
            .context("the server did not take the request")
            .map_err(Unreachable)?;
        let line = read_line(&mut self.stream).await.ok().flatten();
        let line = line.context("the server did not answer");
        serde_json::from_slice(&line.map_err(Unreachable)?)
            .context("the server's answer is not understood: is it another version?")
    }
}
