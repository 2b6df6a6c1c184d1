//! Who a device is, and how patient. Plain data: nothing here does anything.

use std::time::Duration;

use firstwake::Serial;

use crate::backoff::Backoff;
use crate::broker::Broker;
use crate::credentials::CredentialsFile;
use crate::hardware::Machine;
use crate::signing::Signing;

/// Who this device is, and where its server and its credentials are.
#[derive(Clone, Debug)]
pub struct Device {
    /// The server.
    pub broker: Broker,
    /// The device's name: MQTT user name and client id.
    pub serial: Serial,
    /// Where its credentials are kept.
    pub credentials: CredentialsFile,
    /// What it runs on.
    pub machine: Machine,
    /// How it is to prove who it is, if nothing is stored yet.
    pub signing: Signing,
    /// How patient it is.
    pub pace: Pace,
}

/// How long to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between attempts.
    pub backoff: Backoff,
    /// For the server's answer to a code, from the CONNACK on: 30 s.
    pub answer: Duration,
    /// For values to be acknowledged when a run is asked to end: 10 s.
    pub flush: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            answer: Duration::from_secs(30),
            flush: Duration::from_secs(10),
        }
    }
}
