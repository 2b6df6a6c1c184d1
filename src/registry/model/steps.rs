//! What may happen to a registry, drawn at random.

use std::collections::BTreeSet;

use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Device, Key, Transition};
use crate::entropy::counting::Counting;
use crate::event::NewEvent;
use crate::feed::{CurrentValue, Value};
use crate::hardware::Facts;
use crate::identity::{FeedId, ProductId, Serial};
use crate::label::Label;
use crate::mailbox::{Capacity, Change, Mail, Moment, Outcome, Resume, Retained, Subscription};
use crate::once::{Occasion, OccasionId};
use crate::operator::{Operator, OperatorName, Role};
use crate::product::{DatastreamId, Indexed, Product, ProductSecretSlot, Progress};
use crate::qos::Qos;
use crate::registry::conformance::{a_product, an_event, product};
use crate::registry::{
    Batch, Commit, Memory, Recoded, Registrant, Registration, Registry, RegistryError, Reseal,
    Write,
};
use crate::sealing::{SealedSecret, SealingKey};
use crate::secret::{ApiKey, CodeDigest, KeyDigest, OperatorToken, ProductSecret, TokenDigest};
use crate::token::{Token, TokenId};
use crate::topic::{Limits, TopicFilter, TopicName};

/// When courses begin.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Devices have numbers up to about this one.
pub(super) const FEEDS: u8 = 4;
/// So many kinds of steps.
const KINDS: u8 = 30;

/// One step, as numbers that are read as whatever is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    kind: u8,
    one: u8,
    two: u8,
    three: u8,
    /// Whether it is decided over what is there, or over what was there before.
    age: u8,
}

impl Draw {
    pub(super) fn new([kind, one, two, three, age]: [u8; 5]) -> Self {
        Self {
            kind: kind % KINDS,
            one,
            two,
            three,
            age,
        }
    }

    fn feed(self) -> FeedId {
        FeedId::new(u32::from(self.one % FEEDS) + 1).expect("valid")
    }

    /// A secret of a product.
    fn generation(self) -> u32 {
        u32::from(self.two % 3)
    }

    /// The version that is written over: sometimes that of before.
    fn version(self, current: u64) -> u64 {
        match self.age % 4 {
            0 => current.saturating_sub(1),
            _ => current,
        }
    }

    fn at(self) -> Timestamp {
        Timestamp::from_millis(START.as_millis() + u64::from(self.three % 8) * 1000)
    }
}

/// What one step asks of a store.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Write(Box<Write>, Vec<NewEvent>),
    Register(Batch),
    Mailbox(FeedId, Change),
}

/// What the store answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Written(Result<Commit, RegistryError>),
    Registered(Result<Vec<Registration>, RegistryError>),
    Changed(Result<Outcome, RegistryError>),
}

impl Request {
    /// Whether the registry is sealed otherwise from then on.
    pub(super) fn seals(&self, answer: &Answer) -> bool {
        let Self::Write(write, _) = self else {
            return false;
        };
        let seals = matches!(**write, Write::Reseal(_) | Write::SealingProof(_));
        seals && *answer == Answer::Written(Ok(Commit::Done))
    }

    /// Whether a store takes these two in their order if they come at once. A
    /// registration may wait behind others.
    pub(super) fn keeps_its_place(&self, next: &Self) -> bool {
        ![self, next]
            .iter()
            .any(|one| matches!(one, Self::Register(_)))
    }

    pub(super) async fn ask(self, registry: &impl Registry) -> Answer {
        match self {
            Self::Write(write, events) => Answer::Written(registry.commit(*write, events).await),
            Self::Register(batch) => Answer::Registered(registry.register(batch).await),
            Self::Mailbox(feed, change) => {
                Answer::Changed(registry.change_mailbox(feed, change).await)
            }
        }
    }
}

/// What was drawn on the way: nobody draws the same key twice.
#[derive(Default)]
pub(super) struct World {
    entropy: Counting,
    /// Keys that devices were given.
    pub(super) keys: BTreeSet<KeyDigest>,
}

impl World {
    /// What a step asks for, decided over what the reference holds.
    pub(super) async fn request(&mut self, reference: &Memory, draw: Draw) -> Request {
        match draw.kind {
            0..3 => Request::Register(batch(draw)),
            3..7 => Request::Mailbox(draw.feed(), change(draw)),
            _ => {
                let (write, events) = self.write(reference, draw).await;
                Request::Write(Box::new(write), events)
            }
        }
    }

