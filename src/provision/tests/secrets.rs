//! A product's secrets: which are accepted until when, and who finds what by
//! a code.

use std::str::FromStr;

use proptest::prelude::*;

use super::signing::after;
use super::*;
use crate::entropy::Entropy;
use crate::event::EventKind;
use crate::product::{Indexed, Product};
use crate::registry::{Embedded, ProductCensus};

pub(super) const NEWER: &str = "be0f6928e3653cf175b7f8ebb2da50c6658b30b7";
const SERIAL: &str = "0123456789";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl World {
    async fn rotate(&self, secret: &str, grace: Duration, now: Timestamp) -> Rotated {
        let secret = ProductSecret::parse(secret).expect("valid");
        let rotated = self
            .door
            .rotate_secret(&self.product, Some(secret), grace, now);
        rotated.await.expect("rotated")
    }

    /// What becomes of a code over MQTT.
    async fn shown(&self, code: &str, now: Timestamp) -> Result<u32, Refusal> {
        let attempt = Attempt {
            username: Some(SERIAL),
            password: Some(code.as_bytes()),
            source: HERE,
            hardware: None,
        };
        match self.door.admit(attempt, now).await {
            Ok(Admission::Activation(activation)) => Ok(activation.generation),
            Err(NotAdmitted::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// The same over HTTP, where the device is not named.
    async fn posted(&self, code: &str, now: Timestamp) -> Result<(), Refusal> {
        let code = ActivationCode::parse(code).expect("40 hex");
        let claimed = Claimed::Code(&code);
        let json = AnswerFormat::Json;
        let answer = self
            .door
            .activate(claimed, Voucher::Nothing, json, HERE, now);
        match answer.await {
            Ok(_) => Ok(()),
            Err(NotAdmitted::Refused(refusal)) => Err(refusal),
            Err(NotAdmitted::Unavailable(error)) => panic!("{error}"),
        }
    }

    /// Walks until there is nothing left to do; says in how many steps.
    async fn index(&self, now: Timestamp) -> usize {
        let mut steps = 0;
        while self.door.index_codes(now).await.expect("written") == Indexing::Goes {
            steps += 1;
        }
        steps
    }

    async fn read(&self) -> Product {
        let found = self.registry.product(&self.product).await;
        found.expect("readable").expect("made before")
    }

    async fn finds(&self, secret: &str, serial: &str) -> bool {
        let code = ActivationCode::parse(&code(secret, serial)).expect("40 hex");
        let found = self.registry.by_code(&code.digest()).await;
        !found.expect("readable").is_empty()
    }

    async fn census(&self) -> ProductCensus {
        let census = self.registry.product_census(&self.product).await;
        census.expect("readable")
    }
}

#[tokio::test]
async fn two_secrets_are_accepted_until_the_earlier_ends() {
    let world = World::new(Reactivation::Always).await;
    let (old, new) = (code(SECRET, SERIAL), code(NEWER, SERIAL));
    assert_eq!(world.shown(&new, NOW).await, Err(Refusal::WrongCode));
    let rotated = world.rotate(NEWER, DAY, NOW).await;
    assert_eq!((rotated.generation, rotated.until), (2, NOW.plus(DAY)));

    let last = Timestamp::from_millis(rotated.until.as_millis() - 1);
    for now in [NOW, last] {
        assert_eq!(world.shown(&old, now).await, Ok(1));
        assert_eq!(world.shown(&new, now).await, Ok(2));
    }
    // The event says which one a device came with, and so does the count.
    for (code, generation) in [(&old, 1), (&new, 2)] {
        assert_eq!(world.posted(code, NOW).await.is_ok(), generation == 1);
        if generation == 2 {
            world.index(NOW).await;
            assert_eq!(world.posted(code, NOW).await, Ok(()));
        }
        assert_eq!(world.census().await.come_with(generation), 1);
        let events = world.registry.events(0, 100).await.expect("readable");
        let issued = events.iter().rev().find_map(|event| match event.body.kind {
            EventKind::ActivationIssued { generation } => Some(generation),
            _ => None,
        });
        assert_eq!(issued, Some(generation));
    }
    assert_eq!(world.census().await.come_with(1), 0);
    // From the deadline on the earlier one is a wrong code to whoever shows it.
    let end = rotated.until;
    assert_eq!(world.shown(&new, end).await, Ok(2));
    assert_eq!(world.shown(&old, end).await, Err(Refusal::SecretEnded));
    assert_eq!(world.posted(&old, end).await, Err(Refusal::SecretEnded));
    assert_eq!(Refusal::SecretEnded.proof(), Refusal::WrongCode.proof());
    let name = DeviceName::parse(SERIAL).expect("valid");
    let explained = world.door.explain(&name, end).await.expect("known");
    let mut kept = explained.attempts.iter().map(|it| it.refusal);
    assert!(kept.any(|it| it == Refusal::SecretEnded));
    // The one before that is no longer told from any wrong one.
    let third = world.rotate(&"c".repeat(40), Duration::ZERO, end).await;
    assert_eq!(third.generation, 3);
    assert_eq!(world.shown(&new, end).await, Err(Refusal::SecretEnded));
    assert_eq!(world.shown(&old, end).await, Err(Refusal::WrongCode));
}

#[tokio::test]
async fn a_third_secret_waits_for_the_end_of_the_first() {
    let world = World::new(Reactivation::Always).await;
    world.rotate(NEWER, DAY, NOW).await;
    let third = |now| world.door.rotate_secret(&world.product, None, DAY, now);
    let refused = third(NOW).await.expect_err("two are accepted");
    let told = refused.to_string();
    assert!(matches!(
        refused,
        SecretError::TwoLive { generation: 1, until } if until == NOW.plus(DAY)
    ));
    assert!(
        told.contains("end-secret") && told.contains("2023-11-15T"),
        "{told}"
    );
    // The newest cannot be ended, and one that is not there neither.
    let end = |generation| world.door.end_secret(&world.product, generation, NOW);
    assert!(matches!(end(2).await, Err(SecretError::Newest(2))));
    assert!(matches!(end(7).await, Err(SecretError::Absent(7))));
    end(1).await.expect("ended");
    let events = world.event_names().await;
    assert_eq!(
        events[events.len() - 2..],
        ["secret_rotated", "secret_ended"]
    );
    end(1).await.expect("as it is");
    assert_eq!(world.event_names().await, events, "nothing to be told");
    assert_eq!(
        world.shown(&code(SECRET, SERIAL), NOW).await,
        Err(Refusal::SecretEnded)
    );
    assert_eq!(third(NOW).await.expect("one is accepted").generation, 3);
    // No secret comes back.
    for known in [SECRET, NEWER] {
        let known = ProductSecret::parse(known).expect("valid");
        let again = world
            .door
            .rotate_secret(&world.product, Some(known), DAY, after(1));
        let refused = again.await.expect_err("known or two accepted");
        assert!(matches!(refused, SecretError::Known(_)), "{refused}");
    }
}

#[tokio::test]
async fn the_index_follows_a_rotation_and_an_end() {
    let world = World::new(Reactivation::Always).await;
    let serials: Vec<String> = (0..600).map(|n| format!("S{n:03}")).collect();
    let all: Vec<&str> = serials.iter().map(String::as_str).collect();
    world.register(&all).await;
    assert_eq!(
        world.index(NOW).await,
        0,
        "registering writes its own codes"
    );
    let rotated = world.rotate(NEWER, DAY, NOW).await;
    assert!(!world.finds(NEWER, "S599").await);
    assert_eq!(world.door.index_codes(NOW).await, Ok(Indexing::Goes));
    assert!(world.finds(NEWER, "S000").await && !world.finds(NEWER, "S599").await);

    // One comes, one goes, two are renamed across the place where the walk is.
    world.register(&["A000"]).await;
    let name = |text: &str| DeviceName::parse(text).expect("valid");
    let serial = |text: &str| Serial::parse(text).expect("valid");
    for (from, to) in [("S598", "A001"), ("S001", "T001")] {
        let from = name(from);
        let renamed = world.door.rename_device(&from, serial(to), NOW);
        renamed.await.expect("renamed");
    }
    let removed = world.door.remove_device(&name("S597"), NOW).await;
    removed.expect("removed");
    assert!(world.index(NOW).await >= 2);
    let page = world.registry.devices(&world.product, None, 1000).await;
    let page = page.expect("readable");
    assert_eq!(page.len(), 601);
    for device in &page {
        for secret in [SECRET, NEWER] {
            assert!(world.finds(secret, device.serial.as_str()).await);
        }
    }
    for gone in ["S597", "S598", "S001"] {
        assert!(!world.finds(SECRET, gone).await && !world.finds(NEWER, gone).await);
    }
    assert_eq!(world.read().await.secrets[0].indexed, Indexed::Whole);

    // An hour behind its end the earlier secret's codes go.
    assert_eq!(world.index(rotated.until).await, 0, "not yet");
    let later = rotated.until.plus(Duration::from_secs(60 * 60));
    assert_eq!(world.door.index_codes(later).await, Ok(Indexing::Goes));
    let from = name("S500");
    let renamed = world.door.rename_device(&from, serial("A003"), later);
    renamed.await.expect("renamed");
    assert_eq!(world.index(later).await, 2);
    assert!(
        !world.finds(SECRET, "A003").await,
        "it went behind the walk"
    );
    let page = world.registry.devices(&world.product, None, 1000).await;
    for device in page.expect("readable") {
        assert!(!world.finds(SECRET, device.serial.as_str()).await);
        assert!(world.finds(NEWER, device.serial.as_str()).await);
    }
    assert_eq!(world.read().await.secrets[1].indexed, Indexed::Nothing);
    let from = name("A000");
    let renamed = world.door.rename_device(&from, serial("A002"), later);
    renamed.await.expect("renamed");
    assert!(world.finds(NEWER, "A002").await && !world.finds(SECRET, "A002").await);
}

#[tokio::test]
async fn a_walk_goes_on_after_a_crash() {
    let world = World::new(Reactivation::Always).await;
    let serials: Vec<String> = (0..600).map(|n| format!("S{n:03}")).collect();
    let all: Vec<&str> = serials.iter().map(String::as_str).collect();
    world.register(&all).await;
    world.rotate(NEWER, DAY, NOW).await;
    world.door.index_codes(NOW).await.expect("a step");
    // A step that is not acknowledged, then a new process.
    world.registry.fail_after(0);
    assert!(world.door.index_codes(NOW).await.is_err());
    world.registry.crash();
    let entropy = Arc::new(Counting::default());
    let sealing = SealingKey::generate(&*entropy);
    let door = Provisioner::start(Arc::clone(&world.registry) as _, sealing, entropy);
    let world = World {
        door: door.await.expect("the same key"),
        ..world
    };
    assert_eq!(world.index(NOW).await, 2, "the first step stands");
    for serial in &serials {
        assert!(world.finds(NEWER, serial).await, "{serial}");
    }
}

#[tokio::test]
async fn whoever_knows_an_old_secret_only_leaves_nothing_out() {
    // Two servers over one registry; the second has not read the log yet.
    let world = World::new(Reactivation::Always).await;
    let entropy = Arc::new(Counting::default());
    let sealing = SealingKey::generate(&*entropy);
    let other = Provisioner::start(Arc::clone(&world.registry) as _, sealing, entropy);
    let other = other.await.expect("the same key");
    world.rotate(NEWER, DAY, NOW).await;
    world.index(NOW).await;
    let late = Serial::parse("A").expect("valid");
    let registered = other.register(&world.product, vec![late.into()], NOW);
    registered.await.expect("registered");
    assert!(!world.finds(NEWER, "A").await);
    world
        .door
        .reload_product(&world.product)
        .await
        .expect("read");
    world.index(NOW).await;
    assert!(world.finds(NEWER, "A").await);
    let name = DeviceName::parse("A").expect("valid");
    let to = Serial::parse("B").expect("valid");
    other.rename_device(&name, to, NOW).await.expect("renamed");
    assert!(world.finds(NEWER, "B").await && !world.finds(NEWER, "A").await);
    // Both walk: nothing is done twice over, nothing is left out.
    let third = world.door.end_secret(&world.product, 1, NOW).await;
    third.expect("ended");
    world.rotate(&"c".repeat(40), DAY, NOW).await;
    other.reload_product(&world.product).await.expect("read");
    while (
        world.door.index_codes(NOW).await,
        other.index_codes(NOW).await,
    ) != (Ok(Indexing::Done), Ok(Indexing::Done))
    {}
    assert!(world.finds(&"c".repeat(40), "B").await);
}

#[tokio::test]
async fn secrets_that_nothing_needs_go_and_the_others_stay() {
    let world = World::new(Reactivation::Always).await;
    let signer = world.derived();
    let token = signer.login(NOW, "1");
    world.sign_in(&token, NOW).await.expect("signed");
    let mut now = NOW;
    for n in 0..30 {
        let secret = format!("{n:040}");
        world.rotate(&secret, Duration::ZERO, now).await;
        now = now.plus(DAY);
        world.index(now).await;
    }
    let kept: Vec<u32> = world
        .read()
        .await
        .secrets
        .iter()
        .map(|it| it.generation)
        .collect();
    assert_eq!(kept, [31, 30, 1], "one that a device signs with stays");
    let token = signer.login(now, "2");
    world.sign_in(&token, now).await.expect("signed");
    assert_eq!(world.census().await.sign_with(1), 1);
    // Nobody walks: there is an end to it.
    let fill = async |n: u32| {
        let secret = ProductSecret::parse(&format!("f{n:039}")).expect("valid");
        let given = Some(secret);
        world
            .door
            .rotate_secret(&world.product, given, Duration::ZERO, now)
            .await
    };
    for n in 2..Product::SECRETS {
        fill(n as u32).await.expect("room");
    }
    let full = fill(99).await.expect_err("no room");
    assert!(matches!(full, SecretError::TooMany), "{full}");
}

#[tokio::test]
async fn all_that_is_sealed_opens_with_the_next_key_only() {
    let world = World::new(Reactivation::Always).await;
    world.rotate(NEWER, DAY, NOW).await;
    let pepper = world.door.pepper(&world.product, NOW).await.expect("drawn");
    let licence = world.door.licence_key().await.expect("made");
    let name = OperatorName::parse("ops").expect("valid");
    let operator = crate::operator::Operator::for_tests(name, Role::Admin);
    let login = OperatorLogin::of(&operator, None);
    let Ok(Once::Begun(begun)) = world.door.begin_once(&login, "key", [1; 32], NOW).await else {
        panic!("new");
    };
    world.door.end_once(begun, b"answer").await.expect("kept");
    let half = world.door.begin_once(&login, "other", [1; 32], NOW).await;
    assert!(matches!(half, Ok(Once::Begun(_))));

    let World {
        registry,
        door,
        product,
    } = world;
    let (old, next) = keys();
    let resealed = door.reseal(&next).await.expect("resealed");
    assert_eq!((resealed.products, resealed.answers), (1, 1));
    let start = async |key| {
        let entropy = Arc::new(Counting::default());
        Provisioner::start(Arc::clone(&registry) as _, key, entropy).await
    };
    let refused = start(old).await.err().expect("the old key");
    assert!(matches!(refused, StartError::Sealing(_)));
    let door = start(next).await.expect("the next key");
    let world = World {
        registry: Arc::clone(&registry),
        door,
        product,
    };
    for secret in [SECRET, NEWER] {
        assert!(world.shown(&code(secret, SERIAL), NOW).await.is_ok());
    }
    let again = world.door.pepper(&world.product, NOW).await.expect("there");
    assert_eq!(again.expose_hex(), pepper.expose_hex());
    assert_eq!(world.door.licence_key().await.expect("there"), licence);
    match world.door.begin_once(&login, "key", [1; 32], NOW).await {
        Ok(Once::Answered(answer)) => assert_eq!(answer.as_slice(), b"answer"),
        other => panic!("{other:?}"),
    }
}

/// The key of every world, and another one.
fn keys() -> (SealingKey, SealingKey) {
    let entropy = Counting::default();
    (
        SealingKey::generate(&entropy),
        SealingKey::generate(&entropy),
    )
}

#[tokio::test]
async fn a_reseal_that_fails_leaves_the_old_key_good() {
    let world = World::new(Reactivation::Always).await;
    let (old, next) = keys();
    world.registry.fail_after(0);
    assert!(world.door.reseal(&next).await.is_err());
    world.registry.recover();
    let entropy = Arc::new(Counting::default());
    let started = Provisioner::start(Arc::clone(&world.registry) as _, old, entropy).await;
    started.expect("the old key");
}

#[tokio::test]
async fn a_key_is_known_again_where_nothing_is_sealed() {
    let registry = Arc::new(Memory::default());
    let start = async |key| {
        let entropy = Arc::new(Counting::default());
        Provisioner::start(Arc::clone(&registry) as _, key, entropy).await
    };
    let (right, wrong) = keys();
    start(right).await.expect("the first key is the right one");
    registry.fail_after(0);
    let refused = start(wrong).await.err().expect("another key");
    assert!(
        refused.to_string().contains("nothing was changed"),
        "{refused}"
    );
    let (right, _) = keys();
    start(right).await.expect("nothing is written any more");
}

/// What may happen between two steps of a walk, on either of two servers.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Register(usize, usize),
    Remove(usize, usize),
    Rename(usize, usize, usize),
    Rotate(usize),
    End(usize),
    Step(usize, usize),
    /// A server has read the log.
    Follow(usize),
    /// Both have, and an hour and more is over.
    Later,
}

const SERIALS: usize = 6;

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    let (door, serial) = (0..2usize, 0..SERIALS);
    // Whatever begins a walk anew hides what the one before did wrong.
    prop_oneof![
        6 => (door.clone(), serial.clone()).prop_map(|(d, s)| Meanwhile::Register(d, s)),
        2 => (door.clone(), serial.clone()).prop_map(|(d, s)| Meanwhile::Remove(d, s)),
        6 => (door.clone(), serial.clone(), serial).prop_map(|(d, s, t)| Meanwhile::Rename(d, s, t)),
        1 => door.clone().prop_map(Meanwhile::Rotate),
        1 => door.clone().prop_map(Meanwhile::End),
        9 => (door.clone(), 1..4usize).prop_map(|(d, n)| Meanwhile::Step(d, n)),
        1 => door.prop_map(Meanwhile::Follow),
        1 => Just(Meanwhile::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In the end the index has the codes of every device that is there, with
    /// the secrets that are accepted, and no other.
    #[test]
    fn the_index_is_right_whatever_happens_meanwhile(
        acts in proptest::collection::vec(meanwhile(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(happen(&acts));
    }
}

async fn happen(acts: &[Meanwhile]) {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(Embedded::open(home.path()).expect("opens"));
    // Two that draw other secrets, and have the same key.
    let start = async |skipped: usize| {
        let entropy = Counting::default();
        entropy.fill(&mut vec![0; 32 * skipped]);
        let entropy = Arc::new(entropy);
        let door = Provisioner::start(Arc::clone(&registry) as _, keys().0, entropy).await;
        door.expect("the same key")
    };
    let doors = [start(0).await, start(100_000).await];
    let new = NewProduct::named("lamp");
    let (product, secret) = doors[0].create_product(new, NOW).await.expect("made");
    let (id, mut secrets, mut now) = (product.id, vec![secret], NOW);
    let serial = |n: usize| Serial::parse(&format!("S{n}")).expect("valid");
    let name = |n: usize| DeviceName::from_str(&format!("S{n}")).expect("valid");
    let follow = async |door: usize| doors[door].reload_product(&id).await.expect("read");
    for act in acts {
        match *act {
            Meanwhile::Register(door, n) => {
                let registered = doors[door].register(&id, vec![serial(n).into()], now);
                registered.await.expect("registered");
            }
            Meanwhile::Remove(door, n) => drop(doors[door].remove_device(&name(n), now).await),
            Meanwhile::Rename(door, from, to) => {
                drop(
                    doors[door]
                        .rename_device(&name(from), serial(to), now)
                        .await,
                );
            }
            Meanwhile::Rotate(door) => {
                if let Ok(rotated) = doors[door].rotate_secret(&id, None, DAY, now).await {
                    secrets.push(rotated.secret);
                }
            }
            Meanwhile::End(door) => {
                let found = registry.product(&id).await.expect("readable");
                let newest = found.expect("there").newest_secret();
                drop(doors[door].end_secret(&id, newest - 1, now).await);
            }
            Meanwhile::Step(door, step) => {
                doors[door].index_some(step, now).await.expect("a step");
            }
            Meanwhile::Follow(door) => follow(door).await,
            Meanwhile::Later => {
                now = now.plus(Duration::from_secs(2 * 60 * 60));
                follow(0).await;
                follow(1).await;
            }
        }
    }
    now = now.plus(2 * DAY);
    for door in [0, 1] {
        follow(door).await;
        while doors[door].index_some(2, now).await.expect("a step") == Indexing::Goes {}
    }
    for n in 0..SERIALS {
        let there = !registry
            .by_serial(&serial(n))
            .await
            .expect("readable")
            .is_empty();
        for (age, secret) in secrets.iter().rev().enumerate() {
            let code = ActivationCode::compute(secret, &serial(n)).digest();
            let found = registry.by_code(&code).await.expect("readable");
            let serials: Vec<&Serial> = found.iter().map(|device| &device.serial).collect();
            let expected = [&serial(n)];
            let expected = if there && age == 0 {
                &expected[..]
            } else {
                &[]
            };
            assert_eq!(serials, expected, "secret {age} before the newest");
        }
    }
}
