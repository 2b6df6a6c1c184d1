//! What a device owns: its secret, and what the server said it is.
//!
//! A secret may be used only once it is safely on disk. The type says so:
//! [`Credentials`] cannot log in, [`Stored`] can, and only the file makes a
//! `Stored`. `Debug` shows no secret.

mod document;
mod file;

use firstwake::hardware::Pepper;
use firstwake::signed::Signer;
use firstwake::{ApiKey, DeviceKey, FeedId, PrivateKey, ProductId, Serial};

use crate::answer::Place;
use crate::broker::Broker;

pub use file::CredentialsFile;

/// What a device proves itself with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// Sent as it is: whoever hears it has it.
    ApiKey(ApiKey),
    /// The key pair that the device made at its first boot.
    KeyPair(PrivateKey),
    /// What the factory burnt in.
    DeviceKey(DeviceKey),
}

impl Secret {
    /// Who signs with it; `None` for what is sent as it is.
    pub fn signer(&self) -> Option<Signer> {
        match self {
            Self::ApiKey(_) => None,
            Self::KeyPair(key) => Some(Signer::Ed25519(key.clone())),
            Self::DeviceKey(key) => Some(Signer::DeviceKey(key.clone())),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ApiKey(one), Self::ApiKey(other)) => one.digest() == other.digest(),
            (Self::KeyPair(one), Self::KeyPair(other)) => one.public() == other.public(),
            (Self::DeviceKey(one), Self::DeviceKey(other)) => {
                one.expose_hex() == other.expose_hex()
            }
            _ => false,
        }
    }
}

/// How far the hand-over of the secret has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// This device has not yet seen a login with it succeed.
    Pending,
    /// A login succeeded: from there on the activation code is spent.
    Confirmed,
}

/// A secret, whose it is, and what it opens.
#[derive(Clone, Debug)]
pub struct Credentials {
    serial: Serial,
    secret: Secret,
    /// Not known before the server has said it.
    place: Option<Place>,
    /// As which product's device it signs.
    product: Option<ProductId>,
    /// Under what the product's facts are hashed.
    pepper: Option<Pepper>,
    /// Where they were issued: a note for people, nothing depends on it.
    broker: Option<String>,
    handover: Handover,
}

impl Credentials {
    /// A secret that no server has heard of.
    pub(crate) fn new(serial: Serial, secret: Secret) -> Self {
        Self {
            serial,
            secret,
            place: None,
            product: None,
            pepper: None,
            broker: None,
            handover: Handover::Pending,
        }
    }

    /// The same, of this product.
    pub(crate) fn of_product(self, product: ProductId, pepper: Option<Pepper>) -> Self {
        Self {
            product: Some(product),
            pepper: pepper.or(self.pepper),
            ..self
        }
    }

    /// The same, with what this server said they open.
    pub(crate) fn placed(self, broker: &Broker, place: Place) -> Self {
        Self {
            place: Some(place),
            broker: Some(broker.to_string()),
            ..self
        }
    }

    /// The device they belong to.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// What the device proves itself with.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The device's own data channel, once the server has said it.
    pub fn feed_id(&self) -> Option<FeedId> {
        self.place.as_ref().map(|place| place.feed_id)
    }

    /// The datastreams that the server named.
    pub fn datastreams(&self) -> &[String] {
        self.place.as_ref().map_or(&[], |place| &place.datastreams)
    }

    /// The product, which a signed login names.
    pub fn product(&self) -> Option<&ProductId> {
        self.product.as_ref()
    }

    /// What facts are hashed under, once the server has said it.
    pub fn pepper(&self) -> Option<&Pepper> {
        self.pepper.as_ref()
    }

    /// How far the hand-over of the secret has come.
    pub fn handover(&self) -> Handover {
        self.handover
    }

    pub(crate) fn confirmed(&self) -> Self {
        Self {
            handover: Handover::Confirmed,
            ..self.clone()
        }
    }
}

/// Credentials that are on disk, synced: these may be used.
#[derive(Clone, Debug)]
pub struct Stored(Credentials);

impl Stored {
    /// What is stored.
    pub fn credentials(&self) -> &Credentials {
        &self.0
    }

    /// Whether a login can be tried: a key pair that no server has heard of
    /// proves nothing.
    pub(crate) fn may_log_in(&self) -> bool {
        match self.0.secret {
            Secret::ApiKey(_) => true,
            Secret::KeyPair(_) => self.0.place.is_some() && self.0.product.is_some(),
            Secret::DeviceKey(_) => self.0.product.is_some(),
        }
    }

    /// Whether the factory burnt the secret in: nothing else takes its place.
    pub(crate) fn is_burnt_in(&self) -> bool {
        matches!(self.0.secret, Secret::DeviceKey(_))
    }

    /// Whether the server has taken a signature of this device: from there on
    /// there is no way back to a code or an API key.
    pub(crate) fn has_signed(&self) -> bool {
        self.0.secret.signer().is_some() && self.0.handover == Handover::Confirmed
    }

    pub(crate) fn has_secret_of(&self, other: &Self) -> bool {
        self.0.secret.is(&other.0.secret)
    }

    #[cfg(test)]
    pub(crate) fn for_test(serial: &str, key: char) -> Self {
        let key = ApiKey::parse(&key.to_string().repeat(48)).expect("key");
        let serial = Serial::parse(serial).expect("serial");
        let place = Place {
            feed_id: FeedId::new(123_456).expect("feed"),
            datastreams: vec!["temperature".to_owned()],
        };
        Self(Credentials {
            place: Some(place),
            ..Credentials::new(serial, Secret::ApiKey(key))
        })
    }

    #[cfg(test)]
    pub(crate) fn key_pair_for_test(serial: &str, seed: u8) -> Self {
        let secret = Secret::KeyPair(PrivateKey::from_bytes([seed; 32]));
        let product = ProductId::parse("thermo-thermo-thermo").expect("product");
        Self(Credentials {
            secret,
            ..Self::for_test(serial, 'k').0.of_product(product, None)
        })
    }

    #[cfg(test)]
    pub(crate) fn fresh_key_pair_for_test(serial: &str, seed: u8) -> Self {
        let serial = Serial::parse(serial).expect("serial");
        let secret = Secret::KeyPair(PrivateKey::from_bytes([seed; 32]));
        Self(Credentials::new(serial, secret))
    }

    #[cfg(test)]
    pub(crate) fn device_key_for_test(serial: &str) -> Self {
        let key = DeviceKey::parse(&"0d".repeat(32)).expect("key");
        let serial = Serial::parse(serial).expect("serial");
        let product = ProductId::parse("thermo-thermo-thermo").expect("product");
        Self(Credentials::new(serial, Secret::DeviceKey(key)).of_product(product, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_silent() {
        let shown = format!("{:?}", Stored::for_test("S", 'k'));
        assert!(!shown.contains("kkk"), "{shown}");
        let shown = format!("{:?}", Stored::key_pair_for_test("S", 7));
        assert!(!shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn secrets_are_told_apart() {
        let key = Stored::for_test("S", 'k');
        let pair = Stored::key_pair_for_test("S", 7);
        assert!(key.has_secret_of(&key.clone()) && pair.has_secret_of(&pair.clone()));
        assert!(!key.has_secret_of(&Stored::for_test("S", 'l')));
        assert!(!pair.has_secret_of(&Stored::key_pair_for_test("S", 8)));
        assert!(!pair.has_secret_of(&key));
    }
}