    async fn write(&mut self, reference: &Memory, draw: Draw) -> (Write, Vec<NewEvent>) {
        let events = vec![an_event(); usize::from(draw.age % 3)];
        let feed = draw.feed();
        let write = match draw.kind {
            7..11 => return self.device(device(reference, draw).await, draw),
            11 => {
                let (write, events) = self.device(device(reference, draw).await, draw);
                let Write::Device(device) = write else {
                    return (write, events);
                };
                let seats = u64::from(draw.three % 4);
                return (Write::Seated { device, seats }, events);
            }
            12 => Write::Counted {
                feed,
                counter: u64::from(draw.two % 6) * 50,
            },
            13 => Write::LicenceKey(self.sealed()),
            14 => Write::Product(Box::new(a_product_of(reference, draw).await)),
            15 => Write::RemoveProduct(Box::new(a_product_of(reference, draw).await)),
            16 => {
                let mut operator = Operator::for_tests(operator(draw.one), Role::Viewer);
                let known = reference.operator(&operator.name).await.expect("readable");
                operator.version = draw.version(known.map_or(0, |known| known.version));
                Write::Operator(operator)
            }
            17 => Write::RemoveOperator(operator(draw.one)),
            18 => match draw.two % 4 {
                0 => Write::RemoveBan(network(draw.one)),
                1 => Write::DropBan(ban(draw)),
                _ => Write::Ban(ban(draw)),
            },
            19 => Write::Datastream {
                feed,
                datastream: datastream(draw.two),
                most: u32::from(draw.three % 3),
            },
            20 => values(feed, draw),
            21 => {
                let device = device(reference, draw).await;
                let codes = vec![code(&device.serial)];
                Write::RemoveDevice {
                    device,
                    generation: draw.generation(),
                    codes,
                    signed_until: None,
                }
            }
            22 => {
                let device = device(reference, draw).await;
                let serial = serial(draw.two);
                Write::RenameDevice {
                    generation: draw.generation(),
                    ended: vec![code(&device.serial)],
                    codes: vec![code(&serial)],
                    device,
                    serial,
                    signed_until: None,
                }
            }
            23 => match draw.two % 3 {
                0 => Write::RemoveToken(token(draw.one).digest),
                _ => Write::Token(Token {
                    label: draw.three.to_string(),
                    ..token(draw.one)
                }),
            },
            24 => {
                let id = occasion(draw.one);
                match draw.two % 3 {
                    0 => Write::Begin(id, self.occasion(draw)),
                    1 => Write::End(id, self.occasion(draw)),
                    _ => Write::Forget(id),
                }
            }
            25 => Write::SealingProof(self.sealed()),
            26 => Write::Reseal(Box::new(self.reseal(reference, draw).await)),
            27 | 28 => Write::Codes {
                product: Box::new(a_product_of(reference, draw).await),
                members: vec![recoded(device(reference, draw).await, draw)],
            },
            _ => Write::Note,
        };
        (write, events)
    }

    /// Something that happens to a device.
    fn device(&mut self, device: Device, draw: Draw) -> (Write, Vec<NewEvent>) {
        let before = device.clone();
        let changed = match draw.two % 6 {
            0 | 1 => {
                let key = ApiKey::generate(&self.entropy).digest();
                self.keys.insert(key);
                let generation = u32::from(draw.three % 3);
                Some(device.issue(Key::Api(key), generation, START))
            }
            2 => device.confirm(START),
            3 => device.apply(Transition::Suspend, START).ok(),
            4 => device.apply(Transition::Reset, START).ok(),
            _ => device.apply(Transition::Revoke, START).ok(),
        };
        match changed {
            Some(changed) => (Write::Device(changed.device), changed.events),
            // Whatever it is, it may be written as it is.
            None => (Write::Device(before), Vec::new()),
        }
    }

    /// Everything that is sealed, or nearly.
    async fn reseal(&self, reference: &Memory, draw: Draw) -> Reseal {
        let proof = reference.sealing_proof().await.expect("readable");
        let licence_key = reference.licence_key().await.expect("readable");
        let mut products = reference.products().await.expect("readable");
        products.truncate(usize::from(draw.one));
        for product in &mut products {
            product.version = draw.version(product.version);
        }
        let mut occasions = Vec::new();
        for (id, _) in reference.occasions().await.expect("readable") {
            let found = reference.occasion(&id).await.expect("readable");
            if let Some(mut found) = found.filter(|found| found.response.is_some()) {
                found.response = Some(self.sealed());
                occasions.push((id, found));
            }
        }
        Reseal {
            before: proof.unwrap_or_else(|| self.sealed()),
            proof: self.sealed(),
            products,
            licence_key: licence_key.map(|_| self.sealed()),
            occasions,
        }
    }

    fn sealed(&self) -> SealedSecret {
        SealingKey::generate(&self.entropy).seal_bytes(b"secret", b"", &self.entropy)
    }

