//! What changed a device, a product or an operator: the audit log.
//!
//! An event is committed together with its change and carries no secret. The
//! list is closed and versioned; topics, log lines and counts derive from it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ban::Network;
use crate::clock::Timestamp;
use crate::clones::{CloneSignal, Evidence};
use crate::hardware::FactSet;
use crate::identity::{FeedId, ProductId, Serial};
use crate::label::Label;
use crate::operator::{OperatorName, Role};
use crate::refusal::Refusal;
use crate::token::TokenId;
use crate::topic::{TopicName, encode_level};

/// Stands where an event has no product or no serial: `~` is in neither
/// alphabet.
const NONE: &str = "~";

/// The shape of [`Event::to_json`]; raised when a field changes its meaning.
const VERSION: u32 = 1;

/// What happened, and with what. Devices, products and operators are named by
/// the [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A product was made.
    ProductCreated {
        /// Its name for people.
        name: String,
    },
    /// A product's name, datastreams or policy changed.
    ProductChanged,
    /// A product got a new secret.
    SecretRotated {
        /// Of the new secret.
        generation: u32,
        /// The one before is accepted until then.
        until: Timestamp,
    },
    /// No device of the product gets in any more, but for exceptions.
    ProductBlocked {
        /// How many devices it leaves alone.
        excepted: u64,
    },
    /// Devices of the product get in again.
    ProductUnblocked,
    /// A serial was registered.
    DeviceRegistered,
    /// A file of serials was taken in.
    ImportFinished {
        /// Newly registered.
        registered: u64,
        /// Known before.
        known: u64,
        /// Lines that held no device.
        rejected: u64,
    },
    /// A pending key was made for a device that proved its code.
    ActivationIssued {
        /// Of the product secret that its code was made with.
        generation: u32,
    },
    /// A device used its pending key for the first time.
    ActivationConfirmed,
    /// A key stopped working because a newer one was confirmed or issued.
    KeyEnded {
        /// Which of the two.
        slot: KeySlot,
    },
    /// An operator suspended a device.
    DeviceSuspended,
    /// An operator resumed it.
    DeviceResumed,
    /// A device was quarantined.
    DeviceQuarantined,
    /// An operator released it.
    DeviceReleased,
    /// An operator revoked a device.
    DeviceRevoked,
    /// An operator reset a device: it activates anew, on the same feed.
    DeviceReset,
    /// An operator lets an active device use its code again for a while.
    ReactivationOpened {
        /// Until then.
        until: Timestamp,
    },
    /// Somebody with a proved secret was refused.
    ActivationRefused {
        /// Why.
        refusal: Refusal,
        /// How often since the last such event; these are folded to one a minute.
        count: u64,
    },
    /// One identity seems to be used by two; folded to one a minute for each
    /// sign.
    CloneSuspected {
        /// What was noticed.
        signal: CloneSignal,
        /// What was seen.
        evidence: Evidence,
    },
    /// A device's lease was renewed by a login.
    LeaseRenewed {
        /// It ends then, if it is not renewed again.
        until: Timestamp,
    },
    /// An operator was added or its rights changed.
    OperatorAdded {
        /// Its role.
        role: Role,
    },
    /// An operator was removed.
    OperatorRemoved,
    /// An operator's login failed.
    OperatorRefused {
        /// How often since the last such event; these are folded to one a minute.
        count: u64,
    },
    // Rows hold the position in this list: new kinds come at its end.
    /// Messages that waited for a device had to make room for newer ones.
    MailDropped {
        /// How many since the last such event; these are folded to one a minute.
        count: u64,
    },
    /// An operator keeps a source out.
    SourceBanned {
        /// When the ban ends by itself.
        until: Option<Timestamp>,
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// An operator lets a source in again.
    SourceUnbanned,
    /// An operator got a token.
    TokenAdded {
        /// What it is called.
        token: TokenId,
        /// What it is for.
        label: String,
    },
    /// A token was removed, or has expired.
    TokenRemoved {
        /// What it was called.
        token: TokenId,
    },
    /// A device is gone for good; its feed id is not given out again.
    DeviceRemoved,
    /// A device got another serial, and with it another code.
    DeviceRenamed {
        /// What it was called before.
        from: Serial,
    },
    /// A product is gone for good, and all its devices with it.
    ProductRemoved,
    /// Facts of a device's board were enrolled, or have changed.
    HardwareChanged {
        /// Which.
        facts: FactSet,
    },
    /// An operator lets a device's next login enrol the board it comes from.
    HardwareForgotten,
    /// A device has shown that a public key is its own.
    PublicKeyEnrolled,
    /// A device was given a licence token; folded to one a minute.
    LicenceIssued {
        /// The token ends then.
        until: Timestamp,
    },
    /// An operator lets a device whose lease has run out in again.
    LeaseReopened,
    /// An operator ended a secret of a product before its time.
    SecretEnded {
        /// Of that secret.
        generation: u32,
    },
    /// A device has signed for the first time with the key that comes from a
    /// secret of its product.
    DeviceKeyUsed {
        /// Of that secret.
        generation: u32,
    },
    /// Activation codes of a product's devices were given out, for its factory.
    CodesExported {
        /// How many.
        count: u64,
    },
    /// A device is called something else by people.
    DeviceLabelled {
        /// What, if anything.
        label: Option<Label>,
    },
    /// A product's devices fetch their credentials over and over, more often
    /// than a day allows: they are asked to come again. Folded to one a minute.
    IssuingHeldUp {
        /// How many were asked to since the last such event.
        count: u64,
    },
}

