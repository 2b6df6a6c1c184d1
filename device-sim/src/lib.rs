//! Fleets of simulated devices, against any MQTT broker.
//!
//! Every simulated device is an individual: its own serial, its own activation
//! code, its own TCP connection. [`storm::run`] lets a fleet activate and says
//! in a [`Report`] what became of each device and how long each phase took.
//!
//! This crate knows the topics and the answer of the activation protocol, and
//! nothing of any particular server. It must never need one, and no report it
//! writes may hold a secret, a code or a key.

pub mod callers;
pub mod credentials;
pub mod enrol;
pub mod floor;
pub mod handshakes;
pub mod reconnect;
pub mod responder;
pub mod serials;
pub mod storm;
pub mod uplink;

mod answer;
mod closed_loop;
mod device;
mod hold;
mod http;
mod line;
mod open_files;
mod outcome;
mod patience;
mod plan;
mod progress;
mod record;
mod report;
mod route;
mod service;
mod source;
mod stream;
mod tls;
mod wire;

pub use answer::{Credentials, IssuedKey};
pub use open_files::OpenFilesError;
pub use outcome::{ConnackCode, HttpStatus, NoConnection, NoTls, Outcome, Refusal, Step};
pub use plan::{Ask, Confirm, Downlink, Hold, Plan, PlanError};
pub use progress::{Counts, Progress, Stage};
pub use record::{DeviceResult, Phase, Timings};
pub use report::{
    Findings, Handshakes, Held, HoldSummary, Kind, Latency, LoadLoop, PlanSummary, Report,
    Shortfall, to_json,
};
pub use service::ServiceLogin;
pub use tls::{TlsClient, TlsError, TlsResumption, TlsSettings, TlsSummary, TlsVersion, Transport};
