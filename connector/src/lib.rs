//! What runs on a device: it activates, keeps its credentials, stays connected.
//!
//! A device wakes knowing its serial and an activation code, or a key that the
//! factory burnt in. [`activate()`] turns these into credentials that are
//! safely on disk before they are first used; [`run()`] keeps a connection open
//! with them, publishes values and takes commands; [`RequestSigner`] signs
//! requests to other servers; [`Machine`] knows the board.
//!
//! What happens next is decided in pure modules (`decide`, `backoff`, `answer`,
//! `values`, `outbox`); only `client`, `why`, `private_file`, `hardware`,
//! `orders` and `lines` touch the world. The server never needs this crate.

mod activate;
mod answer;
mod ask;
mod backoff;
mod broker;
mod client;
mod clock;
mod code_source;
mod counter;
mod credentials;
mod decide;
mod device;
mod enrol;
mod error;
mod hardware;
mod intake;
mod licence;
mod lines;
mod orders;
mod outbox;
mod private_file;
mod randomness;
mod run;
mod signing;
mod values;
mod wake;
mod why;

pub use activate::{Activated, activate};
pub use answer::Place;
pub use backoff::Backoff;
pub use broker::Broker;
pub use code_source::{CodeSource, Origin};
pub use counter::CounterFile;
pub use credentials::{Credentials, CredentialsFile, Handover, Secret, Stored};
pub use device::{Device, Pace};
pub use error::{
    ActivateError, CodeSourceError, CounterError, InvalidBroker, InvalidLine, LoadError, Refusal,
    RunError, SignError, StoreError, Trouble,
};
pub use firstwake::hardware::Fact;
pub use hardware::{Inventory, Machine, Reading};
pub use licence::{InvalidKey, licence, parse_key};
pub use lines::read_values;
pub use orders::OnCommand;
pub use private_file::{Disk, Draft, Found, Lock, Made};
pub use run::run;
pub use signing::{BurntIn, RequestSigner, Signing};
pub use values::{Payload, Value, parse_line};
