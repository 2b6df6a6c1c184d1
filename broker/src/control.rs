//! How commands reach the registry: through a running server's socket, or, if
//! there is none, by opening it themselves. Never both.

mod client;
pub(crate) mod request;
pub(crate) mod socket;
mod steward;

pub(crate) use self::client::{Absent, Control, Unreachable};
pub(crate) use self::request::{
    Act, DeviceView, Note, OperatorView, Outcome, ProductView, Reply, Request, Wanted,
};
