//! What is told of products, devices and operators: never a key, a code or a
//! password. The same over the control socket and over HTTP.

mod product;
mod secret;

use firstwake::feed::{CurrentValue, Value};
use firstwake::hardware::Fact;
use firstwake::licence::key_id;
use firstwake::registry::Census;
use firstwake::topic::TopicFilter;
use firstwake::{
    DatastreamId, Device, Explanation, FeedId, Label, Lifecycle, Operator, OperatorName, ProductId,
    PublicKey, RefusedAttempt, Role, Serial, SessionProblem, Timestamp, Token, TokenId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

pub(crate) use self::product::{DatastreamView, FeedDefaultsView, ProductView};
pub(crate) use self::secret::SecretView;

/// A device, without its keys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Device)]
pub(crate) struct DeviceView {
    #[schema(value_type = String, example = "LAMP-000001")]
    pub(crate) serial: Serial,
    #[schema(value_type = String, example = "sBgAmJ5b9nLpQxT3VdKw")]
    pub(crate) product_id: ProductId,
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "kitchen lamp")]
    pub(crate) label: Option<Label>,
    #[schema(schema_with = schema::lifecycle)]
    pub(crate) lifecycle: Lifecycle,
    #[schema(value_type = u32, example = 1_234_567)]
    pub(crate) feed_id: FeedId,
    #[schema(schema_with = schema::time)]
    pub(crate) registered_at: Timestamp,
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) issued_at: Option<Timestamp>,
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) confirmed_at: Option<Timestamp>,
    /// Until then its code works although it is active.
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) reactivation_until: Option<Timestamp>,
    /// What it proves itself with: an API key, or its signature.
    #[schema(schema_with = schema::proved_with)]
    pub(crate) proof: Option<String>,
    /// Facts of its board that are known, by their names.
    #[schema(schema_with = schema::facts)]
    pub(crate) hardware: Vec<Fact>,
    /// When it signed its last login, by its own clock.
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) signed_at: Option<Timestamp>,
    /// When its lease ends, unless it logs in before.
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) lease_until: Option<Timestamp>,
    /// Which of its product's secrets it came with last.
    pub(crate) secret_generation: Option<u32>,
}

/// The public key that licences are checked with, as a JWK (RFC 8037).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LicenceKey)]
pub(crate) struct LicenceKeyView {
    #[schema(example = "OKP")]
    kty: String,
    #[schema(example = "Ed25519")]
    crv: String,
    /// The 32 bytes, in base64url without padding.
    pub(crate) x: String,
    kid: String,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    purpose: String,
    #[schema(example = "EdDSA")]
    alg: String,
}

/// What happened to a device, and what to do about it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Explanation)]
pub(crate) struct ExplanationView {
    /// What the product is called.
    pub(crate) product: String,
    /// Whether a block of the product keeps it out.
    pub(crate) product_blocked: bool,
    pub(crate) device: DeviceView,
    /// Since when the server that was asked remembers: its start. Each of
    /// several servers on one registry knows its own.
    #[serde(default)]
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) since: Option<Timestamp>,
    /// Its last refusals since then, the oldest first.
    #[schema(schema_with = schema::attempts)]
    pub(crate) refusals: Vec<RefusedAttempt>,
    /// What went wrong in its sessions since then, the oldest first.
    #[serde(default)]
    #[schema(schema_with = schema::problems)]
    pub(crate) problems: Vec<SessionProblem>,
    /// What to do next.
    pub(crate) advice: String,
}

/// An operator, without its password.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Operator)]
pub(crate) struct OperatorView {
    #[schema(value_type = String, example = "panel")]
    pub(crate) name: OperatorName,
    #[schema(schema_with = schema::role)]
    pub(crate) role: Role,
    /// Topics it may publish to, beside those of its role.
    #[schema(value_type = Vec<String>)]
    pub(crate) publish: Vec<TopicFilter>,
    /// Topics it may subscribe, beside those of its role.
    #[schema(value_type = Vec<String>)]
    pub(crate) subscribe: Vec<TopicFilter>,
}

/// A token, without what it is shown as.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenView {
    #[schema(value_type = String, example = "u3Zs0bQm_x")]
    pub(crate) id: TokenId,
    #[schema(value_type = String, example = "panel")]
    pub(crate) operator: OperatorName,
    /// What it is for.
    pub(crate) label: String,
    #[schema(schema_with = schema::time)]
    pub(crate) created_at: Timestamp,
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) expires_at: Option<Timestamp>,
}

