//! The connections that other servers are heard over, and that show them that
//! this one is there.
//!
//! Nothing depends on it but speed: what is newest is asked for besides, and
//! hints may be lost. While one is down both are made again and again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future;
use tokio::sync::oneshot;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Notification, SimpleQueryMessage};

use super::dial::{Dial, Messages};
use super::lease::{said, within};
use super::{HINTS_CHANNEL, OpenError, Presence, Shared, hints};
use crate::registry::Hint;

/// How often the connection has to show that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long to wait before it is made again, at first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Whatever the database's own settings are, these connections wait for no
/// statement and are ended by no timeout. One of the settings is newer than the
/// oldest PostgreSQL that is good.
const SESSION: &str = "SET search_path = pg_catalog; SET statement_timeout = '10s';
    SET idle_in_transaction_session_timeout = 0;
    SELECT set_config(name, '0', false) FROM pg_settings
        WHERE name IN ('transaction_timeout', 'idle_session_timeout')";
/// Connections that show. Where they come from is seen by a role of their own.
const HOLDERS: &str = "SELECT string_agg(
        format('backend %s from %s since %s', pid, coalesce(host(client_addr), 'a socket'),
               to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI\" UTC\"')), ', ')
    FROM (SELECT DISTINCT pid, client_addr, backend_start
          FROM pg_locks JOIN pg_stat_activity USING (pid)
          WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid()
            AND relation = 'firstwake.presence'::regclass
            AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          ORDER BY backend_start LIMIT 4) AS showing";

/// Who wants to know how the first connection went.
pub(super) type First = oneshot::Sender<Result<(), OpenError>>;

/// Keeps the connection for ever; gives up if the first one cannot be made.
pub(super) async fn run(dial: Arc<dyn Dial>, shared: Arc<Shared>, first: First) {
    let mut first = Some(first);
    let mut pause = PAUSE[0];
    loop {
        let Err(error) = hold(dial.as_ref(), &shared, &mut first).await;
        let was_up = shared.leave();
        if let Some(first) = first.take() {
            drop(first.send(Err(error)));
            return;
        }
        tracing::warn!(%error, "other servers are not heard");
        pause = match was_up {
            true => PAUSE[0],
            false => PAUSE[1].min(pause * 2),
        };
        tokio::time::sleep(pause).await;
    }
}

/// What never ends well.
enum Never {}

async fn hold(
    dial: &dyn Dial,
    shared: &Shared,
    first: &mut Option<First>,
) -> Result<Never, OpenError> {
    // Two connections: a lock is held by a transaction, and nothing is heard in
    // one. This one has read nothing and written nothing, so it holds up no
    // vacuum however long it is open.
    let (line, lock) = within(future::try_join(dial.dial(), dial.dial()))
        .await?
        .map_err(|error| OpenError::Database(said(&error)))?;
    let heard = hear(line.messages, |said| take_in(said, shared));
    let held = hear(lock.messages, |_| {});
    let kept = keep(&line.client, &lock.client, shared, first);
    let (never, _, _) = future::try_join3(heard, held, kept).await?;
    Ok(never)
}

/// Passes on what comes; this is what moves the connection.
async fn hear(mut messages: Messages, take_in: impl Fn(&Notification)) -> Result<Never, OpenError> {
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(said))) => take_in(&said),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(OpenError::Database(said(&error))),
            None => return Err(OpenError::Database("the connection has ended".to_owned())),
        }
    }
}

fn take_in(said: &Notification, shared: &Shared) {
    if said.channel() == HINTS_CHANNEL {
        hints::take_in(said.payload(), shared);
    }
}

/// Listens, shows that this server is there, and that the connections are.
async fn keep(
    line: &Client,
    lock: &Client,
    shared: &Shared,
    first: &mut Option<First>,
) -> Result<Never, OpenError> {
    for client in [line, lock] {
        ask(client, SESSION).await?;
    }
    show(lock, shared.presence).await?;
    ask(line, &format!("LISTEN {HINTS_CHANNEL}")).await?;
    shared.enter();
    match first.take() {
        Some(first) => drop(first.send(Ok(()))),
        None => {
            tracing::info!("other servers are heard again");
            drop(shared.hints.send(Hint::Missed));
        }
    }
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        for client in [line, lock] {
            ask(client, "SELECT 1").await?;
        }
    }
}

/// Takes the lock that shows who has the registry open, at once or never.
async fn show(lock: &Client, presence: Presence) -> Result<(), OpenError> {
    let mode = match presence {
        Presence::AmongOthers => "ROW SHARE",
        Presence::Alone => "EXCLUSIVE",
    };
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
         LOCK TABLE firstwake.presence IN {mode} MODE NOWAIT"
    );
    let taken = within(lock.batch_execute(&sql)).await?;
    let Err(error) = taken else { return Ok(()) };
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return Err(OpenError::Database(said(&error)));
    }
    ask(lock, "ROLLBACK").await?;
    let by = holders(lock).await?;
    Err(match presence {
        Presence::AmongOthers => OpenError::Taken { by },
        Presence::Alone => OpenError::NotAlone { by },
    })
}

/// Who shows now, in words.
async fn holders(client: &Client) -> Result<String, OpenError> {
    let said = ask(client, HOLDERS).await?;
    let row = said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.unwrap_or("it has just ended").to_owned())
}

async fn ask(client: &Client, sql: &str) -> Result<Vec<SimpleQueryMessage>, OpenError> {
    let answered = within(client.simple_query(sql)).await?;
    answered.map_err(|error| OpenError::Database(said(&error)))
}
