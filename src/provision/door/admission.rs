//! The proof that somebody was let in.
//!
//! Fields are private and only this folder makes one: a session that holds an
//! admission needs to check nothing again.

use crate::clock::Timestamp;
use crate::device::{Device, Key};
use crate::identity::{FeedId, ProductId, Serial};
use crate::operator::{Operator, OperatorName, Role};
use crate::refusal::Refusal;
use crate::registry::RegistryError;
use crate::rights::Rights;
use crate::secret::{ApiKey, TokenDigest};
use crate::token::Token;
use crate::topic::device::{Uplink, without_key};
use crate::topic::{Limits, TopicName};

/// Who was let in, and as what.
#[derive(Debug)]
pub enum Admission {
    /// A device that proved its code: it may fetch its credentials.
    Activation(Activation),
    /// A device that showed its key, or signed.
    Device(DeviceLogin),
    /// An operator or a service.
    Operator(OperatorLogin),
}

impl Admission {
    /// The same right once more, without what was given by it.
    pub fn again(&self) -> Self {
        match self {
            Self::Activation(activation) => Self::Activation(activation.again()),
            Self::Device(login) => Self::Device(login.clone()),
            Self::Operator(login) => Self::Operator(login.clone()),
        }
    }
}

/// The right to be told one device's feed id and key, for one session.
#[derive(Debug)]
pub struct Activation {
    pub(in crate::provision) product: ProductId,
    pub(in crate::provision) serial: Serial,
    pub(in crate::provision) feed: FeedId,
    /// Of the product secret that the code was made with.
    pub(in crate::provision) generation: u32,
    /// Given when it is first asked for, and repeated for as long as the
    /// session lasts.
    pub(in crate::provision) granted: Option<Granted>,
}

/// What an activating device was given.
#[derive(Clone, Debug)]
pub(in crate::provision) enum Granted {
    /// An API key.
    ApiKey(ApiKey),
    /// The word that its signatures are accepted.
    Signing(Key),
}

impl Granted {
    /// As it stands in the device's slots.
    pub(in crate::provision) fn key(&self) -> Key {
        match self {
            Self::ApiKey(key) => Key::Api(key.digest()),
            Self::Signing(key) => *key,
        }
    }
}

impl Activation {
    /// Of a device that proved a code made with the secret of this generation.
    pub(in crate::provision) fn of(device: &Device, generation: u32) -> Self {
        Self {
            product: device.product.clone(),
            serial: device.serial.clone(),
            feed: device.feed,
            generation,
            granted: None,
        }
    }

    fn again(&self) -> Self {
        Self {
            product: self.product.clone(),
            serial: self.serial.clone(),
            feed: self.feed,
            generation: self.generation,
            granted: None,
        }
    }

    /// The device's serial.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The device's product.
    pub fn product(&self) -> &ProductId {
        &self.product
    }

    /// The device's feed.
    pub fn feed(&self) -> FeedId {
        self.feed
    }
}

/// A device that is in with its own key, or with its signature.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    pub(in crate::provision) product: ProductId,
    pub(in crate::provision) serial: Serial,
    pub(in crate::provision) feed: FeedId,
    pub(in crate::provision) key: Key,
}

impl DeviceLogin {
    /// Of a device that proved itself with this key of its own.
    pub(in crate::provision) fn of(device: &Device, key: Key) -> Self {
        Self {
            product: device.product.clone(),
            serial: device.serial.clone(),
            feed: device.feed,
            key,
        }
    }

    /// The device's serial.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The device's product.
    pub fn product(&self) -> &ProductId {
        &self.product
    }

    /// The device's feed.
    pub fn feed(&self) -> FeedId {
        self.feed
    }

    /// Whether this is the key that it is in with.
    pub fn is_with(&self, key: &ApiKey) -> bool {
        self.key == Key::Api(key.digest())
    }

    /// What it proved itself with.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The uplink topic of this device that `topic` names, in its canonical
    /// form; `None` if it names none. The device's key, and no other, may stand
    /// before one of Xively's topics.
    pub fn uplink(&self, topic: &TopicName) -> Option<Uplink> {
        let text = without_key(topic.as_str(), |key| self.is_with(key))?;
        if text.len() == topic.as_str().len() {
            return Uplink::permit(self.feed, topic);
        }
        Uplink::permit(self.feed, &TopicName::parse(text, Limits::DEVICE).ok()?)
    }
}

/// An operator that is in, with its rights.
#[derive(Clone, Debug)]
pub struct OperatorLogin {
    name: OperatorName,
    role: Role,
    rights: Rights,
    version: u64,
    /// When it was given the rights it has.
    granted_at: Timestamp,
    /// What it showed in place of its password.
    token: Option<Token>,
}

impl OperatorLogin {
    pub(in crate::provision) fn of(operator: &Operator, token: Option<Token>) -> Self {
        Self {
            name: operator.name.clone(),
            role: operator.role,
            rights: Rights::of(operator),
            version: operator.version,
            granted_at: operator.created_at,
            token,
        }
    }

    /// Whom.
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// As what.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it may publish and subscribe.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// When it ends by itself, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.token.as_ref().and_then(|token| token.expires_at)
    }

    pub(in crate::provision) fn token(&self) -> Option<&TokenDigest> {
        self.token.as_ref().map(|token| &token.digest)
    }

    pub(in crate::provision) fn granted_at(&self) -> Timestamp {
        self.granted_at
    }

    pub(in crate::provision) fn version(&self) -> u64 {
        self.version
    }
}

/// Why somebody was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It was decided so.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It could not be decided: the registry is in trouble, which never admits
    /// and never refuses.
    #[error(transparent)]
    Unavailable(#[from] RegistryError),
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
