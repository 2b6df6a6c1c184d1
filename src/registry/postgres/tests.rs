//! What only a database that several share can show.

mod faults;
mod hints;
mod opening;
pub(crate) mod server;
mod together;
mod unheard;

use self::server::Database;
use crate::registry::conformance;

/// Ends a test where there is no server.
macro_rules! database {
    () => {
        match crate::registry::postgres::tests::server::Database::create().await {
            Some(database) => database,
            None => return,
        }
    };
}
use database;

#[tokio::test]
async fn conforms() {
    drop(database!());
    conformance::check(|| async {
        let database = Database::create().await.expect("there is a server");
        database.open().await
    })
    .await;
}
