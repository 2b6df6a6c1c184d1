//! The layouts that rows have had: one byte before each row tells which.
//!
//! A row is written in its newest layout only. Rows of an earlier one are read
//! for ever, and rewritten when they change: nothing is migrated at a start.
//! An earlier layout is a struct of its own here, never touched again.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Counters;
use crate::ban::Ban;
use crate::clock::Timestamp;
use crate::clones::OnClone;
use crate::device::{Device, Exceptions, Key, Keys, Standing};
use crate::event::NewEvent;
use crate::feed::CurrentValue;
use crate::hardware::{Facts, HardwarePolicy};
use crate::identity::{FeedId, ProductId, Serial};
use crate::label::Label;
use crate::licence::Licence;
use crate::mailbox::{Mail, Mailbox};
use crate::once::Occasion;
use crate::operator::Operator;
use crate::product::{
    Block, Datastream, DatastreamId, Indexed, Product, ProductSecretSlot, Profile, ProofPolicy,
    Reactivation,
};
use crate::registry::{Census, ProductCensus};
use crate::sealing::SealedSecret;
use crate::secret::KeyDigest;
use crate::signed::LoginMark;
use crate::token::Token;
use crate::window::Window;

/// What can lie in a row.
pub(in crate::registry) trait Row: Serialize + DeserializeOwned {
    /// The layout that is written.
    const LAYOUT: u8 = 1;

    /// Reads a row of an earlier layout, if there is one of this number.
    fn read_earlier(_layout: u8, _body: &[u8]) -> Option<postcard::Result<Self>> {
        None
    }
}

impl Row for u32 {}
impl Row for FeedId {}
impl Row for Vec<FeedId> {}
impl Row for Vec<DatastreamId> {}
impl Row for Operator {}
impl Row for Ban {}
impl Row for NewEvent {}
impl Row for Mail {}
impl Row for Mailbox {}
impl Row for Census {}
impl Row for CurrentValue {}
impl Row for Occasion {}
impl Row for Token {}
impl Row for SealedSecret {}
impl Row for Window {}

impl Row for ProductCensus {
    const LAYOUT: u8 = 2;

    fn read_earlier(layout: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        let before = |lifecycles| Self {
            lifecycles,
            generations: Vec::new(),
            signing: Vec::new(),
        };
        (layout == 1).then(|| postcard::from_bytes(body).map(before))
    }
}

impl Row for Counters {
    const LAYOUT: u8 = 2;

    fn read_earlier(layout: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        (layout == 1).then(|| postcard::from_bytes::<Counters1>(body).map(Into::into))
    }
}

impl Row for Device {
    const LAYOUT: u8 = 5;

    fn read_earlier(layout: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        Some(match layout {
            1 => postcard::from_bytes::<Device1>(body).map(Into::into),
            2 => postcard::from_bytes::<Device2>(body).map(Into::into),
            3 => postcard::from_bytes::<Device3>(body).map(Into::into),
            4 => postcard::from_bytes::<Device4>(body).map(Into::into),
            _ => return None,
        })
    }
}

impl Row for Product {
    const LAYOUT: u8 = 5;

    fn read_earlier(layout: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        Some(match layout {
            1 => postcard::from_bytes::<Product1>(body).map(Into::into),
            2 => postcard::from_bytes::<Product2>(body).map(Into::into),
            3 => postcard::from_bytes::<Product3>(body).map(Into::into),
            4 => postcard::from_bytes::<Product4>(body).map(Into::into),
            _ => return None,
        })
    }
}

/// The counters before a removed device's last login was remembered.
#[derive(Deserialize)]
struct Counters1 {
    newest_event: u64,
    newest_feed: u32,
    census: Census,
}

impl From<Counters1> for Counters {
    fn from(row: Counters1) -> Self {
        Self {
            newest_event: row.newest_event,
            newest_feed: row.newest_feed,
            census: row.census,
            signed_until: None,
        }
    }
}

/// A device before it could be excepted from a block.
#[derive(Deserialize)]
struct Device1 {
    product: ProductId,
    serial: Serial,
    feed: FeedId,
    version: u64,
    standing: Standing,
    keys: Keys2,
    ended: Option<KeyDigest>,
    generation: u32,
    registered_at: Timestamp,
    issued_at: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    reactivation_until: Option<Timestamp>,
}

impl From<Device1> for Device {
    fn from(row: Device1) -> Self {
        Device2 {
            product: row.product,
            serial: row.serial,
            feed: row.feed,
            version: row.version,
            standing: row.standing,
            keys: row.keys,
            ended: row.ended,
            generation: row.generation,
            registered_at: row.registered_at,
            issued_at: row.issued_at,
            confirmed_at: row.confirmed_at,
            reactivation_until: row.reactivation_until,
            exceptions: Exceptions::default(),
        }
        .into()
    }
}

