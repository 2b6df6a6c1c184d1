//! What a registry promises, as one suite that every store runs.
//!
//! Each check gets a store of its own, empty.

mod feeds;
mod identity;
mod mailboxes;
mod removal;
mod secrets;
pub(crate) mod specimen;

use std::future::Future;

use super::{
    Batch, Commit, ProductCensus, Registrant, Registration, Registry, RegistryError, Write,
};
use crate::ban::{Ban, Network};
use crate::clock::Timestamp;
use crate::clones::OnClone;
use crate::code::ActivationCode;
use crate::device::{Changed, Device, Key, Lifecycle, Transition};
use crate::entropy::counting::Counting;
use crate::event::{EventKind, NewEvent, Subject};
use crate::hardware::{Facts, HardwarePolicy};
use crate::identity::{FeedId, ProductId, Serial};
use crate::licence::Licence;
use crate::operator::{Operator, OperatorName, Role};
use crate::product::{Block, DatastreamId, Product, Profile, ProofPolicy, Reactivation};
use crate::secret::{ApiKey, ProductSecret};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Runs every check, each against a fresh store.
pub(crate) async fn check<R: Registry, F: Future<Output = R>>(open: impl Fn() -> F) {
    absence_is_no_error(&open().await).await;
    registering_gives_feeds_and_events(&open().await).await;
    registering_again_changes_nothing(&open().await).await;
    a_device_is_found_by_all_its_names(&open().await).await;
    keys_find_their_device_until_they_are_dropped(&open().await).await;
    a_lost_race_changes_nothing(&open().await).await;
    racing_writes_have_one_winner(&open().await).await;
    pages_are_ordered_and_complete(&open().await).await;
    products_and_operators_are_versioned(&open().await).await;
    events_are_numbered_without_gaps(&open().await).await;
    the_census_counts(&open().await).await;
    devices_are_counted_by_their_secret(&open().await).await;
    mailboxes::check(&open).await;
    feeds::check(&open).await;
    identity::check(&open).await;
    removal::check(&open).await;
    secrets::check(&open).await;
    bans_come_and_go(&open().await).await;
    new_datastreams_are_bounded(&open().await).await;
}

pub(crate) fn an_event() -> NewEvent {
    NewEvent {
        at: NOW,
        subject: Subject::Operator(OperatorName::parse("ops").expect("valid")),
        kind: EventKind::OperatorRemoved,
    }
}

pub(crate) fn product(n: u8) -> ProductId {
    let letter = char::from(b'a' + n);
    ProductId::parse(&letter.to_string().repeat(ProductId::LENGTH)).expect("valid")
}

pub(crate) fn a_product() -> Product {
    Product {
        id: product(0),
        version: 0,
        name: "lamp".to_owned(),
        secrets: Vec::new(),
        datastreams: Vec::new(),
        reactivation: Reactivation::UntilConfirmed,
        block: Block::default(),
        new_datastreams: 3,
        created_at: NOW,
        profile: Profile::default(),
        proof: ProofPolicy::default(),
        codes_until: None,
        hardware: HardwarePolicy::default(),
        pepper: None,
        on_clone: OnClone::default(),
        licence: Licence::default(),
    }
}

fn serial(text: &str) -> Serial {
    Serial::parse(text).expect("valid")
}

fn secret() -> ProductSecret {
    ProductSecret::generate(&Counting::default())
}

pub(crate) async fn register(registry: &impl Registry, of: u8, serials: &[&str]) -> Vec<FeedId> {
    let registrant = |text: &&str| {
        let serial = serial(text);
        let code = ActivationCode::compute(&secret(), &serial).digest();
        Registrant {
            serial,
            codes: vec![code],
            hardware: Facts::default(),
            label: None,
        }
    };
    let batch = Batch {
        product: product(of),
        generation: 1,
        devices: serials.iter().map(registrant).collect(),
        at: NOW,
    };
    let outcome = registry.register(batch).await.expect("registered");
    outcome
        .into_iter()
        .map(|registration| match registration {
            Registration::New(feed) | Registration::Known(feed) => feed,
        })
        .collect()
}

async fn load(registry: &impl Registry, feed: FeedId) -> Device {
    let found = registry.device(feed).await.expect("readable");
    found.expect("registered before")
}

