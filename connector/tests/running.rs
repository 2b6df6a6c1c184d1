//! Staying connected and publishing.

use std::future::pending;
use std::time::Duration;

use firstwake_connector::{OnCommand, RunError, Value, parse_line, run};
use tokio::sync::{mpsc, oneshot};

use crate::fake::{ACCEPTED, NOT_AUTHORISED, Peer};
use crate::fixture::{Fixture, code, key, together, with_password};

fn value(line: &str) -> Value {
    parse_line(line, None).expect("valid").expect("not blank")
}

/// Input of these lines, and its end.
async fn input(lines: &[&str]) -> mpsc::Receiver<Value> {
    let (sender, values) = mpsc::channel(lines.len().max(1));
    for line in lines {
        sender.send(value(line)).await.expect("room");
    }
    values
}

async fn expect(peer: &mut Peer, topic: &str, payload: &str) -> u16 {
    let published = peer.published().await;
    assert_eq!((&*published.topic, &*published.payload), (topic, payload));
    published.id
}

#[tokio::test]
async fn it_activates_publishes_and_ends_with_its_input() {
    let fixture = Fixture::new().await;
    let values = input(&["temperature 21.5", "t+1=warm"]).await;
    let code = code();
    let ended = together(
        run(
            &fixture.device,
            Some(&code),
            values,
            OnCommand::Ignore,
            pending(),
        ),
        async {
            fixture.issues('a').await;
            let (mut peer, login) = fixture.broker.connack(ACCEPTED).await;
            assert_eq!(login, with_password(&key('a')));
            let one = expect(&mut peer, "feeds/123456/data/temperature", "21.5").await;
            let two = expect(&mut peer, "feeds/123456/data/t%2B1", "warm").await;
            peer.puback(one).await;
            peer.puback(two).await;
            peer.disconnect().await;
        },
    )
    .await;
    ended.expect("all delivered");
    assert_eq!(fixture.stored(), Some((key('a'), true)));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again() {
    let fixture = Fixture::new().await;
    fixture.stores('a', true);
    let values = input(&["n 1", "n 2", "n 3"]).await;
    let ended = together(
        run(&fixture.device, None, values, OnCommand::Ignore, pending()),
        async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            let first = expect(&mut peer, "feeds/7/data/n", "1").await;
            expect(&mut peer, "feeds/7/data/n", "2").await;
            peer.puback(first).await;
            drop(peer);
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            for expected in ["2", "3"] {
                let id = expect(&mut peer, "feeds/7/data/n", expected).await;
                peer.puback(id).await;
            }
            peer.disconnect().await;
        },
    )
    .await;
    ended.expect("all delivered");
}

#[tokio::test]
async fn with_a_connection_a_full_queue_makes_the_input_wait() {
    const COUNT: usize = 5_000;
    const WAITING: usize = 1_000;
    let fixture = Fixture::new().await;
    fixture.stores('a', true);
    let (sender, values) = mpsc::channel(1);
    let (full, filled) = oneshot::channel();
    let feed = async move {
        let mut full = Some(full);
        for number in 0..COUNT {
            let taken = sender.send(value(&format!("n {number}"))).await;
            taken.expect("still running");
            if number == WAITING {
                let told = full.take().map(|full| full.send(()));
                told.expect("once").expect("waited for");
            }
        }
    };
    let script = async {
        let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
        filled.await.expect("filled");
        for number in 0..COUNT {
            let id = expect(&mut peer, "feeds/7/data/n", &number.to_string()).await;
            peer.puback(id).await;
        }
        peer.disconnect().await;
    };
    let ended = together(
        run(&fixture.device, None, values, OnCommand::Ignore, pending()),
        async {
            tokio::join!(feed, script);
        },
    );
    ended.await.expect("all delivered");
}

#[tokio::test]
async fn asked_to_stop_it_delivers_what_it_has() {
    let mut fixture = Fixture::new().await;
    fixture.device.pace.flush = Duration::from_secs(3600);
    fixture.stores('a', true);
    let (sender, values) = mpsc::channel(4);
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        stopped.await.expect("told");
    };
    let ended = together(
        run(&fixture.device, None, values, OnCommand::Ignore, stopped),
        async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            sender.send(value("n 1")).await.expect("room");
            let id = expect(&mut peer, "feeds/7/data/n", "1").await;
            stop.send(()).expect("running");
            peer.puback(id).await;
            peer.disconnect().await;
        },
    );
    ended.await.expect("all delivered");
}

#[tokio::test]
async fn what_cannot_be_delivered_in_time_is_counted() {
    let mut fixture = Fixture::new().await;
    fixture.stores('a', true);
    fixture.device.pace.flush = Duration::from_millis(50);
    let (sender, values) = mpsc::channel(2);
    let ended = together(
        run(&fixture.device, None, values, OnCommand::Ignore, pending()),
        async {
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            for payload in ["1", "2"] {
                sender
                    .send(value(&format!("n {payload}")))
                    .await
                    .expect("room");
                expect(&mut peer, "feeds/7/data/n", payload).await;
            }
            drop(sender);
            peer.disconnect().await;
        },
    );
    let ended = ended.await;
    assert!(
        matches!(ended, Err(RunError::Undelivered { values: 2 })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_refused_device_comes_back_when_it_is_resumed() {
    let fixture = Fixture::new().await;
    fixture.stores('a', true);
    let values = input(&["n 1"]).await;
    let ended = together(
        run(&fixture.device, None, values, OnCommand::Ignore, pending()),
        async {
            fixture.takes_key('a', NOT_AUTHORISED).await;
            fixture.takes_key('a', NOT_AUTHORISED).await;
            let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
            let id = expect(&mut peer, "feeds/7/data/n", "1").await;
            peer.puback(id).await;
            peer.disconnect().await;
        },
    );
    ended.await.expect("all delivered");
}

#[tokio::test]
async fn without_credentials_and_code_there_is_nothing_to_run() {
    let fixture = Fixture::new().await;
    let (_open, values) = mpsc::channel(1);
    let ended = run(&fixture.device, None, values, OnCommand::Ignore, pending()).await;
    assert!(matches!(ended, Err(RunError::NoCode)), "{ended:?}");
}
