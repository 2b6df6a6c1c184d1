//! What an operator wants to be made or changed. The same over the control
//! socket and over HTTP, where these are the bodies.

mod device;

use std::time::Duration;

use firstwake::feed::Value;
use firstwake::hardware::{FactSet, HardwareMode};
use firstwake::topic::TopicFilter;
use firstwake::{
    DatastreamId, DeviceName, Label, Network, OnClone, OperatorName, Product, ProductId,
    ProofPolicy, Reactivation, Role, Stage, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

pub(crate) use self::device::{DeviceWish, Values, one_by_one};

use super::schema;
use super::view::{DatastreamView, FeedDefaultsView};

/// A product to be made.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewProduct)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductWish {
    /// 1 to 128 characters on one line.
    #[schema(example = "lamp")]
    pub(crate) name: String,
    /// 40 hex characters; drawn if it is not given.
    #[serde(default)]
    pub(crate) secret: Option<String>,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    #[schema(schema_with = schema::stage)]
    pub(crate) stage: Stage,
    #[serde(default)]
    pub(crate) datastreams: Vec<DatastreamView>,
    #[serde(default)]
    pub(crate) feed_defaults: FeedDefaultsView,
    /// Whether a code works again.
    #[serde(default = "until_confirmed")]
    #[schema(schema_with = schema::reactivation)]
    pub(crate) reactivation: Reactivation,
    /// How many further datastreams each device may add.
    #[serde(default = "new_datastreams")]
    pub(crate) new_datastreams: u32,
    /// What its devices may prove themselves with.
    #[serde(default)]
    #[schema(schema_with = schema::proof)]
    pub(crate) proof: ProofPolicy,
    /// From then on no code is accepted; always if it is not given.
    #[serde(default)]
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) codes_until: Option<Timestamp>,
    /// What follows when a device shows other hardware than was enrolled.
    #[serde(default)]
    #[schema(schema_with = schema::hardware)]
    pub(crate) hardware: HardwareMode,
    /// Facts that may change without anything following.
    #[serde(default = "FactSet::replaceable")]
    #[schema(schema_with = schema::facts)]
    pub(crate) may_change: FactSet,
    /// What follows a sign that a device was cloned.
    #[serde(default)]
    #[schema(schema_with = schema::on_clone)]
    pub(crate) on_clone: OnClone,
    /// How many of its devices may be activated; any number if it is not given.
    #[serde(default)]
    pub(crate) seats: Option<u64>,
    /// How long a device may stay away; for ever if it is not given.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(crate) lease_seconds: Option<u64>,
}

/// What is to be changed of a product; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = ProductChange)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProductPatch {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    #[schema(schema_with = schema::stage)]
    pub(crate) stage: Option<Stage>,
    /// One that comes by its id alone keeps what is known of it.
    pub(crate) datastreams: Option<Vec<DatastreamView>>,
    pub(crate) feed_defaults: Option<FeedDefaultsView>,
    #[schema(schema_with = schema::reactivation)]
    pub(crate) reactivation: Option<Reactivation>,
    pub(crate) new_datastreams: Option<u32>,
    #[schema(schema_with = schema::proof)]
    pub(crate) proof: Option<ProofPolicy>,
    /// Null takes the end away.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) codes_until: Option<Option<Timestamp>>,
    #[schema(schema_with = schema::hardware)]
    pub(crate) hardware: Option<HardwareMode>,
    #[schema(schema_with = schema::facts)]
    pub(crate) may_change: Option<FactSet>,
    #[schema(schema_with = schema::on_clone)]
    pub(crate) on_clone: Option<OnClone>,
    /// Null takes the limit away.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::count_or_null)]
    pub(crate) seats: Option<Option<u64>>,
    /// Null takes the lease away.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::seconds_or_null)]
    pub(crate) lease_seconds: Option<Option<u64>>,
}

/// A secret to be given to a product.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewSecret)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecretWish {
    /// 40 hex characters; drawn if it is not given.
    pub(crate) secret: Option<String>,
    /// How long the one before is accepted; nothing ends it at once.
    #[schema(default = 7_776_000)]
    pub(crate) grace_seconds: u64,
}

