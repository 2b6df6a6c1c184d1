//! What only a store on disk can show: that it is there after it was closed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
async fn a_device_is_never_read_as_it_was_before_its_last_write() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(Embedded::open(home.path()).expect("opens"));
    let feed = conformance::register(&*registry, 0, &["a"]).await[0];
    let (reading, written) = (Arc::clone(&registry), Arc::new(AtomicBool::new(false)));
    let is_over = Arc::clone(&written);
    let reader = tokio::spawn(async move {
        let serial = Serial::parse("a").expect("a serial");
        let mut newest = 0;
        while !is_over.load(Ordering::Relaxed) {
            let alone = reading
                .device(feed)
                .await
                .expect("readable")
                .expect("it is there");
            let named = reading.by_serial(&serial).await.expect("readable");
            assert!(newest <= alone.version && alone.version <= named[0].version);
            newest = named[0].version;
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..512 {
        let before = registry
            .device(feed)
            .await
            .expect("readable")
            .expect("it is there");
        let version = before.version;
        let outcome = registry.commit(Write::Device(before), Vec::new()).await;
        assert_eq!(
            outcome,
            Ok(Commit::Done),
            "version {version} was not the last"
        );
        let behind = registry
            .device(feed)
            .await
            .expect("readable")
            .expect("it is there");
        assert_eq!(behind.version, version + 1);
    }
    written.store(true, Ordering::Relaxed);
    reader.await.expect("nothing went back");
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
    registry
        .shared
        .replace(Err(RegistryError::Unavailable("closed".to_owned())));
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
    Store::make_if_empty(home.path()).expect("made");
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

/// Every row of every table.
async fn all_rows(registry: &Embedded) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let shelves = registry.shelves();
    let mut tables = Vec::new();
    for table in Table::ALL {
        tables.push(shelves.page(table, None, 10_000).await.expect("readable"));
    }
    tables
}

#[tokio::test]
async fn a_backup_holds_every_row_and_goes_on_behind_it() {
    let home = tempfile::tempdir().expect("a directory");
    let place = |name: &str| home.path().join(name);
    let registry = Embedded::open(&place("first")).expect("opens");
    conformance::specimen::fill(&registry).await;
    let before = all_rows(&registry).await;
    let now = Timestamp::from_millis(1_800_000_000_000);
    let made = registry.back_up(&place("copy"), now).await.expect("copied");
    assert_eq!((made.devices, made.newest_feed, made.made_at), (8, 8, now));
    assert_eq!(Inventory::read(&place("copy")).ok(), Some(made.clone()));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place("copy"))
            .expect("there")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    // What comes afterwards is not in it.
    conformance::register(&registry, 0, &["later"]).await;

    let (listed, last) =
        Embedded::restore(&place("copy"), &place("second"), None).expect("restored");
    assert_eq!((listed, last.as_u32()), (made, 1_000_008));
    let second = Embedded::open(&place("second")).expect("opens");
    let mut after = all_rows(&second).await;
    assert_ne!(after, before, "the newest feed has moved");
    let counters = before[0].iter().find(|(key, _)| key == rows::COUNTERS_KEY);
    let (key, row) = counters.expect("there are counters");
    let at = after[0].iter().position(|(found, _)| found == key);
    after[0][at.expect("there are counters")].1.clone_from(row);
    assert_eq!(after, before);
    let feeds = conformance::register(&second, 0, &["later"]).await;
    assert_eq!(feeds[0].as_u32(), 1_000_009, "no feed twice");
    drop(second);

    let wish = FeedId::new(20).ok();
    let named = Embedded::restore(&place("copy"), &place("third"), wish);
    assert_eq!(named.expect("restored").1.as_u32(), 20);
    let earlier = Embedded::restore(&place("copy"), &place("fourth"), FeedId::new(3).ok());
    assert_eq!(earlier.expect("restored").1.as_u32(), 8, "never back");
}

#[tokio::test]
async fn a_backup_is_of_one_moment_while_others_write() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(Embedded::open(&home.path().join("first")).expect("opens"));
    conformance::specimen::fill(&*registry).await;
    let writing = Arc::clone(&registry);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = tokio::spawn(async move {
        let mut n = 0;
        while !stopped.load(Ordering::Relaxed) {
            let serials: Vec<String> = (n..n + 10).map(|n| format!("w{n}")).collect();
            let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
            conformance::register(&*writing, 0, &serials).await;
            n += 10;
        }
    });
    let sealing = conformance::specimen::sealing();
    for n in 0..5 {
        let (copy, second) = (format!("copy{n}"), format!("restored{n}"));
        let (copy, second) = (home.path().join(copy), home.path().join(second));
        let now = Timestamp::from_millis(1_700_000_000_000);
        let made = registry.back_up(&copy, now).await.expect("copied");
        let (_, _) = Embedded::restore(&copy, &second, None).expect("restored");
        let terms = Terms {
            sealing: Some(&sealing),
            now,
            repair: check::Repair::Report,
        };
        let mut told = Vec::new();
        let mut tell = |progress| told.push(progress);
        let verdict = Embedded::check(&second, terms, &mut tell).await;
        let verdict = verdict.expect("readable");
        assert!(verdict.is_sound(), "{told:?}");
        assert_eq!(verdict.devices, made.devices);
        assert_eq!(verdict.newest_event, made.newest_event);
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("wrote");
}

#[tokio::test]
async fn a_backup_is_made_into_nothing_else_and_restored_over_nothing() {
    use std::fs;
    let home = tempfile::tempdir().expect("a directory");
    let place = |name: &str| home.path().join(name);
    let now = Timestamp::from_millis(0);
    let registry = Embedded::open(&place("first")).expect("opens");
    let full = registry.back_up(home.path(), now).await;
    assert!(matches!(full, Err(NotBackedUp::NotEmpty(_))));
    fs::create_dir(place("copy.partial")).expect("made");
    let twice = registry.back_up(&place("copy"), now).await;
    assert!(matches!(twice, Err(NotBackedUp::UnderWay(_))));
    fs::remove_dir(place("copy.partial")).expect("removed");
    // An empty directory will do.
    fs::create_dir(place("copy")).expect("made");
    registry.back_up(&place("copy"), now).await.expect("copied");
    assert!(!place("copy.partial").exists());

    let over = Embedded::restore(&place("copy"), &place("first"), None);
    assert!(matches!(over, Err(NotRestored::Occupied(_))));
    let list = place("copy").join("backup.json");
    let text = fs::read_to_string(&list).expect("readable");
    let attempt = |text: &str| {
        fs::write(&list, text).expect("written");
        let refused = Embedded::restore(&place("copy"), &place("second"), None);
        let left: Vec<_> = fs::read_dir(home.path()).expect("readable").collect();
        assert_eq!(left.len(), 2, "nothing is left of it");
        refused.expect_err("it is damaged")
    };
    let newer = attempt(&text.replace("\"format\": 2", "\"format\": 3"));
    assert!(matches!(newer, NotRestored::NewerFormat { found: 3 }));
    let other = attempt(&text.replace("\"firstwake_backup\": 1", "\"firstwake_backup\": 2"));
    assert!(matches!(other, NotRestored::Unknown(_)));
    let torn = attempt(&text[..text.len() / 2]);
    assert!(matches!(torn, NotRestored::Unknown(_)));
    let rows = attempt(&text.replace("\"meta\": 2", "\"meta\": 3"));
    assert!(matches!(rows, NotRestored::Rows { table: "meta", .. }));
    fs::remove_file(&list).expect("removed");
    let none = Embedded::restore(&place("copy"), &place("second"), None);
    assert!(matches!(none, Err(NotRestored::NoBackup(_))));
}

#[tokio::test]
async fn a_backup_that_nobody_waits_for_is_given_up() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Embedded::open(&home.path().join("first")).expect("opens");
    let store = registry.shared.store().expect("open");
    let wanted = copy::Wanted::default();
    let unwanted = wanted.watch();
    drop(wanted);
    for n in 0..2000 {
        let events = vec![conformance::an_event(); usize::from(n % 1000 == 0) * 1000];
        registry.commit(Write::Note, events).await.expect("written");
    }
    let place = home.path().join("copy");
    let given_up = copy::back_up(&store, &place, Timestamp::from_millis(0), &unwanted);
    assert!(matches!(given_up, Err(NotBackedUp::GivenUp)));
    let left = std::fs::read_dir(home.path()).expect("readable");
    assert_eq!(left.count(), 1, "nothing is left of it");
}

