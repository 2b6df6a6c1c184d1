//! Credentials as they stand in the file: one object of JSON.
//!
//! Version 1 has an API key and all that belongs to it. Version 2 has one of
//! three secrets, and may stand at any step on the way to a login. Version 1
//! is still written for what it can say, so that an older program reads it.

use firstwake::hardware::Pepper;
use firstwake::{ApiKey, DeviceKey, FeedId, PrivateKey, ProductId, Serial};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Credentials, Handover, Secret};
use crate::answer::Place;
use crate::private_file::MAX_LENGTH;

/// Why a text is not a credentials file of a version that is known.
#[derive(Debug)]
pub(super) enum NotCredentials {
    Garbled { line: usize, column: usize },
    Version(u64),
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u64,
    serial: Serial,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    feed_id: Option<FeedId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key: Option<Zeroizing<String>>,
    /// The 32 bytes of an Ed25519 private key, as 64 hex characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    private_key: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_key: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product_id: Option<ProductId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pepper: Option<Zeroizing<String>>,
    #[serde(default)]
    datastreams: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    #[serde(default)]
    confirmed: bool,
}

/// Read first, so that a newer format is called newer and not damaged.
#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

const NEWEST: u64 = 2;

impl Credentials {
    pub(super) fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // Room for all of it at once: growing would leave copies of the key behind.
        let room = usize::try_from(MAX_LENGTH).unwrap_or_default();
        let mut json = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *json, &Document::of(self))?;
        json.push(b'\n');
        Ok(json)
    }

    pub(super) fn from_json(json: &[u8]) -> Result<Self, NotCredentials> {
        let VersionOnly { version } = serde_json::from_slice(json)?;
        if version == 0 || version > NEWEST {
            return Err(NotCredentials::Version(version));
        }
        let document: Document = serde_json::from_slice(json)?;
        // What is of the right form but says nothing that makes sense is
        // damaged as a whole.
        document
            .credentials()
            .ok_or(NotCredentials::Garbled { line: 1, column: 1 })
    }
}

impl Document {
    fn of(credentials: &Credentials) -> Self {
        let secret = &credentials.secret;
        let in_hex = |bytes: &[u8; 32]| Zeroizing::new(hex::encode(bytes));
        Self {
            version: match (secret, &credentials.product, &credentials.place) {
                (Secret::ApiKey(_), None, Some(_)) => 1,
                _ => NEWEST,
            },
            serial: credentials.serial.clone(),
            feed_id: credentials.feed_id(),
            api_key: match secret {
                Secret::ApiKey(key) => Some(Zeroizing::new(key.expose().to_owned())),
                _ => None,
            },
            private_key: match secret {
                Secret::KeyPair(key) => Some(in_hex(key.expose_bytes())),
                _ => None,
            },
            device_key: match secret {
                Secret::DeviceKey(key) => Some(key.expose_hex()),
                _ => None,
            },
            product_id: credentials.product.clone(),
            pepper: credentials.pepper.as_ref().map(Pepper::expose_hex),
            datastreams: credentials.datastreams().to_vec(),
            broker: credentials.broker.clone(),
            confirmed: credentials.handover == Handover::Confirmed,
        }
    }

    /// `None` where a value has not its form, or there is not exactly one
    /// secret.
    fn credentials(self) -> Option<Credentials> {
        let secret = match (&self.api_key, &self.private_key, &self.device_key) {
            (Some(key), None, None) => {
                // An API key never stood without a feed.
                self.feed_id?;
                Secret::ApiKey(ApiKey::parse(key).ok()?)
            }
            (None, Some(key), None) => {
                let mut bytes = Zeroizing::new([0; 32]);
                hex::decode_to_slice(key.as_bytes(), &mut *bytes).ok()?;
                Secret::KeyPair(PrivateKey::from_bytes(*bytes))
            }
            (None, None, Some(key)) => Secret::DeviceKey(DeviceKey::parse(key).ok()?),
            _ => return None,
        };
        let pepper = match &self.pepper {
            Some(text) => Some(Pepper::parse(text)?),
            None => None,
        };
        Some(Credentials {
            serial: self.serial,
            secret,
            place: self.feed_id.map(|feed_id| Place {
                feed_id,
                datastreams: self.datastreams,
            }),
            product: self.product_id,
            pepper,
            broker: self.broker,
            handover: if self.confirmed {
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
    use super::super::Stored;
    use super::*;

    fn written(stored: &Stored) -> String {
        let json = stored.0.to_json().expect("json");
        String::from_utf8(json.to_vec()).expect("text")
    }

    #[test]
    fn an_api_key_is_written_as_ever() {
        let json = written(&Stored::for_test("S:1+", 'k'));
        assert_eq!(
            json,
            format!(
                "{{\"version\":1,\"serial\":\"S:1+\",\"feed_id\":123456,\"api_key\":\"{}\",\
                 \"datastreams\":[\"temperature\"],\"confirmed\":false}}\n",
                "k".repeat(48)
            )
        );
        let read = Credentials::from_json(json.as_bytes()).expect("own format");
        assert_eq!(read.serial.as_str(), "S:1+");
        assert_eq!(read.handover(), Handover::Pending);
    }

    #[test]
    fn a_key_pair_is_the_documented_json() {
        let stored = Stored::key_pair_for_test("S", 0x5a);
        let json = written(&stored);
        assert_eq!(
            json,
            format!(
                "{{\"version\":2,\"serial\":\"S\",\"feed_id\":123456,\"private_key\":\"{}\",\
                 \"product_id\":\"thermo-thermo-thermo\",\"datastreams\":[\"temperature\"],\
                 \"confirmed\":false}}\n",
                "5a".repeat(32)
            )
        );
        let read = Stored(Credentials::from_json(json.as_bytes()).expect("own format"));
        assert!(read.has_secret_of(&stored));
        assert_eq!(written(&read), json);
    }

    #[test]
    fn a_device_key_comes_back_too() {
        let json = format!(
            "{{\"version\":2,\"serial\":\"S\",\"device_key\":\"{}\",\"product_id\":\"thermo-thermo-thermo\",\
             \"pepper\":\"{}\",\"datastreams\":[],\"confirmed\":true}}\n",
            "0d".repeat(32),
            "0e".repeat(32)
        );
        let read = Stored(Credentials::from_json(json.as_bytes()).expect("own format"));
        assert!(read.may_log_in() && read.has_signed());
        assert_eq!(written(&read), json);
    }

    #[test]
    fn a_newer_version_is_not_called_damaged() {
        let read = Credentials::from_json(br#"{"version":3,"keys":[]}"#);
        assert!(matches!(read, Err(NotCredentials::Version(3))));
    }

    #[test]
    fn there_is_exactly_one_secret() {
        let with = |secrets: &str| {
            let json = format!(r#"{{"version":2,"serial":"S","feed_id":7{secrets}}}"#);
            Credentials::from_json(json.as_bytes())
        };
        let api = format!(r#","api_key":"{}""#, "k".repeat(48));
        let pair = format!(r#","private_key":"{}""#, "5a".repeat(32));
        let short = format!(r#","private_key":"{}""#, "5a".repeat(31));
        assert!(with(&api).is_ok() && with(&pair).is_ok());
        for wrong in [String::new(), format!("{api}{pair}"), short] {
            assert!(with(&wrong).is_err(), "{wrong}");
        }
    }
}