async fn absence_is_no_error(registry: &impl Registry) {
    let feed = FeedId::new(1).expect("valid");
    assert_eq!(registry.device(feed).await, Ok(None));
    assert_eq!(registry.by_serial(&serial("x")).await, Ok(Vec::new()));
    let key = ApiKey::generate(&Counting::default()).digest();
    assert_eq!(registry.by_key(&key).await, Ok(None));
    let code = ActivationCode::compute(&secret(), &serial("x")).digest();
    assert_eq!(registry.by_code(&code).await, Ok(Vec::new()));
    assert_eq!(registry.product(&product(0)).await, Ok(None));
    let name = OperatorName::parse("ops").expect("valid");
    assert_eq!(registry.operator(&name).await, Ok(None));
    assert_eq!(registry.events(0, 10).await, Ok(Vec::new()));
    assert_eq!(
        registry.devices(&product(0), None, 10).await,
        Ok(Vec::new())
    );
    assert_eq!(*registry.newest().borrow(), 0);
}

async fn registering_gives_feeds_and_events(registry: &impl Registry) {
    let feeds = register(registry, 0, &["b", "a"]).await;
    assert_ne!(feeds[0], feeds[1]);
    let events = registry.events(0, 10).await.expect("readable");
    let about: Vec<_> = events.iter().map(|event| &event.body.subject).collect();
    let device = load(registry, feeds[0]).await;
    assert_eq!(device.serial, serial("b"));
    assert_eq!(device.version, 1);
    assert_eq!(about[0], &device.subject());
    assert_eq!(about.len(), 2);
}

async fn registering_again_changes_nothing(registry: &impl Registry) {
    let first = register(registry, 0, &["a", "b"]).await;
    // Once more, with one that is new, twice in one batch.
    let again = register(registry, 0, &["b", "c", "c", "a"]).await;
    assert_eq!((again[0], again[3]), (first[1], first[0]));
    assert_eq!(again[1], again[2]);
    assert!(!first.contains(&again[1]));
    assert_eq!(registry.events(0, 10).await.map(|e| e.len()), Ok(3));
    // The same serial in another product is another device.
    let other = register(registry, 1, &["a"]).await;
    assert!(!first.contains(&other[0]));
    assert_eq!(
        registry.by_serial(&serial("a")).await.map(|d| d.len()),
        Ok(2)
    );
}

async fn a_device_is_found_by_all_its_names(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "A", "a+"]).await;
    let check = |found: Result<Vec<Device>, RegistryError>, feed| {
        let feeds: Vec<FeedId> = found.expect("readable").iter().map(|d| d.feed).collect();
        assert_eq!(feeds, [feed]);
    };
    check(registry.by_serial(&serial("a")).await, feeds[0]);
    check(registry.by_serial(&serial("A")).await, feeds[1]);
    let code = ActivationCode::compute(&secret(), &serial("a+")).digest();
    check(registry.by_code(&code).await, feeds[2]);
}

async fn keys_find_their_device_until_they_are_dropped(registry: &impl Registry) {
    let entropy = Counting::default();
    let feed = register(registry, 0, &["a"]).await[0];
    let (one, two, three) = (
        ApiKey::generate(&entropy).digest(),
        ApiKey::generate(&entropy).digest(),
        ApiKey::generate(&entropy).digest(),
    );
    for key in [one, two, three] {
        let changed = load(registry, feed).await.issue(Key::Api(key), 1, NOW);
        let write = Write::Device(changed.device);
        assert_eq!(
            registry.commit(write, changed.events).await,
            Ok(Commit::Done)
        );
    }
    let found = |key| async move {
        let device = registry.by_key(&key).await.expect("readable");
        device.map(|device| device.feed)
    };
    assert_eq!(found(one).await, None, "only the last ended key is kept");
    assert_eq!(found(two).await, Some(feed), "ended");
    assert_eq!(found(three).await, Some(feed), "pending");

    let reset = load(registry, feed).await.apply(Transition::Reset, NOW);
    let reset = reset.expect("allowed");
    let write = Write::Device(reset.device);
    assert_eq!(registry.commit(write, reset.events).await, Ok(Commit::Done));
    assert_eq!((found(two).await, found(three).await), (None, None));
}

