//! `floor-server`: the floor, in the process that `floor` and `--floor` start.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use clap::Args;
use device_sim::floor::{Server, Speaks};

use super::options::IdentityArgs;
use super::parent_gone;

#[derive(Debug, Args)]
pub(super) struct FloorServerArgs {
    #[command(flatten)]
    identity: IdentityArgs,
    #[arg(long)]
    http: bool,
}

impl FloorServerArgs {
    pub(super) async fn run(self) -> Result<()> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = match self.identity.identity() {
            None => Server::bind(any_port)?,
            Some(identity) => Server::bind_tls(any_port, &identity)?,
        };
        let server = server.speaking(match self.http {
            false => Speaks::Mqtt,
            true => Speaks::Http,
        });
        writeln!(std::io::stdout(), "{}", server.address())?;
        tokio::select! {
            () = server.serve() => {}
            () = parent_gone() => {}
        }
        Ok(())
    }
}
