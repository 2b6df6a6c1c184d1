//! Current values, and requests that are carried out once.

use std::future::Future;
use std::time::Duration;

use super::{NOW, an_event, register};
use crate::entropy::counting::Counting;
use crate::feed::{CurrentValue, Value};
use crate::once::{Occasion, OccasionId};
use crate::operator::OperatorName;
use crate::product::DatastreamId;
use crate::registry::{Commit, Registry, Write};
use crate::sealing::SealingKey;

pub(super) async fn check<R: Registry, F: Future<Output = R>>(open: &impl Fn() -> F) {
    the_newest_value_stands(&open().await).await;
    values_come_all_or_none(&open().await).await;
    a_request_begins_once(&open().await).await;
}

fn name(text: &str) -> DatastreamId {
    DatastreamId::parse(text).expect("valid")
}

fn value(of: &str, value: &str, seconds: u64) -> CurrentValue {
    CurrentValue {
        datastream: name(of),
        value: Value::parse(value).expect("valid"),
        at: NOW.plus(Duration::from_secs(seconds)),
    }
}

async fn the_newest_value_stands(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    let put = |values| {
        let write = Write::Values {
            feed: feeds[0],
            values,
            names: Vec::new(),
            most: 0,
        };
        registry.commit(write, Vec::new())
    };
    assert_eq!(registry.values(feeds[0]).await, Ok(Vec::new()));
    let first = vec![value("y", "1", 5), value("x", "1", 5)];
    assert_eq!(put(first).await, Ok(Commit::Done));
    let second = vec![
        value("x", "old", 4),
        value("y", "same", 5),
        value("z", "3", 0),
    ];
    assert_eq!(put(second).await, Ok(Commit::Done));
    let stand = vec![
        value("x", "1", 5),
        value("y", "same", 5),
        value("z", "3", 0),
    ];
    assert_eq!(registry.values(feeds[0]).await, Ok(stand));
    assert_eq!(registry.values(feeds[1]).await, Ok(Vec::new()));
    assert_eq!(registry.events(0, 9).await.map(|all| all.len()), Ok(2));
}

async fn values_come_all_or_none(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    let put = |names: &[&str]| {
        let write = Write::Values {
            feed,
            values: names.iter().map(|of| value(of, "1", 0)).collect(),
            names: names.iter().map(|text| name(text)).collect(),
            most: 2,
        };
        registry.commit(write, vec![an_event()])
    };
    assert_eq!(put(&["x"]).await, Ok(Commit::Done));
    assert_eq!(put(&["x", "y", "z"]).await, Ok(Commit::Lost));
    assert_eq!(registry.values(feed).await.map(|all| all.len()), Ok(1));
    assert_eq!(registry.datastreams(feed).await, Ok(vec![name("x")]));
    assert_eq!(put(&["x", "y"]).await, Ok(Commit::Done));
    assert_eq!(put(&["x", "y"]).await, Ok(Commit::Done));
    assert_eq!(put(&["z"]).await, Ok(Commit::Lost));
    let names = registry.datastreams(feed).await;
    assert_eq!(names, Ok(vec![name("x"), name("y")]));
}

async fn a_request_begins_once(registry: &impl Registry) {
    let entropy = Counting::default();
    let ops = OperatorName::parse("ops").expect("valid");
    let (one, two) = (
        OccasionId::of(&ops, NOW, None, "1"),
        OccasionId::of(&ops, NOW, None, "2"),
    );
    let mut occasion = Occasion {
        at: NOW,
        request: [7; 32],
        response: None,
    };
    let begin = |id| registry.commit(Write::Begin(id, occasion.clone()), Vec::new());
    assert_eq!(registry.occasion(&one).await, Ok(None));
    let outcomes = tokio::join!(begin(one), begin(one), begin(two));
    let mut of_one = [outcomes.0, outcomes.1];
    of_one.sort_by_key(|outcome| *outcome == Ok(Commit::Lost));
    assert_eq!(of_one, [Ok(Commit::Done), Ok(Commit::Lost)]);
    assert_eq!(registry.occasion(&one).await, Ok(Some(occasion.clone())));

    let sealed = SealingKey::generate(&entropy).seal_bytes(b"answer", b"", &entropy);
    occasion.response = Some(sealed);
    let end = Write::End(one, occasion.clone());
    assert_eq!(registry.commit(end, Vec::new()).await, Ok(Commit::Done));
    assert_eq!(registry.occasion(&one).await, Ok(Some(occasion)));
    let mut all = registry.occasions().await.expect("readable");
    let mut both = vec![(one, NOW), (two, NOW)];
    all.sort();
    both.sort();
    assert_eq!(all, both);
    let forget = || registry.commit(Write::Forget(one), Vec::new());
    assert_eq!(
        (forget().await, forget().await),
        (Ok(Commit::Done), Ok(Commit::Lost))
    );
    assert_eq!(registry.occasions().await, Ok(vec![(two, NOW)]));
}
