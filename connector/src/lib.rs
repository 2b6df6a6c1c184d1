//! What runs on a device: it activates, keeps its credentials, stays connected.
//!
//! A device wakes knowing its serial and an activation code. [`activate()`]
//! turns these into credentials that are safely on disk before they are first
//! used; [`run()`] keeps a connection open with them and publishes values.
//!
//! What happens next is decided in pure modules (`decide`, `backoff`, `answer`,
//! `values`, `outbox`); only `client`, `credentials::file` and `lines` touch
//! the world. The server never needs this crate.

mod activate;
mod answer;
mod backoff;
mod broker;
mod client;
mod code_source;
mod credentials;
mod decide;
mod device;
mod error;
mod intake;
mod lines;
mod outbox;
mod run;
mod values;
mod wake;

pub use activate::{Activated, activate};
pub use backoff::Backoff;
pub use broker::Broker;
pub use code_source::{CodeSource, Origin};
pub use credentials::{Credentials, CredentialsFile, Handover, Stored};
pub use device::{Device, Pace};
pub use error::{
    ActivateError, CodeSourceError, InvalidBroker, InvalidLine, LoadError, Refusal, RunError,
    StoreError, Trouble,
};
pub use lines::read_values;
pub use run::run;
pub use values::{Payload, Value, parse_line};