/// A device before it could sign, and show its board.
#[derive(Deserialize)]
struct Device2 {
    product: ProductId,
    serial: Serial,
    feed: FeedId,
    version: u64,
    standing: Standing,
    keys: Keys2,
    ended: Option<KeyDigest>,
    generation: u32,
    registered_at: Timestamp,
    issued_at: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    reactivation_until: Option<Timestamp>,
    exceptions: Exceptions,
}

/// Key slots when every key was an API key.
#[derive(Deserialize)]
enum Keys2 {
    None,
    Pending(KeyDigest),
    Confirmed {
        current: KeyDigest,
        pending: Option<KeyDigest>,
    },
}

impl From<Keys2> for Keys {
    fn from(keys: Keys2) -> Self {
        match keys {
            Keys2::None => Self::None,
            Keys2::Pending(pending) => Self::Pending(Key::Api(pending)),
            Keys2::Confirmed { current, pending } => Self::Confirmed {
                current: Key::Api(current),
                pending: pending.map(Key::Api),
            },
        }
    }
}

impl From<Device2> for Device {
    fn from(row: Device2) -> Self {
        Device3 {
            product: row.product,
            serial: row.serial,
            feed: row.feed,
            version: row.version,
            standing: row.standing,
            keys: row.keys.into(),
            ended: row.ended,
            generation: row.generation,
            registered_at: row.registered_at,
            issued_at: row.issued_at,
            confirmed_at: row.confirmed_at,
            reactivation_until: row.reactivation_until,
            exceptions: row.exceptions,
            last_login: None,
            hardware: Facts::default(),
            lease_until: None,
        }
        .into()
    }
}

/// A device before it could have a label.
#[derive(Deserialize)]
struct Device3 {
    product: ProductId,
    serial: Serial,
    feed: FeedId,
    version: u64,
    standing: Standing,
    keys: Keys,
    ended: Option<KeyDigest>,
    generation: u32,
    registered_at: Timestamp,
    issued_at: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    reactivation_until: Option<Timestamp>,
    exceptions: Exceptions,
    last_login: Option<LoginMark>,
    hardware: Facts,
    lease_until: Option<Timestamp>,
}

impl From<Device3> for Device {
    fn from(row: Device3) -> Self {
        Device4 {
            product: row.product,
            serial: row.serial,
            feed: row.feed,
            version: row.version,
            standing: row.standing,
            keys: row.keys,
            ended: row.ended,
            generation: row.generation,
            registered_at: row.registered_at,
            issued_at: row.issued_at,
            confirmed_at: row.confirmed_at,
            reactivation_until: row.reactivation_until,
            exceptions: row.exceptions,
            last_login: row.last_login,
            hardware: row.hardware,
            lease_until: row.lease_until,
            label: None,
        }
        .into()
    }
}

/// A device before it was known where it had signed in from, and before an
/// operator had to let a board be enrolled.
#[derive(Deserialize)]
struct Device4 {
    product: ProductId,
    serial: Serial,
    feed: FeedId,
    version: u64,
    standing: Standing,
    keys: Keys,
    ended: Option<KeyDigest>,
    generation: u32,
    registered_at: Timestamp,
    issued_at: Option<Timestamp>,
    confirmed_at: Option<Timestamp>,
    reactivation_until: Option<Timestamp>,
    exceptions: Exceptions,
    last_login: Option<LoginMark>,
    hardware: Facts,
    lease_until: Option<Timestamp>,
    label: Option<Label>,
}

impl From<Device4> for Device {
    fn from(row: Device4) -> Self {
        Self {
            product: row.product,
            serial: row.serial,
            feed: row.feed,
            version: row.version,
            standing: row.standing,
            keys: row.keys,
            ended: row.ended,
            generation: row.generation,
            registered_at: row.registered_at,
            issued_at: row.issued_at,
            confirmed_at: row.confirmed_at,
            reactivation_until: row.reactivation_until,
            exceptions: row.exceptions,
            last_login: row.last_login,
            last_login_from: None,
            enrols_board: false,
            hardware: row.hardware,
            lease_until: row.lease_until,
            label: row.label,
        }
    }
}

/// A product before its blocks had numbers and its devices datastreams of
/// their own.
#[derive(Deserialize)]
struct Product1 {
    id: ProductId,
    version: u64,
    name: String,
    secrets: Vec<Slot4>,
    datastreams: Vec<DatastreamId>,
    reactivation: Reactivation,
    blocked: bool,
    created_at: Timestamp,
}

impl From<Product1> for Product {
    fn from(row: Product1) -> Self {
        let newest = u32::from(row.blocked);
        Product2 {
            id: row.id,
            version: row.version,
            name: row.name,
            secrets: row.secrets,
            datastreams: row.datastreams,
            reactivation: row.reactivation,
            block: Block {
                newest,
                current: row.blocked.then_some(newest),
            },
            new_datastreams: Self::NEW_DATASTREAMS,
            created_at: row.created_at,
        }
        .into()
    }
}

