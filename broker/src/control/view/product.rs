//! A product as it is shown, and its parts as they are told and taken.

use firstwake::hardware::{FactSet, HardwareMode};
use firstwake::registry::ProductCensus;
use firstwake::{
    Datastream, DatastreamId, FeedDefaults, Lifecycle, OnClone, Product, ProductId, ProofPolicy,
    Reactivation, Stage, Timestamp, Unit, Visibility,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SecretView;
use crate::control::schema;

/// A product, without its secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Product)]
pub(crate) struct ProductView {
    #[schema(value_type = String, example = "sBgAmJ5b9nLpQxT3VdKw")]
    pub(crate) product_id: ProductId,
    #[schema(example = "lamp")]
    pub(crate) name: String,
    pub(crate) description: String,
    #[schema(schema_with = schema::stage)]
    pub(crate) stage: Stage,
    pub(crate) datastreams: Vec<DatastreamView>,
    pub(crate) feed_defaults: FeedDefaultsView,
    #[schema(schema_with = schema::reactivation)]
    pub(crate) reactivation: Reactivation,
    /// How many further datastreams each device may add.
    pub(crate) new_datastreams: u32,
    /// What its devices may prove themselves with.
    #[schema(schema_with = schema::proof)]
    pub(crate) proof: ProofPolicy,
    /// From then on no code is accepted.
    #[schema(schema_with = schema::time_or_null)]
    pub(crate) codes_until: Option<Timestamp>,
    /// What follows when a device shows other hardware than was enrolled.
    #[schema(schema_with = schema::hardware)]
    pub(crate) hardware: HardwareMode,
    /// Facts that may change without anything following.
    #[schema(schema_with = schema::facts)]
    pub(crate) may_change: FactSet,
    /// What follows a sign that a device was cloned.
    #[schema(schema_with = schema::on_clone)]
    pub(crate) on_clone: OnClone,
    /// How many of its devices may be activated.
    pub(crate) seats: Option<u64>,
    /// How many are: all but those that are registered or revoked.
    pub(crate) seats_taken: u64,
    /// How long a device may stay away.
    pub(crate) lease_seconds: Option<u64>,
    /// Whether its devices are kept out.
    pub(crate) blocked: bool,
    /// Those that are accepted, and those that were; the newest first.
    pub(crate) secrets: Vec<SecretView>,
    /// How many of its devices have never come with any.
    pub(crate) never_activated: u64,
    #[schema(schema_with = schema::time)]
    pub(crate) created_at: Timestamp,
}

/// One series of values.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Datastream)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatastreamView {
    /// 1 to 64 letters, digits and `_ - + .`
    #[schema(value_type = String, example = "temperature")]
    pub(crate) id: DatastreamId,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    pub(crate) unit: Option<UnitView>,
}

/// What values are measured in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Unit)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitView {
    #[serde(default)]
    #[schema(example = "Celsius")]
    pub(crate) label: Option<String>,
    #[serde(default)]
    #[schema(example = "C")]
    pub(crate) symbol: Option<String>,
    #[serde(default)]
    #[schema(example = "derivedSI")]
    pub(crate) kind: Option<String>,
}

/// What the feeds of a product's devices are called.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = FeedDefaults)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedDefaultsView {
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    #[schema(schema_with = schema::visibility)]
    pub(crate) visibility: Visibility,
}

impl ProductView {
    /// A product that has so many devices.
    pub(crate) fn of(product: Product, census: &ProductCensus, now: Timestamp) -> Self {
        let secrets = product.secrets.iter();
        let secrets = secrets.map(|slot| SecretView::of(slot, census, now));
        let secrets = secrets.collect();
        let profile = product.profile;
        Self {
            product_id: product.id,
            name: product.name,
            description: profile.description,
            stage: profile.stage,
            datastreams: product.datastreams.into_iter().map(Into::into).collect(),
            feed_defaults: profile.feed_defaults.into(),
            reactivation: product.reactivation,
            new_datastreams: product.new_datastreams,
            proof: product.proof,
            codes_until: product.codes_until,
            hardware: product.hardware.mode,
            may_change: product.hardware.may_change,
            on_clone: product.on_clone,
            seats: product.licence.seats,
            seats_taken: census.lifecycles.seats_taken(),
            lease_seconds: product.licence.lease.map(|lease| lease.as_secs()),
            blocked: product.block.current.is_some(),
            secrets,
            never_activated: census.lifecycles.of(Lifecycle::Registered),
            created_at: product.created_at,
        }
    }
}

impl From<Datastream> for DatastreamView {
    fn from(datastream: Datastream) -> Self {
        Self {
            id: datastream.id,
            tags: datastream.tags,
            unit: datastream.unit.map(|unit| UnitView {
                label: unit.label,
                symbol: unit.symbol,
                kind: unit.kind,
            }),
        }
    }
}

impl From<DatastreamView> for Datastream {
    fn from(view: DatastreamView) -> Self {
        Self {
            id: view.id,
            tags: view.tags,
            unit: view.unit.map(|unit| Unit {
                label: unit.label,
                symbol: unit.symbol,
                kind: unit.kind,
            }),
        }
    }
}

impl From<DatastreamId> for DatastreamView {
    fn from(id: DatastreamId) -> Self {
        Datastream::from(id).into()
    }
}

impl From<FeedDefaults> for FeedDefaultsView {
    fn from(defaults: FeedDefaults) -> Self {
        Self {
            title: defaults.title,
            tags: defaults.tags,
            visibility: defaults.visibility,
        }
    }
}

impl From<FeedDefaultsView> for FeedDefaults {
    fn from(view: FeedDefaultsView) -> Self {
        Self {
            title: view.title,
            tags: view.tags,
            visibility: view.visibility,
        }
    }
}
