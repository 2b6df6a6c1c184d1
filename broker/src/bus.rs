//! The way of messages that are for whoever subscribed: devices' uplink and
//! services' topics.
//!
//! rumqttd's router fans them out. It sees one topic of ours and opaque
//! payloads: real topics would stay in its tables for ever, and some end its
//! thread. A flood goes at the pace of those who read on ([`followers`]); what
//! the router loses for others is counted and told to them. Shared
//! subscriptions pass it by ([`Groups`]). If its thread ends, [`Watch::ended`]
//! says so and the server stops.

mod followers;
mod groups;
mod message;
mod retained;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{self, Packet, Publish};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::followers::{Follower, Followers, Lead};
pub(crate) use self::groups::{Groups, Share, TooMany, Turn};
pub(crate) use self::message::{Message, Sender};
pub(crate) use self::retained::Retained;

/// The router's only topic.
const TOPIC: &str = "firstwake/bus";
/// Messages that may wait for the router before publishers do.
const QUEUE: usize = 8192;
/// Bytes that may wait for the router before publishers do.
const BYTES: usize = 16 * 1024 * 1024;
/// How long the pump waits before it looks again whether the router has taken
/// what it was handed: nobody says so.
const ROUTER_IS_BEHIND: Duration = Duration::from_micros(200);
/// Messages handed to the router with one wake-up.
const BATCH: usize = 512;
/// Bytes of a batch, but for its last message.
const BATCH_BYTES: usize = 1024 * 1024;
/// Links that the router takes: one for each operator's session that reads.
const LINKS: usize = 4096;

type Connect = Box<dyn Fn(&str) -> Result<(LinkTx, LinkRx), BusEnded> + Send + Sync>;

/// The bus has ended; so will the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message router has ended")]
pub(crate) struct BusEnded;

