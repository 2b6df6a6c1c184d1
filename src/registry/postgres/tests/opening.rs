//! Opening a database, and refusing to.

use std::sync::Arc;

use tokio_postgres::Client;

use super::super::{OpenError, Postgres, Registry};
use super::database;
use super::server::Database;
use crate::registry::conformance::{an_event, register};
use crate::registry::{Commit, RegistryError, Write, rows};

/// Ends the connections that show who has a database open.
const CUT_HOLDERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
    WHERE locktype = 'relation' AND granted AND relation = to_regclass('firstwake.presence')
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// All that a database holds, as text.
async fn everything(admin: &Client) -> String {
    let mut all = String::new();
    for table in ["migrations", "meta", "devices", "index", "events", "mail"] {
        let sql = format!(
            "SELECT string_agg(it::text, ';' ORDER BY it::text) FROM firstwake.{table} AS it"
        );
        let row = admin.query_one(&sql, &[]).await.expect("readable");
        let text: Option<String> = row.get(0);
        all.push_str(&text.unwrap_or_default());
        all.push('\n');
    }
    all
}

/// Opens once, changes something past the store, and says how opening goes.
async fn refusal(database: &Database, sql: &str, row: Option<Vec<u8>>) -> OpenError {
    let first = database.open().await;
    register(&first, 0, &["a"]).await;
    drop(first);
    let admin = database.connect().await;
    let changed = match row {
        Some(row) => admin.execute(sql, &[&row]).await,
        None => admin.execute(sql, &[]).await,
    };
    assert_eq!(changed.expect("changed"), 1);
    let before = everything(&admin).await;
    let refused = database.try_open().await.expect_err("refused");
    assert_eq!(everything(&admin).await, before, "nothing is changed");
    refused
}

#[tokio::test]
async fn everything_is_there_for_whoever_opens_it_next() {
    let database = database!();
    let first = database.open().await;
    let feeds = register(&first, 0, &["a", "b"]).await;
    let events = first.events(0, 10).await;
    drop(first);
    let second = database.open().await;
    assert_eq!(*second.newest().borrow(), 2);
    assert_eq!(second.events(0, 10).await, events);
    let more = register(&second, 0, &["b", "c"]).await;
    assert_eq!(more[0], feeds[1]);
    assert!(!feeds.contains(&more[1]), "feeds are never given out twice");
}

#[tokio::test]
async fn many_may_open_an_empty_database_at_once() {
    let database = database!();
    let (one, two) = tokio::join!(database.open(), database.open());
    register(&one, 0, &["a"]).await;
    assert_eq!(two.census().await.map(|census| census.total()), Ok(1));
}

#[tokio::test]
async fn newer_tables_are_refused() {
    let database = database!();
    let sql = "INSERT INTO firstwake.migrations (number) VALUES (3)";
    let refused = refusal(&database, sql, None).await;
    assert_eq!(refused, OpenError::NewerTables { found: 3, known: 2 });
    assert!(refused.to_string().contains("use the newer program"));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let database = database!();
    let found = rows::FORMAT + 1;
    let sql = "UPDATE firstwake.meta SET row = $1 WHERE key = 'format'";
    let refused = refusal(&database, sql, Some(rows::encode(&found))).await;
    let known = rows::FORMAT;
    assert_eq!(refused, OpenError::OtherFormat { found, known });
}

#[tokio::test]
async fn one_that_is_alone_keeps_others_out() {
    let database = database!();
    let server = database.open().await;
    let refused = database.try_open_alone().await.expect_err("not alone");
    let OpenError::NotAlone { by } = refused else {
        panic!("{refused}");
    };
    assert!(by.contains("from a socket since 20"), "{by}");
    let admin = database.connect().await;
    drop(server);
    // Its lock goes with its connection, which the database ends a moment later.
    let alone = loop {
        match database.try_open_alone().await {
            Ok(alone) => break alone,
            Err(error) => assert!(matches!(error, OpenError::NotAlone { .. }), "{error}"),
        }
    };
    let taken = database.try_open().await.expect_err("taken");
    assert!(matches!(taken, OpenError::Taken { .. }), "{taken}");
    let another = database.try_open_alone().await.expect_err("not alone");
    assert!(matches!(another, OpenError::NotAlone { .. }), "{another}");
    let note = || alone.commit(Write::Note, vec![an_event()]);
    assert_eq!(note().await, Ok(Commit::Done));

    // What it holds the others out with is cut: it may be alone no more.
    admin.query_one(CUT_HOLDERS, &[]).await.expect("cut");
    while alone.shared.is_present() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(note().await, Err(RegistryError::Unavailable(_))));
}

/// A server whose connection is cut does not show for a moment. Whoever is
/// alone since then keeps it from writing all the same.
#[tokio::test]
async fn a_server_that_does_not_show_is_kept_out() {
    let database = database!();
    let server = database.open().await;
    let admin = database.connect().await;
    let alone = loop {
        admin.query_one(CUT_HOLDERS, &[]).await.expect("cut");
        if let Ok(alone) = database.try_open_alone().await {
            break alone;
        }
    };
    let note = |registry: Arc<Postgres>| async move {
        registry.commit(Write::Note, vec![an_event()]).await
    };
    let (server, alone) = (Arc::new(server), Arc::new(alone));
    let (kept_out, let_in) = tokio::join!(note(Arc::clone(&server)), note(Arc::clone(&alone)));
    let told = kept_out.expect_err("kept out").to_string();
    assert!(
        told.contains("a command has the registry for itself"),
        "{told}"
    );
    assert_eq!(let_in, Ok(Commit::Done));
    drop(alone);
    while note(Arc::clone(&server)).await.is_err() {}
    assert!(server.events(0, 9).await.is_ok_and(|all| all.len() >= 2));
}

/// A version before had one migration less; nothing of it is lost.
#[tokio::test]
async fn tables_of_an_earlier_version_are_brought_to_this_one() {
    let database = database!();
    let first = database.open().await;
    let feeds = register(&first, 0, &["a"]).await;
    drop(first);
    let admin = database.connect().await;
    let back = "DROP TABLE firstwake.presence, firstwake.hint_epoch;
                DELETE FROM firstwake.migrations WHERE number = 2";
    loop {
        // Until its connections have ended.
        if admin
            .batch_execute(&format!("SET lock_timeout = '1s'; {back}"))
            .await
            .is_ok()
        {
            break;
        }
    }
    let again = database.open().await;
    assert_eq!(register(&again, 0, &["a"]).await, feeds);
}

#[tokio::test]
async fn somebody_elses_schema_is_left_alone() {
    let database = database!();
    let admin = database.connect().await;
    admin
        .batch_execute("CREATE SCHEMA firstwake; CREATE TABLE firstwake.meta (key text)")
        .await
        .expect("somebody else's");
    let refused = database.try_open().await.expect_err("not ours");
    let said = refused.to_string();
    assert!(said.contains("already exists"), "{said}");
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'firstwake'";
    let row = admin.query_one(count, &[]).await.expect("readable");
    assert_eq!(row.get::<_, i64>(0), 1, "nothing was made");
}