/// A product before there was anything to tell people about it and its
/// datastreams.
#[derive(Deserialize)]
struct Product2 {
    id: ProductId,
    version: u64,
    name: String,
    secrets: Vec<Slot4>,
    datastreams: Vec<DatastreamId>,
    reactivation: Reactivation,
    block: Block,
    new_datastreams: u32,
    created_at: Timestamp,
}

impl From<Product2> for Product {
    fn from(row: Product2) -> Self {
        Product3 {
            id: row.id,
            version: row.version,
            name: row.name,
            secrets: row.secrets,
            datastreams: row.datastreams.into_iter().map(Into::into).collect(),
            reactivation: row.reactivation,
            block: row.block,
            new_datastreams: row.new_datastreams,
            created_at: row.created_at,
            profile: Profile::default(),
        }
        .into()
    }
}

/// A product before its devices could sign.
#[derive(Deserialize)]
struct Product3 {
    id: ProductId,
    version: u64,
    name: String,
    secrets: Vec<Slot4>,
    datastreams: Vec<Datastream>,
    reactivation: Reactivation,
    block: Block,
    new_datastreams: u32,
    created_at: Timestamp,
    profile: Profile,
}

impl From<Product3> for Product {
    fn from(row: Product3) -> Self {
        Product4 {
            id: row.id,
            version: row.version,
            name: row.name,
            secrets: row.secrets,
            datastreams: row.datastreams,
            reactivation: row.reactivation,
            block: row.block,
            new_datastreams: row.new_datastreams,
            created_at: row.created_at,
            profile: row.profile,
            proof: ProofPolicy::default(),
            codes_until: None,
            hardware: HardwarePolicy::default(),
            pepper: None,
            on_clone: OnClone::default(),
            licence: Licence::default(),
        }
        .into()
    }
}

/// A product before its secret could be replaced.
#[derive(Deserialize)]
struct Product4 {
    id: ProductId,
    version: u64,
    name: String,
    secrets: Vec<Slot4>,
    datastreams: Vec<Datastream>,
    reactivation: Reactivation,
    block: Block,
    new_datastreams: u32,
    created_at: Timestamp,
    profile: Profile,
    proof: ProofPolicy,
    codes_until: Option<Timestamp>,
    hardware: HardwarePolicy,
    pepper: Option<SealedSecret>,
    on_clone: OnClone,
    licence: Licence,
}

/// A secret that its product was made with.
#[derive(Deserialize)]
struct Slot4 {
    generation: u32,
    sealed: SealedSecret,
    expires_at: Option<Timestamp>,
}

