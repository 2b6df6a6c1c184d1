//! A device against a scripted server: real sockets, raw MQTT 3.1.1 bytes.

#![expect(
    clippy::expect_used,
    reason = "a script that cannot go on ends its test"
)]

mod activation;
mod boards;
mod command;
mod fake;
mod fixture;
mod orders;
mod power;
mod running;
mod server;
mod signing;