#[tokio::test]
async fn a_registry_that_was_cut_off_in_the_making_is_made_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let place = home.path().join("registry");
    // As a kill leaves it: some files, and not all.
    let beside = home.path().join("registry.new");
    std::fs::create_dir(&beside).expect("made");
    std::fs::write(beside.join("0.jnl"), [0; 9]).expect("written");
    let registry = Embedded::open(&place).expect("opens");
    conformance::register(&registry, 0, &["a"]).await;
    assert!(!beside.exists());
    drop(registry);
    // One that was there and is not whole any more is nothing to write over.
    std::fs::remove_file(place.join("version")).expect("removed");
    let refused = Embedded::open(&place).expect_err("it is not whole");
    assert!(refused.to_string().contains("no complete registry"));
}

#[tokio::test]
async fn a_registry_that_is_gone_is_not_made_anew_while_it_serves() {
    let home = tempfile::tempdir().expect("a directory");
    let place = home.path().join("registry");
    let registry = Embedded::open(&place).expect("opens");
    conformance::register(&registry, 0, &["a"]).await;
    registry
        .shared
        .replace(Err(RegistryError::Unavailable("closed".to_owned())));
    let away = home.path().join("away");
    std::fs::rename(&place, &away).expect("moved");
    let note = || registry.commit(Write::Note, vec![conformance::an_event()]);
    assert!(matches!(note().await, Err(RegistryError::Unavailable(_))));
    assert!(!place.exists());
    std::fs::rename(&away, &place).expect("moved back");
    assert_eq!(note().await, Ok(Commit::Done));
    assert_eq!(*registry.newest().borrow(), 2);
}
