//! Devices that go or are called otherwise, and what goes with them.

use std::future::Future;

use super::{NOW, a_product, an_event, load, product, register, secret, serial};
use crate::code::ActivationCode;
use crate::device::{Key, Lifecycle, Transition};
use crate::entropy::counting::Counting;
use crate::feed::{CurrentValue, Value};
use crate::identity::FeedId;
use crate::operator::{Operator, OperatorName, Role};
use crate::product::DatastreamId;
use crate::registry::{Commit, Registry, Write};
use crate::secret::{ApiKey, CodeDigest, OperatorToken};
use crate::token::{Token, TokenId};

pub(super) async fn check<R: Registry, F: Future<Output = R>>(open: &impl Fn() -> F) {
    a_removed_device_leaves_nothing(&open().await).await;
    a_renamed_device_keeps_what_is_its_own(&open().await).await;
    devices_are_counted_by_product(&open().await).await;
    a_product_with_devices_stays(&open().await).await;
    an_operators_tokens_go_with_it(&open().await).await;
}

fn code(text: &str) -> CodeDigest {
    ActivationCode::compute(&secret(), &serial(text)).digest()
}

fn value(name: &str, value: &str) -> CurrentValue {
    CurrentValue {
        datastream: DatastreamId::parse(name).expect("valid"),
        value: Value::parse(value).expect("valid"),
        at: NOW,
    }
}

async fn put(registry: &impl Registry, feed: FeedId, name: &str) {
    let write = Write::Values {
        feed,
        values: vec![value(name, "1")],
        names: vec![DatastreamId::parse(name).expect("valid")],
        most: 9,
    };
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
}

async fn a_removed_device_leaves_nothing(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    let key = ApiKey::generate(&Counting::default()).digest();
    let issued = load(registry, feeds[1]).await.issue(Key::Api(key), 1, NOW);
    let write = Write::Device(issued.device);
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    for feed in &feeds {
        put(registry, *feed, "t").await;
    }

    let device = load(registry, feeds[1]).await;
    let remove = || Write::RemoveDevice {
        device: device.clone(),
        generation: 1,
        codes: vec![code("b")],
        signed_until: None,
    };
    let removed = registry.commit(remove(), vec![an_event()]).await;
    assert_eq!(removed, Ok(Commit::Done));
    let again = registry.commit(remove(), vec![an_event()]).await;
    assert_eq!(again, Ok(Commit::Lost));

    assert_eq!(registry.device(feeds[1]).await, Ok(None));
    assert_eq!(registry.by_serial(&serial("b")).await, Ok(Vec::new()));
    assert_eq!(registry.by_code(&code("b")).await, Ok(Vec::new()));
    assert_eq!(registry.by_key(&key).await, Ok(None));
    assert_eq!(registry.values(feeds[1]).await, Ok(Vec::new()));
    assert_eq!(registry.datastreams(feeds[1]).await, Ok(Vec::new()));
    let left = registry.devices(&product(0), None, 9).await;
    assert_eq!(left.map(|devices| devices.len()), Ok(1));
    // Its neighbour has what it had, and its feed is nobody else's.
    let values = registry.values(feeds[0]).await;
    assert_eq!(values, Ok(vec![value("t", "1")]));
    let next = register(registry, 0, &["b"]).await[0];
    assert!(!feeds.contains(&next));
    assert_eq!(registry.values(next).await, Ok(Vec::new()));
}

async fn a_renamed_device_keeps_what_is_its_own(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    register(registry, 1, &["c"]).await;
    let key = ApiKey::generate(&Counting::default()).digest();
    let issued = load(registry, feeds[0]).await.issue(Key::Api(key), 1, NOW);
    let write = Write::Device(issued.device);
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    let device = load(registry, feeds[0]).await;
    let rename = |to: &str| {
        let write = Write::RenameDevice {
            device: device.clone(),
            serial: serial(to),
            generation: 1,
            ended: vec![code("a")],
            codes: vec![code(to)],
            signed_until: None,
        };
        registry.commit(write, vec![an_event()])
    };
    assert_eq!(rename("b").await, Ok(Commit::Lost), "there is one");
    assert_eq!(rename("c").await, Ok(Commit::Done), "in another product");
    assert_eq!(rename("d").await, Ok(Commit::Lost), "it was read before");

    let renamed = load(registry, feeds[0]).await;
    assert_eq!(renamed.serial, serial("c"));
    assert_eq!(renamed.version, device.version + 1);
    assert_eq!(registry.by_key(&key).await, Ok(Some(renamed)));
    assert_eq!(registry.by_serial(&serial("a")).await, Ok(Vec::new()));
    assert_eq!(registry.by_code(&code("a")).await, Ok(Vec::new()));
    let found = registry.by_code(&code("c")).await.expect("readable");
    assert!(found.iter().any(|device| device.feed == feeds[0]));
    let both = registry.by_serial(&serial("c")).await;
    assert_eq!(both.map(|devices| devices.len()), Ok(2));
    let page = registry
        .devices(&product(0), None, 9)
        .await
        .expect("readable");
    let serials: Vec<&str> = page.iter().map(|device| device.serial.as_str()).collect();
    assert_eq!(serials, ["b", "c"]);
}

