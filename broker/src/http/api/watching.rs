//! The event log as it is written: server-sent events.
//!
//! Each stream reads with a cursor of its own, as its peer takes what it read:
//! a slow one slows only itself. A stream ends when its operator may not read
//! any more, when its token ends, when a ban covers its peer, and when the
//! server stops.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use dashmap::DashMap;
use firstwake::{Admission, Event as Happened, EventKind, OperatorLogin, OperatorName, Subject};
use futures_util::Stream;
use futures_util::stream::unfold;

use crate::broker::Broker;
use crate::keep::Cursor;

/// How often a stream says that it is there. Proxies drop what is silent for a
/// minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// How many streams each operator reads.
#[derive(Debug, Default)]
pub(crate) struct Streams(DashMap<OperatorName, usize>);

/// A stream's place among those of its operator, for as long as it lasts.
struct Place {
    broker: Arc<Broker>,
    name: OperatorName,
}

/// An operator reads as many streams as it may.
pub(super) struct TooMany;

impl Place {
    fn take(name: &OperatorName, broker: &Arc<Broker>) -> Result<Self, TooMany> {
        let mut count = broker.streams.0.entry(name.clone()).or_default();
        if *count >= broker.limits.event_streams {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Self {
            broker: Arc::clone(broker),
            name: name.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let all = &self.broker.streams.0;
        if let Some(mut count) = all.get_mut(&self.name) {
            *count -= 1;
        }
        all.remove_if(&self.name, |_, count| *count == 0);
    }
}

/// One operator's reading.
struct Watching {
    admission: Admission,
    cursor: Cursor,
    source: IpAddr,
    broker: Arc<Broker>,
    _place: Place,
}

/// The events behind number `after`, or from now on.
pub(super) fn stream(
    login: OperatorLogin,
    after: Option<u64>,
    source: IpAddr,
    broker: Arc<Broker>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, TooMany> {
    let place = Place::take(login.name(), &broker)?;
    let cursor = Cursor::new(broker.provisioner.registry().newest(), after);
    let watching = Watching {
        admission: Admission::Operator(login),
        cursor,
        source,
        broker,
        _place: place,
    };
    let events = unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok(told(&event)), watching))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

impl Watching {
    /// The next event; `None` is the end.
    async fn next(&mut self) -> Option<Happened> {
        let Self {
            admission,
            cursor,
            source,
            broker,
            _place,
        } = self;
        let provisioner = &broker.provisioner;
        loop {
            if let Some(event) = cursor.take() {
                // Only what happens to operators, or to where they are, ends
                // an operator's reading.
                let ended = match &event.body.subject {
                    Subject::Operator(_) => provisioner.recheck(admission).await.is_err(),
                    Subject::Source(network) => {
                        let banned = matches!(event.body.kind, EventKind::SourceBanned { .. });
                        banned && network.contains(*source)
                    }
                    _ => false,
                };
                if ended {
                    return None;
                }
                return Some(event);
            }
            let wait = cursor.wait(&**provisioner.registry());
            let waited = broker.stopping.run_until_cancelled(wait).await?;
            if let Err(error) = waited {
                tracing::warn!(%error, "the event log could not be read: a stream of it ends");
                return None;
            }
        }
    }
}

fn told(event: &Happened) -> Event {
    Event::default()
        .id(event.seq.to_string())
        .event(event.body.kind.as_str())
        .data(event.to_json().to_string())
}
