//! What a device owns after activation, and how that is written down.
//!
//! A key may be used only once it is safely on disk. The type says so:
//! [`Credentials`] cannot log in, [`Stored`] can, and only the file makes a
//! `Stored`. `Debug` shows no key.

mod file;

use firstwake::{ApiKey, FeedId, Serial};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::Issued;
use crate::broker::Broker;

pub use file::CredentialsFile;

/// How far the hand-over of the key has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Issued, but this device has not yet seen a login with it succeed.
    Pending,
    /// A login succeeded: from there on the activation code is spent.
    Confirmed,
}

/// A feed, the key to it, and whose they are.
#[derive(Clone, Debug)]
pub struct Credentials {
    serial: Serial,
    feed_id: FeedId,
    api_key: ApiKey,
    datastreams: Vec<String>,
    /// Where they were issued: a note for people, nothing depends on it.
    broker: Option<String>,
    handover: Handover,
}

impl Credentials {
    /// What was just issued to this device, to be stored before it is used.
    pub(crate) fn issued(serial: Serial, broker: &Broker, issued: Issued) -> Self {
        Self {
            serial,
            feed_id: issued.feed_id,
            api_key: issued.api_key,
            datastreams: issued.datastreams,
            broker: Some(broker.to_string()),
            handover: Handover::Pending,
        }
    }

    /// The device they belong to.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The device's own data channel.
    pub fn feed_id(&self) -> FeedId {
        self.feed_id
    }

    /// The datastreams that the server named.
    pub fn datastreams(&self) -> &[String] {
        &self.datastreams
    }

    /// How far the hand-over has come.
    pub fn handover(&self) -> Handover {
        self.handover
    }

    fn confirmed(&self) -> Self {
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

    pub(crate) fn api_key(&self) -> &ApiKey {
        &self.0.api_key
    }

    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        self.0.api_key.digest() == other.0.api_key.digest()
    }

    #[cfg(test)]
    pub(crate) fn for_test(serial: &str, key: char) -> Self {
        Self(Credentials {
            serial: Serial::parse(serial).expect("serial"),
            feed_id: FeedId::new(123_456).expect("feed"),
            api_key: ApiKey::parse(&key.to_string().repeat(48)).expect("key"),
            datastreams: vec!["temperature".to_owned()],
            broker: None,
            handover: Handover::Pending,
        })
    }
}

/// Why a text is not a credentials file of this version.
#[derive(Debug)]
enum NotCredentials {
    Garbled { line: usize, column: usize },
    Version(u64),
}

/// The JSON of version 1.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u64,
    serial: Serial,
    feed_id: FeedId,
    #[serde(with = "exposed")]
    api_key: ApiKey,
    datastreams: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    #[serde(default)]
    confirmed: bool,
}

/// The key in the clear, for the one file that keeps it.
mod exposed {
    use firstwake::ApiKey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &ApiKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(key.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ApiKey, D::Error> {
        ApiKey::parse(<&str>::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Read first, so that a newer format is called newer and not damaged.
#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

const VERSION: u64 = 1;

impl Credentials {
    fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // Room for all of it at once: growing would leave copies of the key behind.
        let mut json = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer(
            &mut *json,
            &Document {
                version: VERSION,
                serial: self.serial.clone(),
                feed_id: self.feed_id,
                api_key: self.api_key.clone(),
                datastreams: self.datastreams.clone(),
                broker: self.broker.clone(),
                confirmed: self.handover == Handover::Confirmed,
            },
        )?;
        json.push(b'\n');
        Ok(json)
    }

    fn from_json(json: &[u8]) -> Result<Self, NotCredentials> {
        let VersionOnly { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(NotCredentials::Version(version));
        }
        let document: Document = serde_json::from_slice(json)?;
        Ok(Self {
            serial: document.serial,
            feed_id: document.feed_id,
            api_key: document.api_key,
            datastreams: document.datastreams,
            broker: document.broker,
            handover: if document.confirmed {
                Handover::Confirmed
            } else {
                Handover::Pending
            },
        })
    }
}

/// Keeps the place and drops the text, which may quote the file.
impl From<serde_json::Error> for NotCredentials {
    fn from(error: serde_json::Error) -> Self {
        Self::Garbled {
            line: error.line(),
            column: error.column(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_documented_json() {
        let json = Stored::for_test("S:1+", 'k').0.to_json().expect("json");
        assert_eq!(
            std::str::from_utf8(&json).expect("text"),
            format!(
                "{{\"version\":1,\"serial\":\"S:1+\",\"feed_id\":123456,\"api_key\":\"{}\",\
                 \"datastreams\":[\"temperature\"],\"confirmed\":false}}\n",
                "k".repeat(48)
            )
        );
        let read = Credentials::from_json(&json).expect("own format");
        assert_eq!(read.serial.as_str(), "S:1+");
        assert_eq!(read.handover(), Handover::Pending);
    }

    #[test]
    fn a_newer_version_is_not_called_damaged() {
        let read = Credentials::from_json(br#"{"version":2,"keys":[]}"#);
        assert!(matches!(read, Err(NotCredentials::Version(2))));
    }

    #[test]
    fn debug_is_silent() {
        let shown = format!("{:?}", Stored::for_test("S", 'k'));
        assert!(!shown.contains("kkk"), "{shown}");
    }
}
