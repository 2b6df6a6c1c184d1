//! The connection that other servers are heard over, and that shows them that
//! this one is there.
//!
//! Nothing depends on it but speed: what is newest is asked for besides, and
//! hints may be lost. While it is down it is made again and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{self, Either};
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client, Notification};

use super::dial::{Dial, Messages};
use super::lease::{said, within};
use super::{HINTS_CHANNEL, NEWEST_CHANNEL, OPEN_LOCK, OpenError, Presence, Shared};
use super::{hints, migrations};
use crate::registry::Hint;

/// How often the connection has to show that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long to wait before it is made again, at first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How often the database is asked what is newest, whatever was heard.
const POLL: Duration = Duration::from_millis(500);

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

/// Asks the database what is newest, for as long as the registry is open.
pub(super) async fn poll(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(POLL).await;
        let before = *shared.newest.borrow();
        match migrations::counters(&shared.pool).await {
            Ok(counters) if counters.newest_event < before => {
                let now = counters.newest_event;
                tracing::error!(before, now, "the database has lost what was committed");
                shared.newest.send_replace(now);
            }
            Ok(counters) => shared.advance(counters.newest_event),
            Err(error) => tracing::debug!(%error, "what is newest is not known"),
        }
    }
}

/// What never ends well.
enum Never {}

async fn hold(
    dial: &dyn Dial,
    shared: &Shared,
    first: &mut Option<First>,
) -> Result<Never, OpenError> {
    let dialled = within(dial.dial()).await?;
    let line = dialled.map_err(|error| OpenError::Database(said(&error)))?;
    let heard = pin!(hear(line.messages, shared));
    let kept = pin!(keep(&line.client, shared, first));
    match future::select(heard, kept).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

/// Passes on what comes; this is what moves the connection.
async fn hear(mut messages: Messages, shared: &Shared) -> Result<Never, OpenError> {
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(said))) => take_in(&said, shared),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(OpenError::Database(said(&error))),
            None => return Err(OpenError::Database("the connection has ended".to_owned())),
        }
    }
}

fn take_in(said: &Notification, shared: &Shared) {
    match said.channel() {
        NEWEST_CHANNEL => match said.payload().parse() {
            Ok(newest) => shared.advance(newest),
            Err(_) => tracing::debug!("an unreadable notification"),
        },
        HINTS_CHANNEL => {
            let heard = hints::read(&shared.id, said.payload());
            // Nobody may be listening.
            heard.for_each(|hint| drop(shared.hints.send(hint)));
        }
        _ => {}
    }
}

/// Listens, shows that this server is there, and that the connection is.
async fn keep(
    client: &Client,
    shared: &Shared,
    first: &mut Option<First>,
) -> Result<Never, OpenError> {
    let ask = async |sql: &str| {
        let answered = within(client.simple_query(sql)).await?;
        answered.map_err(|error| OpenError::Database(said(&error)))
    };
    ask("SET search_path = pg_catalog; SET statement_timeout = '10s'").await?;
    let try_lock = match shared.presence {
        Presence::AmongOthers => "pg_try_advisory_lock_shared",
        Presence::Alone => "pg_try_advisory_lock",
    };
    let sql = format!("SELECT 1 WHERE {try_lock}({OPEN_LOCK})");
    let rows = ask(&sql).await?;
    let is_mine = rows
        .iter()
        .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)));
    if !is_mine {
        return Err(match shared.presence {
            Presence::AmongOthers => OpenError::Taken,
            Presence::Alone => OpenError::NotAlone,
        });
    }
    ask(&format!("LISTEN {NEWEST_CHANNEL}; LISTEN {HINTS_CHANNEL}")).await?;
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
        ask("SELECT 1").await?;
    }
}
