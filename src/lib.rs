//! Who gets in, and what they may do once they are in.

mod clock;
mod code;
mod entropy;
mod identity;
mod secret;

pub use clock::Timestamp;
pub use code::{ActivationCode, CodeMatch, DeviceKey};
pub use entropy::Entropy;
pub use identity::{DeviceName, FeedId, InvalidName, ProductId, Serial};
pub use secret::{ApiKey, CodeDigest, InvalidSecret, KeyDigest, ProductSecret};
