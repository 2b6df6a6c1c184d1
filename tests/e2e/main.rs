//! The server from outside: raw MQTT bytes over real sockets, and the command.
//!
//! Compiled as tests of `firstwake-broker`, which can see its binary. Each
//! story starts a server of its own; what holds for every protocol version is
//! told once and run for all three. Nothing waits for a fixed time, and no port is
//! fixed.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]
#![expect(
    clippy::print_stdout,
    reason = "the harness shows what a test that failed has printed"
)]

mod activation;
mod api;
mod asking;
mod bans;
mod blocks;
mod bounds;
mod cli;
mod config;
mod confined;
mod conformance;
mod connector;
mod durability;
mod ending;
mod events;
mod explain;
mod faults;
mod flood;
mod formats;
mod forms;
mod handover;
mod home;
mod hostile;
mod identity;
mod indistinguishable;
mod isolation;
mod limits;
mod lingering;
mod lists;
mod mailbox;
mod many;
mod nodes;
mod passwords;
mod policies;
mod publishing;
mod refusals;
mod registry;
mod remote;
mod repeats;
mod sealing;
mod secrets;
mod services;
mod sessions;
mod shared;
mod slow_readers;
mod stopping;
mod strangers;
mod support;
mod topics;
mod transports;
mod uplink;
mod websocket;
mod wills;
mod xively;
