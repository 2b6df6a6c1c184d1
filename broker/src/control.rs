//! How commands reach the registry: through a running server's socket, or, if
//! there is none, by opening it themselves. Never both.

mod client;
pub(crate) mod declined;
pub(crate) mod request;
pub(crate) mod schema;
pub(crate) mod socket;
pub(crate) mod steward;
pub(crate) mod view;
pub(crate) mod wish;

pub(crate) use self::client::{Absent, Address, Control, NoToken, Unreachable};
pub(crate) use self::declined::{Because, Declined};
pub(crate) use self::request::{Act, Note, Outcome, Registered, Reply, Request, Wanted};
pub(crate) use self::view::{
    CensusView, DeviceView, ExplanationView, OperatorView, ProductView, SecretView, TokenView,
    ValueView,
};
pub(crate) use self::wish::{
    BanWish, DeviceWish, DevicesWish, ImportWish, LabelWish, ProductPatch, ProductWish, SecretWish,
    TokenWish, ValueWish, Values, one_by_one,
};
