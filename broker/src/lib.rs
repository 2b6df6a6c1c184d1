//! The Firstwake server.

mod broker;
mod bus;
mod connection;
mod edge;
mod mqtt;
pub mod plugin;
mod session;
mod sessions;
mod wire;