async fn devices_are_counted_by_product(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    register(registry, 1, &["a"]).await;
    let revoked = load(registry, feeds[0])
        .await
        .apply(Transition::Revoke, NOW);
    let write = Write::Device(revoked.expect("allowed").device);
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    let count = async |of: u8| {
        let census = registry.product_census(&product(of)).await;
        let census = census.map(|census| census.lifecycles);
        let census = census.expect("readable");
        (
            census.of(Lifecycle::Registered),
            census.of(Lifecycle::Revoked),
        )
    };
    assert_eq!((count(0).await, count(1).await), ((1, 1), (1, 0)));
    let remove = Write::RemoveDevice {
        device: load(registry, feeds[0]).await,
        generation: 1,
        codes: Vec::new(),
        signed_until: None,
    };
    assert_eq!(registry.commit(remove, Vec::new()).await, Ok(Commit::Done));
    assert_eq!((count(0).await, count(1).await), ((1, 0), (1, 0)));
    let all = registry.census().await.expect("readable");
    assert_eq!(all.total(), 2);
}

async fn a_product_with_devices_stays(registry: &impl Registry) {
    let new = a_product();
    let write = Write::Product(Box::new(new.clone()));
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    let feed = register(registry, 0, &["a"]).await[0];
    let read = registry.product(&new.id).await.expect("readable");
    let read = read.expect("just made");
    let remove =
        |product| registry.commit(Write::RemoveProduct(Box::new(product)), vec![an_event()]);
    assert_eq!(remove(read.clone()).await, Ok(Commit::Lost));
    let device = load(registry, feed).await;
    let codes = Vec::new();
    let write = Write::RemoveDevice {
        device,
        generation: 1,
        codes,
        signed_until: None,
    };
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    assert_eq!(remove(new).await, Ok(Commit::Lost), "an old version");
    assert_eq!(remove(read.clone()).await, Ok(Commit::Done));
    assert_eq!(remove(read).await, Ok(Commit::Lost));
    assert_eq!(registry.products().await, Ok(Vec::new()));
}

async fn an_operators_tokens_go_with_it(registry: &impl Registry) {
    let entropy = Counting::default();
    let names = ["ann", "bob"].map(|name| OperatorName::parse(name).expect("valid"));
    let mut digests = Vec::new();
    for name in &names {
        let operator = Operator::for_tests(name.clone(), Role::Viewer);
        let write = Write::Operator(operator);
        assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
        let token = Token {
            id: TokenId::generate(&entropy),
            operator: name.clone(),
            label: "ci".to_owned(),
            digest: OperatorToken::generate(&entropy).digest(),
            created_at: NOW,
            expires_at: None,
        };
        digests.push(token.digest);
        let write = Write::Token(token.clone());
        assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
        assert_eq!(registry.token(&token.digest).await, Ok(Some(token)));
    }
    assert_eq!(registry.tokens().await.map(|all| all.len()), Ok(2));
    let remove = Write::RemoveOperator(names[0].clone());
    assert_eq!(registry.commit(remove, Vec::new()).await, Ok(Commit::Done));
    assert_eq!(registry.token(&digests[0]).await, Ok(None));
    let left = registry.tokens().await.expect("readable");
    assert_eq!(left.len(), 1);
    let drop = || registry.commit(Write::RemoveToken(digests[1]), vec![an_event()]);
    assert_eq!(
        (drop().await, drop().await),
        (Ok(Commit::Done), Ok(Commit::Lost))
    );
    assert_eq!(registry.tokens().await, Ok(Vec::new()));
}