impl SecretWish {
    /// 90 days: time for a factory to change what it burns in, and for what
    /// lies on shelves to be sold.
    pub(crate) const GRACE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
}

impl Default for SecretWish {
    fn default() -> Self {
        Self {
            secret: None,
            grace_seconds: Self::GRACE.as_secs(),
        }
    }
}

/// Serials to be made known to a product.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewDevices)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevicesWish {
    #[schema(value_type = String, example = "sBgAmJ5b9nLpQxT3VdKw")]
    pub(crate) product_id: ProductId,
    /// Each a serial, or an object with the serial, what its factory read on
    /// the board, and what people call it.
    #[schema(schema_with = schema::devices)]
    pub(crate) serials: Vec<DeviceWish>,
    /// Only says what would become of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
}

impl DevicesWish {
    /// To be registered.
    pub(crate) fn of(product_id: ProductId, serials: Vec<DeviceWish>) -> Self {
        Self {
            product_id,
            serials,
            dry_run: false,
        }
    }
}

/// What became of a list of serials that was taken in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = FinishedImport)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportWish {
    #[schema(value_type = String, example = "sBgAmJ5b9nLpQxT3VdKw")]
    pub(crate) product_id: ProductId,
    /// Newly registered.
    pub(crate) new: u64,
    /// Known before.
    pub(crate) known: u64,
    /// Lines that held no device.
    pub(crate) rejected: u64,
}

/// What people are to call a device.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewLabel)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelWish {
    /// 1 to 128 characters on one line; null takes it away.
    #[schema(value_type = Option<String>, example = "kitchen lamp")]
    pub(crate) label: Option<Label>,
}

/// An operator to be added, or one to be given another password and other
/// rights.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewOperator)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperatorWish {
    pub(crate) password: String,
    #[schema(schema_with = schema::role)]
    pub(crate) role: Role,
    /// Topics it may publish to, beside those of its role.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) publish: Vec<TopicFilter>,
    /// Topics it may subscribe, beside those of its role.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) subscribe: Vec<TopicFilter>,
}

/// A token to be made.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewToken)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    /// Whose; over HTTP, of whoever asks if it is not given.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) operator: Option<OperatorName>,
    /// What it is for.
    #[serde(default)]
    #[schema(example = "nightly import")]
    pub(crate) label: String,
    /// How long it works; for ever if it is not given.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(crate) seconds: Option<u64>,
}

/// A ban to be made.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewBan)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanWish {
    /// An address or a network.
    #[schema(value_type = String, example = "192.0.2.0/24")]
    pub(crate) network: Network,
    /// How long it holds; until it is removed if it is not given.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub(crate) seconds: Option<u64>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Even if that may lock out this machine or nearly everybody.
    #[serde(default)]
    pub(crate) force: bool,
}

/// Devices that a block of their product leaves alone.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = NewBlock)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BlockWish {
    #[schema(value_type = Vec<String>)]
    pub(crate) except: Vec<DeviceName>,
}

/// A value to be kept as a datastream's current one.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = NewValue)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValueWish {
    #[schema(value_type = String, example = "temperature")]
    pub(crate) datastream: DatastreamId,
    #[schema(value_type = String, example = "21.5")]
    pub(crate) value: Value,
    /// When it was measured; now if it is not given.
    #[serde(default)]
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) at: Option<Timestamp>,
}

impl ProductWish {
    /// A product about which nothing more is said.
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            secret: None,
            description: String::new(),
            stage: Stage::default(),
            datastreams: Vec::new(),
            feed_defaults: FeedDefaultsView::default(),
            reactivation: until_confirmed(),
            new_datastreams: new_datastreams(),
            proof: ProofPolicy::default(),
            codes_until: None,
            hardware: HardwareMode::default(),
            may_change: FactSet::replaceable(),
            on_clone: OnClone::default(),
            seats: None,
            lease_seconds: None,
        }
    }
}

/// What is there, if only to say that there is nothing any more.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn until_confirmed() -> Reactivation {
    Reactivation::UntilConfirmed
}

fn new_datastreams() -> u32 {
    Product::NEW_DATASTREAMS
}
