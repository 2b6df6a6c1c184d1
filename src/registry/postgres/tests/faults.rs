//! What a database may do to whoever uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Postgres, Registry};
use super::database;
use crate::event::EventKind;
use crate::registry::conformance::{an_event, register};
use crate::registry::{Commit, RegistryError, Write};

/// Backends are ended again and again in the midst of a load: what was
/// acknowledged is there, what was refused is there at most once, and it goes
/// on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing() {
    const WRITERS: u64 = 8;
    let database = database!();
    let server = Arc::new(database.open().await);
    let ends = Arc::new(AtomicBool::new(false));
    // Each event names its writer and its turn by when it happened.
    let write = |server: Arc<Postgres>, ends: Arc<AtomicBool>, writer: u64| async move {
        let (mut kept, mut unknown) = (Vec::new(), Vec::new());
        let mut turn = 0;
        while !ends.load(Ordering::Relaxed) {
            turn += 1;
            let at = writer * 1_000_000 + turn;
            let mut event = an_event();
            event.at = crate::Timestamp::from_millis(at);
            match server.commit(Write::Note, vec![event]).await {
                Ok(outcome) => {
                    assert_eq!(outcome, Commit::Done);
                    kept.push(at);
                }
                Err(error) => {
                    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
                    unknown.push(at);
                }
            }
        }
        (kept, unknown)
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(&server), Arc::clone(&ends), writer)))
        .collect();
    let admin = database.connect().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut newest = server.newest();
    for _ in 0..20 {
        // Only once something was written since the last time.
        let before = *newest.borrow_and_update();
        newest
            .wait_for(|now| *now > before + 20)
            .await
            .expect("open");
        admin.query_one(cut, &[]).await.expect("cut");
    }
    ends.store(true, Ordering::Relaxed);
    let (mut kept, mut unknown) = (Vec::new(), Vec::new());
    for writer in writers {
        let (acknowledged, refused) = writer.await.expect("wrote");
        kept.extend(acknowledged);
        unknown.extend(refused);
    }
    let events = loop {
        // A reader may be refused for a moment, too.
        if let Ok(events) = server.events(0, usize::MAX).await {
            break events;
        }
    };
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let mut written: Vec<u64> = events
        .iter()
        .map(|event| event.body.at.as_millis())
        .collect();
    written.sort_unstable();
    let count = written.len();
    written.dedup();
    assert_eq!(written.len(), count, "nothing happens twice");
    for at in &kept {
        assert!(written.binary_search(at).is_ok(), "{at} was acknowledged");
    }
    assert!(written.len() <= kept.len() + unknown.len());
}

/// A row that cannot be read stops what needs it and nothing else.
#[tokio::test]
async fn a_damaged_row_is_said_so() {
    let database = database!();
    let server = database.open().await;
    let feeds = register(&server, 0, &["a", "b"]).await;
    let admin = database.connect().await;
    let sql = "UPDATE firstwake.devices SET row = '\\xff' WHERE key = $1";
    let key = feeds[0].as_u32().to_be_bytes();
    assert_eq!(admin.execute(sql, &[&key.as_slice()]).await.ok(), Some(1));
    let read = server.device(feeds[0]).await;
    assert!(matches!(read, Err(RegistryError::Damaged(_))));
    assert!(matches!(server.device(feeds[1]).await, Ok(Some(_))));
}

/// Somebody holds a table for ever. The store waits for its time, and no
/// longer; then it works again.
#[tokio::test]
async fn a_database_that_hangs_is_unavailable() {
    let database = database!();
    let server = database.open().await;
    let admin = database.connect().await;
    let hold = "BEGIN; LOCK TABLE firstwake.events IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(hold).await.expect("held");
    let note = || server.commit(Write::Note, vec![an_event()]);
    let (written, read) = tokio::join!(note(), server.events(0, 1));
    assert!(matches!(written, Err(RegistryError::Unavailable(_))));
    assert!(matches!(read, Err(RegistryError::Unavailable(_))));
    admin.batch_execute("ROLLBACK").await.expect("let go");
    assert_eq!(note().await, Ok(Commit::Done));
    assert_eq!(server.events(0, 9).await.map(|all| all.len()), Ok(1));
}

/// Whatever the database thinks of durability, our commits are on disk.
#[tokio::test]
async fn a_commit_is_synced_whatever_the_default_is() {
    let database = database!();
    let admin = database.connect().await;
    let sql = "DO $$ BEGIN EXECUTE format(
                   'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    admin.batch_execute(sql).await.expect("set");
    let server = database.open().await;
    let spy = "CREATE TABLE public.seen (setting text);
               CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO public.seen VALUES (current_setting('synchronous_commit'));
                   RETURN NULL; END $$;
               CREATE TRIGGER look AFTER INSERT ON firstwake.events
                   EXECUTE FUNCTION public.look()";
    admin.batch_execute(spy).await.expect("watched");
    register(&server, 0, &["a"]).await;
    let seen = admin
        .query_one("SELECT setting FROM public.seen", &[])
        .await;
    assert_eq!(seen.expect("one commit").get::<_, &str>(0), "on");
    let registered = server.events(0, 1).await.expect("readable");
    assert_eq!(registered[0].body.kind, EventKind::DeviceRegistered);
}