async fn a_lost_race_changes_nothing(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    let stale = load(registry, feed).await;
    let winner = stale
        .clone()
        .apply(Transition::Suspend, NOW)
        .expect("allowed");
    let write = Write::Device(winner.device);
    assert_eq!(
        registry.commit(write, winner.events).await,
        Ok(Commit::Done)
    );

    let before = registry.events(0, 10).await;
    let key = ApiKey::generate(&Counting::default()).digest();
    let loser = stale.issue(Key::Api(key), 1, NOW);
    let write = Write::Device(loser.device);
    assert_eq!(registry.commit(write, loser.events).await, Ok(Commit::Lost));
    assert_eq!(registry.events(0, 10).await, before);
    assert_eq!(registry.by_key(&key).await, Ok(None));
    assert_eq!(load(registry, feed).await.lifecycle(), Lifecycle::Suspended);

    // A device that is not there is a lost race too: it is never made so.
    let mut nobody = load(registry, feed).await;
    nobody.feed = FeedId::new(999).expect("valid");
    assert_eq!(
        registry.commit(Write::Device(nobody), Vec::new()).await,
        Ok(Commit::Lost)
    );
}

async fn racing_writes_have_one_winner(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    let device = load(registry, feed).await;
    let entropy = Counting::default();
    let attempt = || {
        let key = ApiKey::generate(&entropy).digest();
        let changed = device.clone().issue(Key::Api(key), 1, NOW);
        registry.commit(Write::Device(changed.device), changed.events)
    };
    let outcomes: [Result<Commit, RegistryError>; 4] =
        tokio::join!(attempt(), attempt(), attempt(), attempt()).into();
    let won = outcomes.iter().filter(|one| **one == Ok(Commit::Done));
    assert_eq!(won.count(), 1);
    assert_eq!(load(registry, feed).await.version, device.version + 1);
}

async fn pages_are_ordered_and_complete(registry: &impl Registry) {
    register(registry, 0, &["b", "a", "B", "a:1", "a,1"]).await;
    register(registry, 1, &["c"]).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = registry.devices(&product(0), after.as_ref(), 2).await;
        let page = page.expect("readable");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.serial.clone());
        seen.extend(page.into_iter().map(|device| device.serial.to_string()));
    }
    assert_eq!(seen, ["B", "a", "a,1", "a:1", "b"]);
}

async fn products_and_operators_are_versioned(registry: &impl Registry) {
    let new = a_product();
    let put =
        |product: Product| registry.commit(Write::Product(Box::new(product)), vec![an_event()]);
    assert_eq!(put(new.clone()).await, Ok(Commit::Done));
    assert_eq!(
        put(new.clone()).await,
        Ok(Commit::Lost),
        "it is there already"
    );
    let read = registry.product(&new.id).await.expect("readable");
    let read = read.expect("just made");
    assert_eq!(read.version, 1);
    assert_eq!(put(read.clone()).await, Ok(Commit::Done));
    assert_eq!(put(read).await, Ok(Commit::Lost));
    assert_eq!(registry.products().await.map(|all| all.len()), Ok(1));

    let new = Operator::for_tests(OperatorName::parse("ops").expect("valid"), Role::Viewer);
    let put = |operator: Operator| registry.commit(Write::Operator(operator), Vec::new());
    assert_eq!(put(new.clone()).await, Ok(Commit::Done));
    assert_eq!(put(new.clone()).await, Ok(Commit::Lost));
    assert_eq!(registry.operators().await.map(|all| all.len()), Ok(1));
    let remove = || registry.commit(Write::RemoveOperator(new.name.clone()), vec![an_event()]);
    assert_eq!(remove().await, Ok(Commit::Done));
    assert_eq!(remove().await, Ok(Commit::Lost));
    assert_eq!(registry.operator(&new.name).await, Ok(None));
    assert_eq!(registry.events(0, 10).await.map(|all| all.len()), Ok(3));
}

async fn events_are_numbered_without_gaps(registry: &impl Registry) {
    let mut newest = registry.newest();
    for round in 0..5 {
        let events = vec![an_event(); round];
        assert_eq!(registry.commit(Write::Note, events).await, Ok(Commit::Done));
    }
    let events = registry.events(0, 100).await.expect("readable");
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    assert_eq!(*newest.borrow_and_update(), 10);
    assert_eq!(events[0].body, an_event());

    let some = registry.events(7, 2).await.expect("readable");
    let numbers: Vec<u64> = some.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [8, 9]);
    assert_eq!(registry.events(10, 5).await, Ok(Vec::new()));
    assert_eq!(registry.events(u64::MAX, 5).await, Ok(Vec::new()));
}

