//! Who gets in, and what they may do once they are in.
//!
//! This library holds every decision Firstwake makes: what an activation code
//! is, which lifecycle step a device may take, which topics are its own, and
//! what is written down about it. It opens no socket, reads no clock and draws
//! no randomness: time ([`Timestamp`]) and randomness ([`Entropy`]) are
//! arguments, so each decision can be repeated in a test.
//!
//! The way through it, in the order a connection takes:
//! [`Attempt`] → [`Provisioner::admit`] → [`Admission`] → [`Provisioner::issue`].

mod ban;
mod cause;
pub mod clock;
mod clones;
mod code;
mod credential;
mod device;
mod enrolment;
mod entropy;
mod event;
pub mod feed;
pub mod hardware;
mod identity;
mod jws;
mod keypair;
mod label;
pub mod licence;
pub mod mailbox;
mod once;
mod operator;
mod product;
mod provision;
mod qos;
mod refusal;
pub mod registry;
mod rights;
mod sealing;
mod secret;
pub mod signed;
mod source;
mod throttle;
mod token;
pub mod topic;
mod window;

pub use ban::{Ban, Bans, InvalidNetwork, Network};
pub use cause::Cause;
pub use clock::Timestamp;
pub use clones::{CloneSignal, Evidence, OnClone, Peer, Takeover};
pub use code::{ActivationCode, CodeMatch, DeviceKey};
pub use credential::{Credential, Shape};
pub use device::{Device, Exceptions, Key, Keys, Lifecycle, Standing, Transition, TransitionError};
pub use entropy::Entropy;
pub use event::{Event, EventKind, KeySlot, NewEvent, Subject};
pub use identity::{DeviceName, FeedId, InvalidName, ProductId, Serial};
pub use keypair::{InvalidPublicKey, PrivateKey, PublicKey};
pub use label::{InvalidLabel, Label, deceives, visible, visible_lines};
pub use operator::{InvalidOperator, Operator, OperatorName, PasswordHash, Role};
pub use product::{
    Block, Datastream, DatastreamId, FeedDefaults, Indexed, InvalidDatastream, Product,
    ProductSecretSlot, Profile, Progress, ProofPolicy, Reactivation, Stage, Unit, Visibility,
};
pub use provision::{
    Activation, Admission, Answer, AnswerFormat, Ask, Attempt, BanError, Begun, Body, Claimed,
    Counts, Declined, Detail, DeviceError, DeviceFilter, DeviceLogin, Enrolment, Explanation,
    Found, Imported, Indexing, InvalidRequest, Named, NearMiss, NewOperator, NewProduct, NewSerial,
    NoDatastream, NotAdmitted, NotIssued, NotKept, NotPosted, Once, OpenProduct, OperatorError,
    OperatorLogin, Posted, ProductChange, ProductError, ProvisionRequest, Provisioner, ReasonCount,
    RefusedAttempt, Resealed, Rotated, SecretError, SessionProblem, StartError, Tally, TallyEntry,
    Voucher,
};
pub use qos::Qos;
pub use refusal::{Proof, Refusal};
pub use registry::{Registry, RegistryError};
pub use rights::Rights;
pub use sealing::{SealedSecret, SealingKey, UnsealError};
pub use secret::{
    ApiKey, CodeDigest, InvalidSecret, InvalidToken, KeyDigest, OperatorToken, ProductSecret,
    TokenDigest,
};
pub use source::Source;
pub use throttle::{Bucket, Pace, Rate};
pub use token::{InvalidTokenId, Token, TokenId};