/// Which of a device's two key slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySlot {
    /// Issued, not yet used.
    Pending,
    /// Used.
    Confirmed,
}

impl EventKind {
    /// The last level of the event's topic.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ProductCreated { .. } => "product_created",
            Self::ProductChanged => "product_changed",
            Self::SecretRotated { .. } => "secret_rotated",
            Self::ProductBlocked { .. } => "product_blocked",
            Self::IssuingHeldUp { .. } => "issuing_held_up",
            Self::ProductUnblocked => "product_unblocked",
            Self::DeviceRegistered => "device_registered",
            Self::ImportFinished { .. } => "import_finished",
            Self::ActivationIssued { .. } => "activation_issued",
            Self::ActivationConfirmed => "activation_confirmed",
            Self::KeyEnded { .. } => "key_ended",
            Self::DeviceSuspended => "device_suspended",
            Self::DeviceResumed => "device_resumed",
            Self::DeviceQuarantined => "device_quarantined",
            Self::DeviceReleased => "device_released",
            Self::DeviceRevoked => "device_revoked",
            Self::DeviceReset => "device_reset",
            Self::ReactivationOpened { .. } => "reactivation_opened",
            Self::ActivationRefused { .. } => "activation_refused",
            Self::CloneSuspected { .. } => "clone_suspected",
            Self::LeaseRenewed { .. } => "lease_renewed",
            Self::MailDropped { .. } => "mail_dropped",
            Self::OperatorAdded { .. } => "operator_added",
            Self::OperatorRemoved => "operator_removed",
            Self::OperatorRefused { .. } => "operator_refused",
            Self::SourceBanned { .. } => "source_banned",
            Self::SourceUnbanned => "source_unbanned",
            Self::TokenAdded { .. } => "token_added",
            Self::TokenRemoved { .. } => "token_removed",
            Self::DeviceRemoved => "device_removed",
            Self::DeviceRenamed { .. } => "device_renamed",
            Self::ProductRemoved => "product_removed",
            Self::HardwareChanged { .. } => "hardware_changed",
            Self::HardwareForgotten => "hardware_forgotten",
            Self::PublicKeyEnrolled => "public_key_enrolled",
            Self::LicenceIssued { .. } => "licence_issued",
            Self::LeaseReopened => "lease_reopened",
            Self::SecretEnded { .. } => "secret_ended",
            Self::DeviceKeyUsed { .. } => "device_key_used",
            Self::CodesExported { .. } => "codes_exported",
            Self::DeviceLabelled { .. } => "device_labelled",
        }
    }

    /// The fields that this kind of event adds.
    fn detail(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::ProductCreated { name } => vec![("name", json!(name))],
            Self::SecretRotated { generation, until } => vec![
                ("secret_generation", json!(generation)),
                ("until", json!(until)),
            ],
            Self::ActivationIssued { generation }
            | Self::SecretEnded { generation }
            | Self::DeviceKeyUsed { generation } => {
                vec![("secret_generation", json!(generation))]
            }
            Self::ImportFinished {
                registered,
                known,
                rejected,
            } => vec![
                ("registered", json!(registered)),
                ("known", json!(known)),
                ("rejected", json!(rejected)),
            ],
            Self::KeyEnded { slot } => vec![("slot", json!(slot))],
            Self::ReactivationOpened { until }
            | Self::LeaseRenewed { until }
            | Self::LicenceIssued { until } => vec![("until", json!(until))],
            Self::HardwareChanged { facts } => vec![("facts", json!(facts))],
            Self::CloneSuspected { signal, evidence } => vec![
                ("signal", json!(signal)),
                ("source", json!(evidence.source)),
                ("other", json!(evidence.other)),
                ("facts", json!(evidence.facts)),
                ("client_ids", json!(evidence.client_ids)),
            ],
            Self::ActivationRefused { refusal, count } => {
                vec![("refusal", json!(refusal)), ("count", json!(count))]
            }
            Self::OperatorAdded { role } => vec![("role", json!(role))],
            Self::OperatorRefused { count }
            | Self::MailDropped { count }
            | Self::IssuingHeldUp { count }
            | Self::CodesExported { count } => vec![("count", json!(count))],
            Self::DeviceLabelled { label } => vec![("label", json!(label))],
            Self::TokenAdded { token, label } => {
                vec![("token", json!(token)), ("label", json!(label))]
            }
            Self::TokenRemoved { token } => vec![("token", json!(token))],
            Self::DeviceRenamed { from } => vec![("from", json!(from))],
            Self::ProductBlocked { excepted } => vec![("excepted", json!(excepted))],
            Self::SourceBanned { until, reason } => {
                vec![("until", json!(until)), ("reason", json!(reason))]
            }
            _ => Vec::new(),
        }
    }
}

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A device.
    Device {
        /// Its product.
        product: ProductId,
        /// Its serial.
        serial: Serial,
        /// Its feed.
        feed: FeedId,
    },
    /// A product.
    Product(ProductId),
    /// An operator.
    Operator(OperatorName),
    /// Where peers come from.
    Source(Network),
}