/// A feed and what was measured last.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Feed)]
pub(crate) struct FeedView {
    #[schema(value_type = u32, example = 1_234_567)]
    pub(crate) feed_id: FeedId,
    #[schema(value_type = String, example = "LAMP-000001")]
    pub(crate) serial: Serial,
    #[schema(value_type = String, example = "sBgAmJ5b9nLpQxT3VdKw")]
    pub(crate) product_id: ProductId,
    pub(crate) values: Vec<ValueView>,
}

/// A datastream's current value.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CurrentValue)]
pub(crate) struct ValueView {
    #[schema(value_type = String, example = "temperature")]
    pub(crate) datastream: DatastreamId,
    /// A text; a number is what reads as one.
    #[schema(value_type = String, example = "21.5")]
    pub(crate) value: Value,
    #[schema(schema_with = schema::time)]
    pub(crate) at: Timestamp,
}

/// How many devices are in each state.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Census)]
pub(crate) struct CensusView {
    pub(crate) registered: u64,
    pub(crate) issued: u64,
    pub(crate) active: u64,
    pub(crate) suspended: u64,
    pub(crate) quarantined: u64,
    pub(crate) revoked: u64,
}

/// The fleet at a glance.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Fleet)]
pub(crate) struct FleetView {
    pub(crate) devices: CensusView,
    /// Keys issued in the last whole second.
    pub(crate) activations_per_second: u64,
    /// Keys used for the first time.
    pub(crate) confirmations_per_second: u64,
    /// Attempts refused, for whatever reason.
    pub(crate) refusals_per_second: u64,
    pub(crate) connected: Connected,
}

/// Who is connected over MQTT now.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Connected {
    /// Devices that fetch their credentials.
    pub(crate) activations: u64,
    /// Devices with a key.
    pub(crate) devices: u64,
    /// Sessions of operators and services.
    pub(crate) operators: u64,
}

impl CensusView {
    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        let Self {
            registered,
            issued,
            active,
            suspended,
            quarantined,
            revoked,
        } = self;
        registered + issued + active + suspended + quarantined + revoked
    }
}

/// Which server this is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionView {
    /// Of the program.
    #[schema(example = "0.1.0")]
    pub(crate) version: String,
    /// How far the machine's clock is from the time that the server goes by;
    /// only while the clock has jumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "365days ahead")]
    pub(crate) clock: Option<String>,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        Self {
            lifecycle: device.lifecycle(),
            secret_generation: device.comes_with(),
            proof: device
                .keys
                .current()
                .or(device.keys.pending())
                .map(|key| key.as_str().to_owned()),
            hardware: device.hardware.iter().map(|(fact, _)| fact).collect(),
            signed_at: device.last_login.map(|login| login.issued_at),
            lease_until: device.lease_until,
            label: device.label,
            serial: device.serial,
            product_id: device.product,
            feed_id: device.feed,
            registered_at: device.registered_at,
            issued_at: device.issued_at,
            confirmed_at: device.confirmed_at,
            reactivation_until: device.reactivation_until,
        }
    }
}

impl From<&PublicKey> for LicenceKeyView {
    fn from(key: &PublicKey) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: key.to_string(),
            kid: key_id(key),
            purpose: "sig".to_owned(),
            alg: "EdDSA".to_owned(),
        }
    }
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        Self {
            product: explanation.product_name,
            product_blocked: explanation.product_blocked,
            device: explanation.device.into(),
            since: explanation.since,
            refusals: explanation.attempts,
            problems: explanation.problems,
            advice: explanation.advice,
        }
    }
}

impl From<Operator> for OperatorView {
    fn from(operator: Operator) -> Self {
        Self {
            name: operator.name,
            role: operator.role,
            publish: operator.publish,
            subscribe: operator.subscribe,
        }
    }
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            operator: token.operator,
            label: token.label,
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

impl From<CurrentValue> for ValueView {
    fn from(current: CurrentValue) -> Self {
        Self {
            datastream: current.datastream,
            value: current.value,
            at: current.at,
        }
    }
}

impl From<Census> for CensusView {
    fn from(census: Census) -> Self {
        Self {
            registered: census.of(Lifecycle::Registered),
            issued: census.of(Lifecycle::Issued),
            active: census.of(Lifecycle::Active),
            suspended: census.of(Lifecycle::Suspended),
            quarantined: census.of(Lifecycle::Quarantined),
            revoked: census.of(Lifecycle::Revoked),
        }
    }
}
