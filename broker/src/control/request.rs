//! What a command asks, and what it is answered.
//!
//! One JSON object a line, both ways. Neither type prints: requests may carry
//! passwords, and one reply carries a secret.

use firstwake::topic::TopicFilter;
use firstwake::{
    Ban, DatastreamId, Device, DeviceName, Explanation, FeedId, Lifecycle, Network, OperatorName,
    Product, ProductId, Qos, Reactivation, Role, Serial, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a command asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    CreateProduct {
        name: String,
        /// 40 hex characters; drawn if it is not given.
        secret: Option<String>,
        datastreams: Vec<DatastreamId>,
        reactivation: Reactivation,
        new_datastreams: u32,
    },
    /// Only what is given is changed.
    ChangeProduct {
        product: ProductId,
        name: Option<String>,
        datastreams: Option<Vec<DatastreamId>>,
        reactivation: Option<Reactivation>,
        new_datastreams: Option<u32>,
    },
    Product {
        product: ProductId,
    },
    Products,
    /// A number for a block that is being prepared.
    ReserveBlock {
        product: ProductId,
    },
    /// Excepts devices from that block.
    Except {
        product: ProductId,
        block: u32,
        names: Vec<DeviceName>,
    },
    /// The block takes effect.
    BlockProduct {
        product: ProductId,
        block: u32,
        excepted: u64,
    },
    UnblockProduct {
        product: ProductId,
    },
    Register {
        product: ProductId,
        serials: Vec<Serial>,
    },
    Device {
        name: DeviceName,
    },
    Devices {
        product: ProductId,
        after: Option<Serial>,
        limit: usize,
    },
    Change {
        name: DeviceName,
        act: Act,
    },
    /// The same act on many.
    ChangeMany {
        names: Vec<DeviceName>,
        act: Act,
    },
    Explain {
        name: DeviceName,
    },
    Send {
        feed: FeedId,
        note: Note,
    },
    Ban {
        network: Network,
        seconds: Option<u64>,
        reason: Option<String>,
    },
    Unban {
        network: Network,
    },
    Bans,
    AddOperator {
        name: OperatorName,
        password: String,
        role: Role,
        publish: Vec<TopicFilter>,
        subscribe: Vec<TopicFilter>,
    },
    RemoveOperator {
        name: OperatorName,
    },
    Operators,
    Events {
        after: u64,
        limit: usize,
    },
}

/// An operator's act on a device.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    Suspend,
    Resume,
    Quarantine,
    Release,
    Revoke,
    Reset,
    ResetFromRevoked,
    Reopen { seconds: u64 },
}

/// A message down to a device.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    Command {
        name: String,
        payload: Vec<u8>,
        qos: Qos,
        /// Seconds.
        expiry: Option<u32>,
    },
    /// An empty one clears it.
    Configuration { payload: Vec<u8> },
}

/// What became of a message.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// It waits until the device has received it.
    Waits,
    /// It was handed to the device's session.
    Handed,
    /// Nobody is there now; it is kept for later.
    Kept,
    /// Nobody is there, and it is gone.
    Nobody,
}

/// What a command is answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    ProductCreated {
        product: ProductView,
        /// Shown this once.
        secret: String,
    },
    Products(Vec<ProductView>),
    Product(ProductView),
    Block(u32),
    Changed(Outcome),
    Ban(Ban),
    Bans(Vec<Ban>),
    Registered {
        new: usize,
        known: usize,
    },
    Device(DeviceView),
    Devices(Vec<DeviceView>),
    Explanation(Box<Explanation>),
    Operators(Vec<OperatorView>),
    Events(Vec<Value>),
    Sent(Wanted),
    Done,
    /// One sentence.
    Refused(String),
}

/// What became of an act on many devices.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) changed: usize,
    /// It was so before.
    pub(crate) already: usize,
    /// Each with its reason.
    pub(crate) failed: Vec<(DeviceName, String)>,
}

/// A product, without its secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct ProductView {
    pub(crate) product_id: ProductId,
    pub(crate) name: String,
    pub(crate) datastreams: Vec<DatastreamId>,
    pub(crate) reactivation: Reactivation,
    pub(crate) new_datastreams: u32,
    pub(crate) blocked: bool,
    pub(crate) created_at: Timestamp,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        Self {
            product_id: product.id,
            name: product.name,
            datastreams: product.datastreams.into_iter().map(|it| it.id).collect(),
            reactivation: product.reactivation,
            new_datastreams: product.new_datastreams,
            blocked: product.block.current.is_some(),
            created_at: product.created_at,
        }
    }
}

/// A device, without its keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeviceView {
    pub(crate) serial: Serial,
    pub(crate) product_id: ProductId,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) feed_id: FeedId,
    pub(crate) registered_at: Timestamp,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) confirmed_at: Option<Timestamp>,
    pub(crate) reactivation_until: Option<Timestamp>,
}

impl From<Device> for DeviceView {
    fn from(device: Device) -> Self {
        Self {
            lifecycle: device.lifecycle(),
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

/// An operator, without its password.
#[derive(Serialize, Deserialize)]
pub(crate) struct OperatorView {
    pub(crate) name: OperatorName,
    pub(crate) role: Role,
    pub(crate) publish: Vec<TopicFilter>,
    pub(crate) subscribe: Vec<TopicFilter>,
}
