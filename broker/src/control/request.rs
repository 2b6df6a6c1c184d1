//! What a command asks, and what it is answered.
//!
//! One JSON object a line, both ways. Neither type prints: requests may carry
//! passwords, and some replies carry a secret.

use std::path::PathBuf;

use firstwake::registry::backup::Inventory;
use firstwake::{
    Ban, DeviceName, FeedId, Label, Network, OperatorName, ProductId, Qos, Role, Serial, Timestamp,
    TokenId, topic::TopicFilter,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::declined::Declined;
use super::view::{
    CensusView, DeviceView, ExplanationView, FeedView, FleetView, LicenceKeyView, OperatorView,
    ProductView, TokenView, VersionView,
};
use super::wish::{
    BanWish, DevicesWish, ImportWish, ProductPatch, ProductWish, SecretWish, TokenWish, ValueWish,
};

/// What a command asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    CreateProduct(ProductWish),
    /// Only what is given is changed.
    ChangeProduct {
        product: ProductId,
        change: ProductPatch,
    },
    /// With all its devices.
    RemoveProduct {
        product: ProductId,
    },
    /// Its newest secret.
    Secret {
        product: ProductId,
    },
    /// Another secret; the one before is accepted for a while.
    RotateSecret {
        product: ProductId,
        wish: SecretWish,
    },
    /// The end of a secret that another one has replaced.
    EndSecret {
        product: ProductId,
        generation: u32,
    },
    /// What its devices' facts are hashed under.
    Pepper {
        product: ProductId,
    },
    /// How many of its devices are in each state.
    Census {
        product: ProductId,
    },
    Product {
        product: ProductId,
    },
    Products,
    /// Keeps its devices out but for these. If one of them cannot be excepted,
    /// nothing is blocked.
    BlockProduct {
        product: ProductId,
        except: Vec<DeviceName>,
    },
    UnblockProduct {
        product: ProductId,
    },
    Register(DevicesWish),
    /// A list of serials was taken in: what became of it.
    FinishImport(ImportWish),
    /// A product's activation codes, for its factory.
    Codes {
        product: ProductId,
        /// Behind this one.
        after: Option<Serial>,
        limit: usize,
    },
    Device {
        name: DeviceName,
    },
    /// Those that are looked for, in the order of products and serials.
    Devices {
        /// Of this product; of all if it is not given.
        product: Option<ProductId>,
        /// Behind this one, with its product.
        after: Option<DeviceName>,
        /// Part of its serial, in any case.
        serial: Option<String>,
        /// Whether it has been given a key.
        activated: Option<bool>,
        limit: usize,
    },
    /// Another serial, and with it another code.
    Rename {
        name: DeviceName,
        serial: Serial,
    },
    RemoveDevice {
        name: DeviceName,
    },
    /// What people call it.
    Label {
        name: DeviceName,
        label: Option<Label>,
    },
    /// Its activation code.
    Code {
        name: DeviceName,
    },
    /// The key that it signs with, if it has made none itself.
    DeviceKey {
        name: DeviceName,
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
    /// A feed's current values.
    Feed {
        feed: FeedId,
    },
    /// All of them are kept, or none.
    PutValues {
        feed: FeedId,
        values: Vec<ValueWish>,
    },
    Ban(BanWish),
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
    CreateToken(TokenWish),
    RemoveToken {
        token: TokenId,
    },
    Tokens,
    /// What licences are checked with.
    LicenceKey,
    Fleet,
    /// A copy of the registry, in a directory of the machine that it is on.
    BackUp {
        into: PathBuf,
    },
    /// Of the server that answers.
    Version,
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
    ForgetHardware,
    Renew,
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
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
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
    SecretRotated {
        generation: u32,
        /// The one before is accepted until then.
        until: Timestamp,
        /// Shown this once.
        secret: String,
    },
    Products(Vec<ProductView>),
    Product(ProductView),
    ProductRemoved {
        /// So many devices went with it.
        devices: u64,
    },
    /// A product's secret or pepper, a device's code or key, in hex.
    Shown(String),
    LicenceKey(LicenceKeyView),
    Census(CensusView),
    Changed(Outcome),
    Ban(Ban),
    Bans(Vec<Ban>),
    Registered(Registered),
    Codes(CodePage),
    Device(DeviceView),
    Devices(DevicePage),
    Explanation(Box<ExplanationView>),
    Feed(FeedView),
    Operators(Vec<OperatorView>),
    TokenCreated {
        token: TokenView,
        /// Shown this once.
        secret: String,
    },
    Tokens(Vec<TokenView>),
    Fleet(FleetView),
    BackedUp(Inventory),
    Version(VersionView),
    Events(Vec<Value>),
    Sent(Wanted),
    Done,
    Refused(Declined),
}

/// How many serials were registered.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Registered {
    pub(crate) new: usize,
    /// Known before: they stay as they are.
    pub(crate) known: usize,
    /// Named in the request more than once: each time but the first.
    #[serde(default)]
    pub(crate) repeated: usize,
}

/// Some of a product's activation codes.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CodePage {
    pub(crate) devices: Vec<CodeOf>,
    /// Where the next page begins (`after`); nothing at the end.
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Serial>,
}

/// A device's activation code. It does not print.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CodeOf {
    #[schema(value_type = String, example = "LAMP-000001")]
    pub(crate) serial: Serial,
    #[schema(value_type = Option<String>)]
    pub(crate) label: Option<Label>,
    /// 40 hex characters.
    pub(crate) activation_code: String,
}

/// Some of the devices that are looked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DevicePage {
    pub(crate) devices: Vec<DeviceView>,
    /// Where the next page begins (`after`); nothing at the end. A page may
    /// be short, or empty, and not the last.
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<DeviceName>,
}

/// What became of an act on many devices.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Outcome {
    pub(crate) changed: usize,
    /// It was so before.
    pub(crate) already: usize,
    pub(crate) failed: Vec<Failure>,
}

/// A device that was left as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Failure {
    #[schema(value_type = String)]
    pub(crate) device: DeviceName,
    pub(crate) reason: String,
}