async fn the_census_counts(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b", "c"]).await;
    let key = ApiKey::generate(&Counting::default()).digest();
    let issued = load(registry, feeds[0]).await.issue(Key::Api(key), 1, NOW);
    let revoked = load(registry, feeds[1])
        .await
        .apply(Transition::Revoke, NOW);
    for changed in [issued, revoked.expect("allowed")] {
        let write = Write::Device(changed.device);
        assert_eq!(
            registry.commit(write, changed.events).await,
            Ok(Commit::Done)
        );
    }
    let census = registry.census().await.expect("readable");
    let counts = Lifecycle::ALL.map(|lifecycle| census.of(lifecycle));
    assert_eq!(counts, [1, 1, 0, 0, 0, 1]);
    assert_eq!(census.total(), 3);
}

async fn devices_are_counted_by_their_secret(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b", "c"]).await;
    let entropy = Counting::default();
    let issue = async |feed, generation| {
        let key = Key::Api(ApiKey::generate(&entropy).digest());
        load(registry, feed).await.issue(key, generation, NOW)
    };
    let apply = async |feed, transition| {
        let changed = load(registry, feed).await.apply(transition, NOW);
        changed.expect("allowed")
    };
    let write = async |changed: Changed| {
        let write = Write::Device(changed.device);
        let written = registry.commit(write, changed.events).await;
        assert_eq!(written, Ok(Commit::Done));
        let census = registry.product_census(&product(0)).await;
        let census = census.expect("readable");
        [1, 2].map(|generation| census.come_with(generation))
    };
    assert_eq!(write(issue(feeds[0], 1).await).await, [1, 0]);
    assert_eq!(write(issue(feeds[1], 1).await).await, [2, 0]);
    assert_eq!(write(issue(feeds[1], 2).await).await, [1, 1]);
    let revoke = apply(feeds[1], Transition::Revoke).await;
    assert_eq!(write(revoke).await, [1, 0], "it comes no more");
    let reset = apply(feeds[0], Transition::Reset).await;
    assert_eq!(write(reset).await, [0, 0], "it has nothing to come with");
    let other = registry.product_census(&product(1)).await;
    assert_eq!(other, Ok(ProductCensus::default()));
}

async fn bans_come_and_go(registry: &impl Registry) {
    let ban = |text: &str, until| Ban {
        network: Network::parse(text).expect("valid"),
        reason: Some("noise".to_owned()),
        at: NOW,
        until,
    };
    let write = |write| async { registry.commit(write, vec![an_event()]).await };
    let (one, net) = (ban("192.0.2.7", None), ban("2001:db8::/32", Some(NOW)));
    assert_eq!(registry.bans().await, Ok(Vec::new()));
    for each in [&one, &net] {
        assert_eq!(write(Write::Ban(each.clone())).await, Ok(Commit::Done));
    }
    let mut all = registry.bans().await.expect("readable");
    all.sort_by_key(|ban| ban.network);
    assert_eq!(all, [one.clone(), net.clone()]);

    // A ban of the same network replaces it, and the old one cannot be dropped.
    let longer = ban("192.0.2.7", Some(NOW));
    assert_eq!(write(Write::Ban(longer.clone())).await, Ok(Commit::Done));
    assert_eq!(write(Write::DropBan(one.clone())).await, Ok(Commit::Lost));
    assert_eq!(write(Write::DropBan(longer)).await, Ok(Commit::Done));
    assert_eq!(registry.bans().await, Ok(vec![net.clone()]));
    assert_eq!(write(Write::RemoveBan(one.network)).await, Ok(Commit::Lost));
    assert_eq!(write(Write::RemoveBan(net.network)).await, Ok(Commit::Done));
    assert_eq!(registry.bans().await, Ok(Vec::new()));
    assert_eq!(registry.events(0, 10).await.map(|all| all.len()), Ok(5));
}

async fn new_datastreams_are_bounded(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    let name = |text: &str| DatastreamId::parse(text).expect("valid");
    let add = |feed, text: &str| {
        let write = Write::Datastream {
            feed,
            datastream: name(text),
            most: 2,
        };
        registry.commit(write, Vec::new())
    };
    assert_eq!(registry.datastreams(feeds[0]).await, Ok(Vec::new()));
    assert_eq!(add(feeds[0], "y").await, Ok(Commit::Done));
    assert_eq!(add(feeds[0], "x").await, Ok(Commit::Done));
    assert_eq!(add(feeds[0], "z").await, Ok(Commit::Lost));
    assert_eq!(add(feeds[0], "y").await, Ok(Commit::Done), "it is there");
    let names = registry.datastreams(feeds[0]).await;
    assert_eq!(names, Ok(vec![name("y"), name("x")]));
    assert_eq!(registry.datastreams(feeds[1]).await, Ok(Vec::new()));
}