    fn occasion(&self, draw: Draw) -> Occasion {
        Occasion {
            at: draw.at(),
            request: [draw.three; 32],
            response: draw.age.is_multiple_of(2).then(|| self.sealed()),
        }
    }
}

/// A device as it is, or as it was before. One that is not there has a version
/// that none has: it may come to be there before the step does.
async fn device(reference: &Memory, draw: Draw) -> Device {
    let feed = draw.feed();
    match reference.device(feed).await.expect("readable") {
        Some(found) => Device {
            version: draw.version(found.version),
            ..found
        },
        None => Device {
            version: 0,
            ..Device::registered(product(0), serial(draw.two), feed, START)
        },
    }
}

/// A device whose codes are put into the index, or taken out of it.
fn recoded(device: Device, draw: Draw) -> Recoded {
    let codes = vec![code(&device.serial)];
    let (added, removed) = match draw.three % 2 {
        0 => (codes, Vec::new()),
        _ => (Vec::new(), codes),
    };
    Recoded {
        serial: device.serial,
        feed: device.feed,
        added,
        removed,
    }
}

/// One or two secrets, whose codes are in the index or come there.
fn secrets(draw: Draw) -> Vec<ProductSecretSlot> {
    let sealing = SealingKey::generate(&Counting::default());
    let slot = |generation: u32| ProductSecretSlot {
        generation,
        sealed: sealing.seal_bytes(&[], b"", &Counting::default()),
        expires_at: None,
        since: START,
        indexed: match draw.three % 2 {
            0 => Indexed::Whole,
            _ => Indexed::Growing(Progress::default()),
        },
    };
    let newest = draw.generation();
    (1..=newest).rev().map(slot).collect()
}

async fn a_product_of(reference: &Memory, draw: Draw) -> Product {
    let id = a_product_id(draw.one);
    let known = reference.product(&id).await.expect("readable");
    Product {
        version: draw.version(known.map_or(0, |known| known.version)),
        name: draw.three.to_string(),
        secrets: secrets(draw),
        id,
        ..a_product()
    }
}

fn batch(draw: Draw) -> Batch {
    // One after another, so that a batch may name one twice.
    let serials = [draw.one, draw.two, draw.three].into_iter().map(serial);
    let registrant = |serial: Serial| Registrant {
        codes: vec![code(&serial)],
        serial,
        hardware: Facts::default(),
        label: Label::parse("lamp").ok(),
    };
    Batch {
        product: a_product_id(draw.age),
        generation: draw.generation(),
        devices: serials
            .take(usize::from(draw.age % 4))
            .map(registrant)
            .collect(),
        at: draw.at(),
    }
}

fn values(feed: FeedId, draw: Draw) -> Write {
    let names: BTreeSet<u8> = [draw.two % 4, draw.three % 4, draw.age % 4].into();
    let value = |of: &u8| CurrentValue {
        datastream: datastream(*of),
        value: Value::parse(&draw.age.to_string()).expect("valid"),
        at: draw.at(),
    };
    Write::Values {
        feed,
        values: names.iter().map(value).collect(),
        names: names
            .iter()
            .filter(|of| **of > 1)
            .map(|of| datastream(*of))
            .collect(),
        most: u32::from(draw.age % 3),
    }
}

fn change(draw: Draw) -> Change {
    let connection = u64::from(draw.two % 2);
    let capacity = Capacity {
        messages: 3,
        bytes: 100,
    };
    let moment = Moment {
        at: draw.at(),
        running_since: START,
    };
    let mail = Mail {
        topic: TopicName::parse(topic(draw.three), Limits::DEVICE).expect("valid"),
        expires_at: None,
        retained: false,
        content: vec![draw.age],
    };
    match draw.two % 12 {
        0 | 1 => Change::Open {
            connection,
            client_id: "c".to_owned(),
            resume: match draw.age % 3 {
                0 => Resume::No,
                _ => Resume::Yes,
            },
            expiry: [0, 2, u32::MAX][usize::from(draw.age % 3)],
            moment,
        },
        2 | 3 => Change::Subscribe {
            connection,
            subscription: Subscription {
                filter: filter(draw.three),
                qos: match draw.age % 3 {
                    0 => Qos::AtMostOnce,
                    _ => Qos::AtLeastOnce,
                },
                retain_as_published: false,
                identifier: None,
            },
            retained: match draw.age % 2 {
                0 => Retained::Wanted,
                _ => Retained::Unwanted,
            },
            capacity,
        },
        4 => Change::Unsubscribe {
            connection,
            filters: vec![filter(draw.three)],
        },
        5..=7 => Change::Post {
            mail,
            capacity,
            moment,
        },
        8 => Change::Configure {
            mail: (!draw.age.is_multiple_of(3)).then_some(mail),
            capacity,
            moment,
        },
        9 => Change::Take {
            connection,
            numbers: vec![u64::from(draw.age % 4), u64::from(draw.three % 8)],
        },
        10 => Change::Close {
            connection,
            expiry: draw.age.is_multiple_of(2).then_some(2),
            sent: 1,
            received: vec![1],
            at: draw.at(),
        },
        _ => Change::Expire { moment },
    }
}