/// An event that has not been committed: it has no number yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// When it happened.
    pub at: Timestamp,
    /// Whom it is about.
    pub subject: Subject,
    /// What happened.
    pub kind: EventKind,
}

/// A committed event. Numbers start at 1, follow the order of commits and have
/// no gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// What was committed.
    pub body: NewEvent,
}

impl Event {
    /// `provisioning/events/<product_id>/<serial>/<event>`, with `~` where
    /// there is no product or no serial.
    pub fn topic(&self) -> TopicName {
        let (product, serial) = match &self.body.subject {
            Subject::Device {
                product, serial, ..
            } => (product.as_str(), encode_level(serial.as_str())),
            Subject::Product(product) => (product.as_str(), NONE.into()),
            Subject::Operator(_) | Subject::Source(_) => (NONE, NONE.into()),
        };
        let event = self.body.kind.as_str();
        TopicName::from_valid(format!("provisioning/events/{product}/{serial}/{event}"))
    }

    /// The event as one JSON object; `docs/events.md` lists its fields.
    pub fn to_json(&self) -> Value {
        let mut object = serde_json::Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("seq", json!(self.seq));
        put("v", json!(VERSION));
        put("at", json!(self.body.at));
        put("event", json!(self.body.kind.as_str()));
        match &self.body.subject {
            Subject::Device {
                product,
                serial,
                feed,
            } => {
                put("product_id", json!(product));
                put("serial", json!(serial));
                put("feed_id", json!(feed));
            }
            Subject::Product(product) => {
                put("product_id", json!(product));
            }
            Subject::Operator(name) => {
                put("operator", json!(name));
            }
            Subject::Source(network) => {
                put("source", json!(network));
            }
        }
        for (name, value) in self.body.kind.detail() {
            put(name, value);
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: Subject, kind: EventKind) -> Event {
        Event {
            seq: 7,
            body: NewEvent {
                at: Timestamp::from_millis(0),
                subject,
                kind,
            },
        }
    }

    #[test]
    fn topics_and_json() {
        let product = ProductId::parse("abcdefghijklmnopqrst").expect("valid");
        let device = Subject::Device {
            product: product.clone(),
            serial: Serial::parse("a+1").expect("valid"),
            feed: FeedId::new(5).expect("valid"),
        };
        let issued = event(device, EventKind::ActivationIssued { generation: 1 });
        assert_eq!(
            issued.topic().as_str(),
            "provisioning/events/abcdefghijklmnopqrst/a%2B1/activation_issued"
        );
        assert_eq!(
            issued.to_json(),
            json!({
                "seq": 7, "v": 1, "at": "1970-01-01T00:00:00.000Z", "event": "activation_issued",
                "product_id": "abcdefghijklmnopqrst", "serial": "a+1", "feed_id": 5,
                "secret_generation": 1,
            })
        );

        let blocked = event(
            Subject::Product(product),
            EventKind::ProductBlocked { excepted: 2 },
        );
        assert_eq!(
            blocked.topic().as_str(),
            "provisioning/events/abcdefghijklmnopqrst/~/product_blocked"
        );
        let ops = Subject::Operator(OperatorName::parse("ops").expect("valid"));
        let removed = event(ops, EventKind::OperatorRemoved);
        assert_eq!(
            removed.topic().as_str(),
            "provisioning/events/~/~/operator_removed"
        );
        assert_eq!(removed.to_json()["operator"], "ops");
    }
}
