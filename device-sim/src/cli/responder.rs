//! `responder`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use device_sim::ServiceLogin;
use device_sim::responder::Responder;

use super::options::{look_up, read_secret};
use super::parent_gone;

#[derive(Debug, Args)]
pub(super) struct ResponderArgs {
    /// The broker, as HOST:PORT.
    #[arg(long, value_name = "ADDR")]
    broker: String,
    /// What it logs in with.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// A file that holds its password.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

impl ResponderArgs {
    pub(super) async fn run(self) -> Result<()> {
        let login = ServiceLogin {
            username: self.username,
            password: read_secret(&self.password_file)?,
        };
        let responder = Responder::subscribe(look_up(&self.broker).await?, &login).await?;
        writeln!(std::io::stdout(), "subscribed")?;
        tokio::select! {
            ended = responder.serve() => Ok(ended?),
            () = parent_gone() => Ok(()),
        }
    }
}
