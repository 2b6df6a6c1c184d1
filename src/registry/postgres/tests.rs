//! What only a database that several share can show.

pub(crate) mod server;

use self::server::Database;
use crate::registry::conformance;

#[tokio::test]
async fn conforms() {
    let Some(_) = Database::create().await else {
        return;
    };
    conformance::check(|| async {
        let database = Database::create().await.expect("there is a server");
        database.open().await
    })
    .await;
}