impl From<Product4> for Product {
    fn from(row: Product4) -> Self {
        let slot = |slot: Slot4| ProductSecretSlot {
            generation: slot.generation,
            sealed: slot.sealed,
            expires_at: slot.expires_at,
            since: row.created_at,
            indexed: Indexed::Whole,
        };
        Self {
            id: row.id,
            version: row.version,
            name: row.name,
            secrets: row.secrets.into_iter().map(slot).collect(),
            datastreams: row.datastreams,
            reactivation: row.reactivation,
            block: row.block,
            new_datastreams: row.new_datastreams,
            created_at: row.created_at,
            profile: row.profile,
            proof: row.proof,
            codes_until: row.codes_until,
            hardware: row.hardware,
            pepper: row.pepper,
            on_clone: row.on_clone,
            licence: row.licence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    /// As the first layout wrote them.
    const DEVICE: &str = "0114616161616161616161616161616161616161616103532b31f803ac02010249437a08ed80c79ef13d919e0335595f226220e0a00051b2fd28c0fba54e320200000380d095ffbc3101e8d795ffbc3101d0df95ffbc3101b8e795ffbc31";
    const PRODUCT: &str = "0114626262626262626262626262626262626262626205076c616d7020c3a901018005f02d43fa06e7d0585fb64c961d57e318b27a145c857b24fc21f0be06c84aa73fdbf8cf132b790c023cf984f78c41f02f7439d21652b05d9dd5ea350109010161010180d095ffbc31";

    #[test]
    fn rows_of_the_first_layout_are_read() {
        let at = Timestamp::from_millis;
        let row = hex::decode(DEVICE).expect("hex");
        let device: Device = decode(&row).expect("readable");
        assert_eq!(device.serial.as_str(), "S+1");
        assert_eq!((device.feed.as_u32(), device.version), (504, 300));
        assert_eq!(device.standing, Standing::Suspended);
        assert!(matches!(device.keys, Keys::Confirmed { pending: None, .. }));
        assert_eq!((device.ended, device.generation), (None, 3));
        assert_eq!(device.confirmed_at, Some(at(1_700_000_002_000)));
        assert_eq!(device.reactivation_until, Some(at(1_700_000_003_000)));
        assert_eq!(device.exceptions, Exceptions::default());
        assert_eq!(
            (device.hardware.is_empty(), device.lease_until),
            (true, None)
        );

        let row = hex::decode(PRODUCT).expect("hex");
        let product: Product = decode(&row).expect("readable");
        assert_eq!((product.name.as_str(), product.version), ("lamp é", 5));
        assert_eq!(product.secrets[0].expires_at, Some(at(9)));
        assert_eq!(product.secrets[0].since, product.created_at);
        assert_eq!(product.secrets[0].indexed, Indexed::Whole);
        assert_eq!(product.reactivation, Reactivation::Always);
        assert_eq!(product.new_datastreams, 100);
        assert!(device.is_blocked(product.block), "it was blocked");
        assert_eq!(product.created_at, at(1_700_000_000_000));

        // And written anew in the newest.
        let row = encode(&device);
        assert_eq!((row[0], decode(&row)), (5, Ok(device)));
        let row = encode(&product);
        assert_eq!((row[0], decode(&row)), (5, Ok(product)));
    }

    #[test]
    fn rows_of_the_second_layout_are_read() {
        // The first up to the policy; then a block and a number of its own.
        let (start, _) = PRODUCT[2..].split_at(PRODUCT.len() - 2 - "0180d095ffbc31".len());
        let row = hex::decode(format!("02{start}0301030780d095ffbc31"));
        let product: Product = decode(&row.expect("hex")).expect("readable");
        assert_eq!((product.name.as_str(), product.version), ("lamp é", 5));
        assert_eq!((product.block.newest, product.block.current), (3, Some(3)));
        assert_eq!(product.new_datastreams, 7);
        assert_eq!(product.datastreams.len(), 1);
        assert_eq!(
            product.created_at,
            Timestamp::from_millis(1_700_000_000_000)
        );
        assert_eq!(product.profile, Profile::default());
    }

    #[test]
    fn a_product_of_the_third_layout_is_read() {
        // The first up to its secrets; then a datastream with a tag, a policy, a
        // block, a number of its own, and a profile.
        let (start, _) = PRODUCT[2..].split_at(PRODUCT.len() - 2 - "010161010180d095ffbc31".len());
        let rest = "01016101017800010301030780d095ffbc31016401000001";
        let product: Product =
            decode(&hex::decode(format!("03{start}{rest}")).expect("hex")).expect("readable");
        assert_eq!(product.datastreams[0].tags, ["x"]);
        assert_eq!(
            (product.block.current, product.new_datastreams),
            (Some(3), 7)
        );
        assert_eq!(product.profile.description, "d");
        assert_eq!(product.proof, ProofPolicy::Either);
        assert_eq!(product.hardware, HardwarePolicy::default());
        assert!(product.pepper.is_none() && product.licence.is_none());
    }

    #[test]
    fn a_product_of_the_fourth_layout_is_read() {
        // The third, and then: signed, codes until then, hardware with four
        // facts that may change, no pepper, quarantine, nine seats and a lease.
        let (start, _) = PRODUCT[2..].split_at(PRODUCT.len() - 2 - "010161010180d095ffbc31".len());
        let rest = "01016101017800010301030780d095ffbc31016401000001";
        let more = "01010901040304050600010109013c0000";
        let row = hex::decode(format!("04{start}{rest}{more}")).expect("hex");
        let product: Product = decode(&row).expect("readable");
        assert_eq!(product.proof, ProofPolicy::Signed);
        assert_eq!(product.codes_until, Some(Timestamp::from_millis(9)));
        assert_eq!(product.on_clone, OnClone::Quarantine);
        assert_eq!(product.licence.seats, Some(9));
        let secret = &product.secrets[0];
        assert_eq!((secret.generation, secret.since), (1, product.created_at));
        assert_eq!(secret.indexed, Indexed::Whole, "it was registered with");
        assert_eq!(decode(&encode(&product)), Ok(product));
    }

    #[test]
    fn a_device_of_the_second_layout_is_read() {
        let row = hex::decode(format!("02{}0005", &DEVICE[2..])).expect("hex");
        let device: Device = decode(&row).expect("readable");
        assert!(device.exceptions.cover(5));
        let key = device.keys.current().expect("confirmed");
        assert!(matches!(key, Key::Api(_)), "it was an API key");
        assert_eq!(device.last_login, None);
    }

    #[test]
    fn a_row_of_no_known_layout_is_damage() {
        let mut row = hex::decode(DEVICE).expect("hex");
        row[0] = 9;
        assert!(decode::<Device>(&row).is_err());
        assert!(decode::<Device>(&[]).is_err());
        assert!(decode::<Operator>(&[2, 0]).is_err());
    }
}