/// The publishers' and readers' side.
#[derive(Clone)]
pub(crate) struct Bus {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// A message that waits, and the room it takes meanwhile.
struct Queued {
    message: Message,
    room: OwnedSemaphorePermit,
}

struct Shared {
    connect: Connect,
    links: AtomicU64,
    readers: AtomicUsize,
    followers: Followers,
    ended: AtomicBool,
    retained: Retained,
    groups: Groups,
}

/// Tells when the router has ended.
pub(crate) struct Watch(oneshot::Receiver<()>);

impl Watch {
    /// Waits for the end of the router.
    pub(crate) async fn ended(self) -> BusEnded {
        // A dropped sender is the end of the watching thread: the same thing.
        drop(self.0.await);
        BusEnded
    }
}

impl Bus {
    /// Starts the router, the thread that feeds it, and the one that watches it.
    pub(crate) fn start() -> anyhow::Result<(Self, Watch)> {
        let config = RouterConfig {
            max_connections: LINKS,
            max_outgoing_packet_count: 64,
            max_segment_size: 4 * 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        };
        let router = Router::new(0, config).spawn();
        let connect: Connect = Box::new(move |name| {
            let link = LinkBuilder::new(name, router.clone()).clean_session(true);
            let (tx, rx, _) = link.build().map_err(|_| BusEnded)?;
            Ok((tx, rx))
        });
        let (pump, _) = connect("pump")?;
        let (_, watched) = connect("watch")?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (ended, watch) = oneshot::channel();
        let shared = Arc::new(Shared {
            connect,
            links: AtomicU64::new(0),
            readers: AtomicUsize::new(0),
            followers: Followers::default(),
            ended: AtomicBool::new(false),
            retained: Retained::default(),
            groups: Groups::default(),
        });
        thread::Builder::new().name("bus-pump".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || feed_router(pump, waiting, &shared)
        })?;
        thread::Builder::new().name("bus-watch".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                wait_for_end(watched);
                shared.ended.store(true, Ordering::Release);
                // Nobody waits any more where the server is stopping.
                let _ = ended.send(());
            }
        })?;
        let room = Arc::new(Semaphore::new(BYTES));
        let bus = Self {
            queue,
            room,
            shared,
        };
        Ok((bus, Watch(watch)))
    }

    /// Whether the router has ended: the server is about to.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// What is retained.
    pub(crate) fn retained(&self) -> &Retained {
        &self.shared.retained
    }

    /// Who shares subscriptions.
    pub(crate) fn groups(&self) -> &Groups {
        &self.shared.groups
    }

    /// Sends a message to whoever subscribed; waits while the router is behind.
    pub(crate) async fn publish(&self, message: Message) -> Result<(), BusEnded> {
        if message.retain {
            self.shared.retained.keep(&message);
        }
        self.shared.groups.publish(&message);
        if self.shared.readers.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let bytes = u32::try_from(message.size().min(BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        let queued = Queued {
            message,
            room: room.await.map_err(|_| BusEnded)?,
        };
        self.queue.send(queued).await.map_err(|_| BusEnded)
    }

    /// A reader of everything on the bus from now on.
    pub(crate) async fn read(&self) -> Result<Reader, BusEnded> {
        let shared = Arc::clone(&self.shared);
        let link = tokio::task::spawn_blocking(move || {
            let number = shared.links.fetch_add(1, Ordering::Relaxed);
            let (mut tx, mut rx) = (shared.connect)(&format!("reader-{number}"))?;
            tx.subscribe(TOPIC).map_err(|_| BusEnded)?;
            // What is published after the acknowledgement is read.
            loop {
                let notification = rx.recv().map_err(|_| BusEnded)?;
                if let Some(Packet::SubAck(..)) = notification.and_then(Option::<Packet>::from) {
                    break;
                }
            }
            shared.readers.fetch_add(1, Ordering::Release);
            Ok((tx, rx))
        });
        let (tx, rx) = link.await.map_err(|_| BusEnded)??;
        Ok(Reader {
            link: Some((tx, rx)),
            follower: self.shared.followers.join(),
            shared: Arc::clone(&self.shared),
            newest: None,
        })
    }
}

/// One reader's link.
pub(crate) struct Reader {
    link: Option<(LinkTx, LinkRx)>,
    follower: Arc<Follower>,
    shared: Arc<Shared>,
    newest: Option<u64>,
}

/// What a reader gets.
pub(crate) struct Received {
    pub(crate) message: Message,
    /// Messages that the router dropped before this one, because the reader
    /// was too slow.
    pub(crate) lost: u64,
}

impl Reader {
    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Received, BusEnded> {
        loop {
            let (_, rx) = self.link.as_mut().ok_or(BusEnded)?;
            match rx.next().await {
                Ok(Some(Notification::Forward(forward))) => {
                    let Some((number, message)) = Message::decode(&forward.publish.payload) else {
                        tracing::error!("the bus carried something that is no message");
                        continue;
                    };
                    let expected = self.newest.map_or(number, |newest| newest + 1);
                    self.newest = Some(number);
                    self.follower.note(number);
                    let lost = number.saturating_sub(expected);
                    return Ok(Received { message, lost });
                }
                // All that was asked for was read: ask for more.
                Ok(Some(Notification::Unschedule)) => rx.wake().await.map_err(|_| BusEnded)?,
                Ok(_) => {}
                Err(_) => return Err(BusEnded),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.readers.fetch_sub(1, Ordering::Release);
        if let Some((mut tx, rx)) = self.link.take() {
            // The router's own queue may be full: never wait for it here.
            let leave = move || {
                let reason_code = protocol::DisconnectReasonCode::NormalDisconnection;
                let disconnect = Packet::Disconnect(protocol::Disconnect { reason_code }, None);
                tx.buffer().push_back(disconnect);
                drop(tx.publish(TOPIC, Vec::new()));
                drop(rx);
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(leave)),
                Err(_) => leave(),
            }
        }
    }
}

/// Hands waiting messages to the router, many at once. Numbers them, so that
/// readers see what was dropped.
fn feed_router(mut link: LinkTx, mut waiting: mpsc::Receiver<Queued>, shared: &Shared) {
    let mut taken = Vec::with_capacity(BATCH);
    let mut number = 0;
    let mut lead = Lead::default();
    while waiting.blocking_recv_many(&mut taken, BATCH) > 0 {
        let mut queued = taken.drain(..).peekable();
        while queued.peek().is_some() {
            // The room is given back only once the router has taken the batch,
            // or its buffer would grow in place of the queue.
            let mut rooms = Vec::new();
            let mut batch = Vec::new();
            let mut bytes = 0;
            while bytes < BATCH_BYTES
                && let Some(Queued { message, room }) = queued.next()
            {
                number += 1;
                let encoded = message.encode(number);
                bytes += encoded.len();
                batch.push(encoded);
                rooms.push(room);
            }
            lead.wait(&shared.followers, || {
                thread::sleep(ROUTER_IS_BEHIND);
                ROUTER_IS_BEHIND
            });
            lead.note(number, bytes);
            if hand_on(&mut link, batch, shared).is_err() {
                return;
            }
        }
    }
}

/// Hands one batch to the router, and waits until it has taken it.
fn hand_on(link: &mut LinkTx, mut batch: Vec<Vec<u8>>, shared: &Shared) -> Result<(), BusEnded> {
    let Some(last) = batch.pop() else {
        return Ok(());
    };
    link.buffer().extend(batch.into_iter().map(|payload| {
        let topic = Bytes::from_static(TOPIC.as_bytes());
        Packet::Publish(Publish::new(topic, Bytes::from(payload), false), None)
    }));
    // Wakes the router for the whole batch.
    link.publish(TOPIC, last).map_err(|_| BusEnded)?;
    while !link.buffer().is_empty() {
        if shared.ended.load(Ordering::Acquire) {
            return Err(BusEnded);
        }
        thread::sleep(ROUTER_IS_BEHIND);
    }
    Ok(())
}

/// Returns when the router has dropped its end of the link.
fn wait_for_end(mut link: LinkRx) {
    while link.recv().is_ok() {}
}

#[cfg(test)]
mod tests;