fn topic(number: u8) -> &'static str {
    ["a", "b"][usize::from(number % 2)]
}

fn filter(number: u8) -> TopicFilter {
    let text = ["#", "a", "b"][usize::from(number % 3)];
    TopicFilter::parse(text, Limits::DEVICE).expect("valid")
}

pub(super) fn a_product_id(number: u8) -> ProductId {
    product(number % 2)
}

pub(super) fn serial(number: u8) -> Serial {
    Serial::parse(["a", "b", "a+", "B"][usize::from(number % 4)]).expect("valid")
}

/// Two products share a secret: a code may find two devices.
pub(super) fn code(serial: &Serial) -> CodeDigest {
    let secret = ProductSecret::generate(&Counting::default());
    ActivationCode::compute(&secret, serial).digest()
}

pub(super) fn operator(number: u8) -> OperatorName {
    OperatorName::parse(["ann", "bob"][usize::from(number % 2)]).expect("valid")
}

/// The same token each time it is drawn.
fn token(number: u8) -> Token {
    let entropy = Counting::default();
    let mut drawn = Vec::new();
    for _ in 0..=number % 3 {
        drawn.push((
            TokenId::generate(&entropy),
            OperatorToken::generate(&entropy),
        ));
    }
    let (id, secret) = drawn.pop().expect("at least one");
    Token {
        id,
        operator: operator(number),
        label: String::new(),
        digest: secret.digest(),
        created_at: START,
        expires_at: None,
    }
}

pub(super) fn token_digest(number: u8) -> TokenDigest {
    token(number).digest
}

pub(super) fn occasion(number: u8) -> OccasionId {
    OccasionId::of(&operator(0), START, None, &(number % 3).to_string())
}

fn network(number: u8) -> Network {
    Network::parse(["192.0.2.7", "192.0.2.0/24"][usize::from(number % 2)]).expect("valid")
}

fn ban(draw: Draw) -> Ban {
    Ban {
        network: network(draw.one),
        reason: draw.three.is_multiple_of(2).then(|| "noise".to_owned()),
        at: START,
        until: None,
    }
}

fn datastream(number: u8) -> DatastreamId {
    DatastreamId::parse(["w", "x", "y", "z"][usize::from(number % 4)]).expect("valid")
}

/// Fails to compile when there is a write that no step makes, and fails when
/// one is never drawn.
pub(super) fn every_write_is_drawn() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let drawn = runtime.expect("a runtime").block_on(async {
        let mut drawn = BTreeSet::new();
        for kind in 0..KINDS {
            for two in 0..12 {
                let draw = Draw::new([kind, 0, two, 0, 1]);
                let request = World::default().request(&Memory::default(), draw).await;
                if let Request::Write(write, _) = request {
                    drawn.insert(name(&write));
                }
            }
        }
        drawn
    });
    assert_eq!(drawn.len(), NAMES, "{drawn:?}");
}

/// So many names there are.
const NAMES: usize = 24;

fn name(write: &Write) -> &'static str {
    match write {
        Write::Device(_) => "device",
        Write::Seated { .. } => "seated",
        Write::Counted { .. } => "counted",
        Write::LicenceKey(_) => "licence key",
        Write::Product(_) => "product",
        Write::Operator(_) => "operator",
        Write::RemoveOperator(_) => "remove operator",
        Write::Ban(_) => "ban",
        Write::RemoveBan(_) => "remove ban",
        Write::DropBan(_) => "drop ban",
        Write::Datastream { .. } => "datastream",
        Write::Values { .. } => "values",
        Write::RemoveDevice { .. } => "remove device",
        Write::RenameDevice { .. } => "rename device",
        Write::RemoveProduct(_) => "remove product",
        Write::Token(_) => "token",
        Write::RemoveToken(_) => "remove token",
        Write::Begin(..) => "begin",
        Write::End(..) => "end",
        Write::Forget(_) => "forget",
        Write::SealingProof(_) => "sealing proof",
        Write::Reseal(_) => "reseal",
        Write::Codes { .. } => "codes",
        Write::Note => "note",
    }
}
