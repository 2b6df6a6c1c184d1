//! Two servers on one database.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt, future};
use tokio_postgres::{AsyncMessage, Error};

use super::super::dial::Messages;
use super::super::{Dial, Line, Postgres};
use super::database;
use crate::clock::Timestamp;
use crate::device::{Key, Transition};
use crate::entropy::counting::Counting;
use crate::identity::FeedId;
use crate::registry::conformance::{an_event, product, register};
use crate::registry::{Commit, Registry, Write};
use crate::secret::ApiKey;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Longer than anything here may take; it ends a test that would hang.
pub(super) const FOREVER: Duration = Duration::from_secs(60);

/// Waits until a server has heard of an event.
pub(super) async fn hears(registry: &Postgres, number: u64) {
    let mut newest = registry.newest();
    let heard = newest.wait_for(|newest| *newest >= number);
    let heard = tokio::time::timeout(FOREVER, heard).await;
    heard.expect("heard").expect("open");
}

#[tokio::test]
async fn a_race_has_one_winner_over_both() {
    let database = database!();
    let servers = [database.open().await, database.open().await];
    let feeds = register(&servers[0], 0, &["a", "b", "c", "d"]).await;
    let entropy = Counting::default();
    let devices = future::try_join_all(feeds.iter().map(|feed| servers[1].device(*feed))).await;
    let devices = devices.expect("readable");
    // Both change each device, one of them in the other's opposite order.
    let attempts = |server: usize| {
        let mut order: Vec<_> = devices.iter().flatten().cloned().collect();
        if server == 1 {
            order.reverse();
        }
        let registry = &servers[server];
        let entropy = &entropy;
        future::join_all(order.into_iter().map(move |device| async move {
            let feed = device.feed;
            let issued = device.issue(Key::Api(ApiKey::generate(entropy).digest()), 1, NOW);
            let write = Write::Device(issued.device);
            let outcome = registry.commit(write, issued.events).await;
            (feed, outcome.expect("decided"))
        }))
    };
    let (one, two) = future::join(attempts(0), attempts(1)).await;
    for feed in &feeds {
        let both = one.iter().chain(&two).filter(|(of, _)| of == feed);
        let won = both.filter(|(_, outcome)| *outcome == Commit::Done);
        assert_eq!(won.count(), 1, "{feed}");
        let device = servers[0].device(*feed).await.expect("readable");
        assert_eq!(device.expect("registered").version, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_have_one_gapless_order_for_every_reader() {
    const EACH: u64 = 200;
    let database = database!();
    let servers = [
        Arc::new(database.open().await),
        Arc::new(database.open().await),
    ];
    let write = |server: Arc<Postgres>| async move {
        for round in 0..EACH / 4 {
            let notes = [1, 3].map(|count| {
                let events = vec![an_event(); count];
                server.commit(Write::Note, events)
            });
            for outcome in future::join_all(notes).await {
                assert_eq!(outcome, Ok(Commit::Done), "{round}");
            }
        }
    };
    let read = |server: Arc<Postgres>| async move {
        let mut newest = server.newest();
        let mut read = 0;
        while read < 2 * EACH {
            newest
                .wait_for(|newest| *newest > read)
                .await
                .expect("open");
            let told = *newest.borrow();
            while read < told {
                let page = server.events(read, 16).await.expect("readable");
                assert!(!page.is_empty(), "what is told of can be read");
                for event in page {
                    assert_eq!(event.seq, read + 1, "no event may be missing");
                    read = event.seq;
                }
            }
        }
    };
    let both = |tasks: [tokio::task::JoinHandle<()>; 4]| future::try_join_all(tasks);
    let running = both([
        tokio::spawn(write(Arc::clone(&servers[0]))),
        tokio::spawn(write(Arc::clone(&servers[1]))),
        tokio::spawn(read(Arc::clone(&servers[0]))),
        tokio::spawn(read(Arc::clone(&servers[1]))),
    ]);
    let ended = tokio::time::timeout(FOREVER, running).await;
    ended.expect("in time").expect("no reader missed anything");
}

#[tokio::test]
async fn seats_are_never_oversold() {
    const SEATS: u64 = 5;
    let database = database!();
    let servers = [database.open().await, database.open().await];
    let serials: Vec<String> = (0..16).map(|n| format!("s{n}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    let feeds = register(&servers[0], 0, &serials).await;
    let entropy = Counting::default();
    let attempts = feeds.iter().enumerate().map(|(n, feed)| {
        let registry = &servers[n % 2];
        let entropy = &entropy;
        async move {
            let device = registry.device(*feed).await.expect("readable");
            let key = Key::Api(ApiKey::generate(entropy).digest());
            let issued = device.expect("registered").issue(key, 1, NOW);
            let write = Write::Seated {
                device: issued.device,
                seats: SEATS,
            };
            registry.commit(write, issued.events).await
        }
    });
    let outcomes = future::try_join_all(attempts).await.expect("decided");
    let won = outcomes.iter().filter(|it| **it == Commit::Done).count();
    assert_eq!(won as u64, SEATS);
    let census = servers[1].product_census(&product(0)).await;
    let lifecycles = census.expect("readable").lifecycles;
    assert_eq!(lifecycles.seats_taken(), SEATS);
    assert_eq!(servers[1].census().await, Ok(lifecycles));
}

#[tokio::test]
async fn one_device_is_registered_once() {
    let database = database!();
    let servers = [database.open().await, database.open().await];
    let serials: Vec<String> = (0..40).map(|n| format!("s{n}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    let backwards: Vec<&str> = serials.iter().rev().copied().collect();
    let (one, mut two) = future::join(
        register(&servers[0], 0, &serials),
        register(&servers[1], 0, &backwards),
    )
    .await;
    two.reverse();
    assert_eq!(one, two, "both say the same feeds");
    let census = servers[0].census().await.expect("readable");
    assert_eq!(census.total(), 40);
    let events = servers[0].events(0, 100).await.expect("readable");
    assert_eq!(events.len(), 40);
}

/// Writers that take the same rows in opposite orders, of many products, get
/// through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever() {
    const PRODUCTS: u8 = 12;
    let database = database!();
    let servers = [
        Arc::new(database.open().await),
        Arc::new(database.open().await),
    ];
    let mut feeds = Vec::new();
    for of in 0..PRODUCTS {
        feeds.extend(register(servers[0].as_ref(), of, &["a", "b"]).await);
    }
    let work = |server: Arc<Postgres>, feeds: Vec<FeedId>| async move {
        for round in 0..6 {
            let turns = feeds.iter().map(|feed| async {
                loop {
                    let device = server.device(*feed).await.expect("readable");
                    let device = device.expect("registered");
                    let transition = match device.standing {
                        crate::device::Standing::Suspended => Transition::Resume,
                        _ => Transition::Suspend,
                    };
                    let Ok(changed) = device.apply(transition, NOW) else {
                        panic!("round {round}");
                    };
                    let write = Write::Device(changed.device);
                    let outcome = server.commit(write, changed.events).await;
                    if outcome.expect("decided") == Commit::Done {
                        break;
                    }
                }
            });
            future::join_all(turns).await;
        }
    };
    let backwards = feeds.iter().rev().copied().collect();
    let both = future::try_join(
        tokio::spawn(work(Arc::clone(&servers[0]), feeds.clone())),
        tokio::spawn(work(Arc::clone(&servers[1]), backwards)),
    );
    let ended = tokio::time::timeout(FOREVER, both).await;
    ended.expect("in time").expect("everybody got through");
    for feed in feeds {
        let device = servers[0].device(feed).await.expect("readable");
        assert_eq!(device.expect("registered").version, 13);
    }
}

#[tokio::test]
async fn each_hears_of_the_others_events() {
    let database = database!();
    let (one, two) = (database.open().await, database.open().await);
    let note = one.commit(Write::Note, vec![an_event(); 3]).await;
    assert_eq!(note, Ok(Commit::Done));
    hears(&two, 3).await;
    let note = two.commit(Write::Note, vec![an_event()]).await;
    assert_eq!(note, Ok(Commit::Done));
    hears(&one, 4).await;
    assert_eq!(*two.newest().borrow(), 4);
}

/// A connection over which no notification comes.
struct Deaf(Arc<dyn Dial>);

#[async_trait]
impl Dial for Deaf {
    async fn dial(&self) -> Result<Line, Error> {
        let Line { client, messages } = self.0.dial().await?;
        let deaf = Without(messages).boxed();
        Ok(Line {
            client,
            messages: deaf,
        })
    }
}

struct Without(Messages);

impl Stream for Without {
    type Item = Result<AsyncMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.0.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => {}
                other => return other,
            }
        }
    }
}

#[tokio::test]
async fn whoever_hears_nothing_asks() {
    let database = database!();
    let one = database.open().await;
    let deaf = Arc::new(Deaf(database.dial()));
    let two = Postgres::open(database.pool(), deaf).await.expect("opens");
    let note = one.commit(Write::Note, vec![an_event()]).await;
    assert_eq!(note, Ok(Commit::Done));
    hears(&two, 1).await;
}
