//! The Firstwake server: MQTT front door, bus, command line.
//!
//! It carries what the core (`firstwake`) decides: it never judges who gets in
//! or whose a topic is. `ARCHITECTURE.md` has the map.

mod broker;
mod bus;
mod certificate;
mod cli;
mod config;
mod connection;
mod control;
mod database;
#[cfg(feature = "demo")]
mod demo;
mod downlink;
mod edge;
mod feeds;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod home;
mod http;
mod keep;
mod limits;
mod listen;
mod misread;
mod mqtt;
mod neighbours;
mod origins;
mod output;
mod paces;
mod server;
mod session;
mod sessions;
mod signals;
mod systemd;
mod values;
mod watchers;
mod websocket;
mod wills;
mod wire;

use std::process::ExitCode;

/// Runs the `firstwake` command with this process's arguments.
pub fn cli() -> ExitCode {
    cli::run()
}
