//! What only a store on disk can show: that it is there after it was closed.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::registry::conformance;

#[tokio::test]
async fn conforms() {
    let home = tempfile::tempdir().expect("a directory");
    let count = AtomicU32::new(0);
    conformance::check(|| async {
        let n = count.fetch_add(1, Ordering::Relaxed);
        Embedded::open(&home.path().join(n.to_string())).expect("opens")
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_after_closing() {
    let home = tempfile::tempdir().expect("a directory");
    let first = Embedded::open(home.path()).expect("opens");
    let feeds = conformance::register(&first, 0, &["a", "b"]).await;
    let events = first.events(0, 10).await;
    let census = first.census().await;
    drop(first);

    let second = Embedded::open(home.path()).expect("opens");
    assert_eq!(*second.newest().borrow(), 2);
    assert_eq!(second.events(0, 10).await, events);
    assert_eq!(second.census().await, census);
    let more = conformance::register(&second, 0, &["b", "c"]).await;
    assert_eq!(more[0], feeds[1]);
    assert!(!feeds.contains(&more[1]), "feeds are never given out twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_whole_batches_only() {
    const TOTAL: u64 = 4096;
    let home = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(Embedded::open(home.path()).expect("opens"));
    let writing = Arc::clone(&registry);
    let writer = tokio::spawn(async move {
        for _ in 0..TOTAL / 64 {
            let events = vec![conformance::an_event(); 64];
            let outcome = writing.commit(Write::Note, events).await;
            assert_eq!(outcome, Ok(Commit::Done));
        }
    });
    let mut read = 0;
    while read < TOTAL {
        for event in registry.events(read, 1000).await.expect("readable") {
            assert_eq!(event.seq, read + 1, "no event may be missing");
            read = event.seq;
        }
    }
    writer.await.expect("wrote");
}

#[tokio::test]
async fn a_closed_store_is_opened_by_whoever_reads() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Embedded::open(home.path()).expect("opens");
    let feeds = conformance::register(&registry, 0, &["a"]).await;
    // What the writer does after an I/O error.
    registry.shared.replace(None);
    let closed = registry.device(feeds[0]).await;
    assert!(matches!(closed, Err(RegistryError::Unavailable(_))));
    // Behind the reader's wish in the writer's queue.
    let note = registry.commit(Write::Note, vec![conformance::an_event()]);
    assert_eq!(note.await, Ok(Commit::Done));
    assert!(matches!(registry.device(feeds[0]).await, Ok(Some(_))));
    assert_eq!(
        *registry.newest().borrow(),
        2,
        "numbers go on where they were"
    );
}

#[tokio::test]
async fn a_store_of_the_first_format_is_counted() {
    let home = tempfile::tempdir().expect("a directory");
    let first = Embedded::open(home.path()).expect("opens");
    conformance::register(&first, 0, &["a", "b"]).await;
    conformance::register(&first, 1, &["a"]).await;
    drop(first);
    // As such a store was: counts that are not right, and its number.
    let (store, _) = Store::open(home.path()).expect("opens");
    let mut batch = store.batch();
    let wrong = rows::encode(&ProductCensus::default());
    let key = rows::product_census_key(&conformance::product(0));
    store.insert(&mut batch, Table::Meta, &key, wrong);
    store.insert(&mut batch, Table::Meta, b"format", rows::encode(&1u32));
    batch.commit().expect("written");
    drop(store);
    let again = Embedded::open(home.path()).expect("opens");
    for (of, count) in [(0, 2), (1, 1)] {
        let census = again.product_census(&conformance::product(of)).await;
        assert_eq!(census.map(|census| census.lifecycles.total()), Ok(count));
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(home.path()).expect("opens");
    let mut batch = store.batch();
    store.insert(&mut batch, Table::Meta, b"format", rows::encode(&3u32));
    batch.commit().expect("written");
    drop(store);
    let refused = Embedded::open(home.path()).expect_err("a newer format");
    assert!(matches!(
        refused,
        OpenError::NewerFormat {
            found: 3,
            known: 2,
            ..
        }
    ));
}
