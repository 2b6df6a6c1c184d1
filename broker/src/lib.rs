//! The Firstwake server.

mod broker;
mod bus;
mod connection;
mod edge;
mod mqtt;
mod session;
mod sessions;
mod wire;
