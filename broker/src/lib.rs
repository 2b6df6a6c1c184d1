//! The Firstwake server: MQTT front door, bus, command line.
//!
//! It carries what the core (`firstwake`) decides: it never judges who gets in
//! or whose a topic is. `ARCHITECTURE.md` has the map.

mod broker;
mod bus;
mod cli;
mod connection;
mod control;
mod demo;
mod downlink;
mod edge;
mod home;
mod keep;
mod limits;
mod listen;
mod mqtt;
mod output;
pub mod plugin;
mod server;
mod session;
mod sessions;
mod signals;
mod watchers;
mod wills;
mod wire;

use std::process::ExitCode;

/// Runs the `firstwake` command with this process's arguments.
pub fn cli() -> ExitCode {
    cli::run()
}
