//! The bus with its real router.

use firstwake::topic::{Limits, TopicFilter, TopicName};

use super::*;
use crate::mqtt::packet::{Properties, Qos};

fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        topic: TopicName::parse(topic, Limits::SERVICE).expect("valid"),
        payload: payload.to_vec(),
        qos: Qos::ExactlyOnce,
        retain: false,
        properties: Properties {
            correlation: Some(vec![0, 255]),
            user: vec![("a".to_owned(), "b".to_owned())],
            ..Properties::default()
        },
        sender: Sender::next(),
        at: firstwake::Timestamp::from_millis(0),
    }
}

#[test]
fn messages_survive_their_encoding() {
    let sent = message("温度/é", &[0, 1, 255]);
    assert_eq!(Message::decode(&sent.encode(7)), Some((7, sent)));
    assert_eq!(Message::decode(b"nonsense"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_everything_in_order_whatever_the_topic() {
    let (bus, _watch) = Bus::start().expect("starts");
    let (mut one, mut two) = (
        bus.read().await.expect("a link"),
        bus.read().await.expect("a link"),
    );
    let topics = ["é/x", "温度", "\u{feff}a", "$x", "a", "+x"];
    let sent: Vec<Message> = topics
        .iter()
        .filter(|topic| !topic.contains('+'))
        .cycle()
        .take(1000)
        .map(|topic| message(topic, b"1"))
        .collect();
    for message in &sent {
        bus.publish(message.clone()).await.expect("taken");
    }
    for reader in [&mut one, &mut two] {
        for message in &sent {
            let received = reader.next().await.expect("alive");
            assert_eq!((&received.message, received.lost), (message, 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_reader_misses_is_counted() {
    let (bus, _watch) = Bus::start().expect("starts");
    let mut slow = bus.read().await.expect("a link");
    let mut fast = bus.read().await.expect("a link");
    let payload = vec![b'x'; 64 * 1024];
    // Four times what the router keeps.
    let total = 1024;
    for n in 0..total {
        bus.publish(message(&format!("t/{n}"), &payload))
            .await
            .expect("taken");
        let received = fast.next().await.expect("alive");
        assert_eq!(received.lost, 0);
    }
    let (mut got, mut lost) = (0, 0);
    loop {
        let received = slow.next().await.expect("alive");
        got += 1;
        lost += received.lost;
        if received.message.topic.as_str() == format!("t/{}", total - 1) {
            break;
        }
    }
    assert!(lost > 0, "the router keeps 16 MiB only");
    assert_eq!(got + lost, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_misses_nothing_in_a_flood() {
    let (bus, _watch) = Bus::start().expect("starts");
    let mut reader = bus.read().await.expect("a link");
    // Many times what the router keeps, as fast as it can be published.
    let total = 600;
    let flood = tokio::spawn(async move {
        let payload = vec![b'x'; 64 * 1024];
        for n in 0..total {
            let message = message(&format!("t/{n}"), &payload);
            bus.publish(message).await.expect("taken");
        }
    });
    for n in 0..total {
        let received = reader.next().await.expect("alive");
        let topic = received.message.topic;
        assert_eq!(
            (topic.as_str(), received.lost),
            (format!("t/{n}").as_str(), 0)
        );
        // It is slower than what comes.
        let stretch = std::time::Instant::now();
        while stretch.elapsed() < Duration::from_micros(300) {
            std::hint::spin_loop();
        }
    }
    flood.await.expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_router_is_noticed() {
    let (bus, watch) = Bus::start().expect("starts");
    let mut reader = bus.read().await.expect("a link");
    let shared = Arc::clone(&bus.shared);
    tokio::task::spawn_blocking(move || {
        let (mut tx, _rx) = (shared.connect)("saboteur").expect("a link");
        // What no peer can do: a raw topic that the router does not survive.
        drop(tx.publish("é/x", "1"));
        _rx
    })
    .await
    .expect("published");
    assert_eq!(watch.ended().await, BusEnded);
    assert!(reader.next().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_are_kept_replaced_and_cleared() {
    let (bus, _watch) = Bus::start().expect("starts");
    let keep = async |topic: &str, payload: &[u8]| {
        let retained = Message {
            retain: true,
            ..message(topic, payload)
        };
        bus.publish(retained).await.expect("taken");
    };
    let kept = |filter: &str| {
        let filter = TopicFilter::parse(filter, Limits::SERVICE).expect("valid");
        let found = bus.retained().matching(&filter);
        let text = |m: Arc<Message>| String::from_utf8(m.payload.clone()).expect("text");
        found.into_iter().map(text).collect::<Vec<_>>()
    };
    keep("a/1", b"old").await;
    keep("a/1", b"new").await;
    keep("a/2", b"two").await;
    assert_eq!(kept("a/+"), ["new", "two"]);
    keep("a/1", b"").await;
    assert_eq!(kept("#"), ["two"]);
    keep("big", &vec![b'x'; BYTES_FOR_TEST]).await;
    assert_eq!(kept("big"), Vec::<String>::new(), "no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_goes_when_its_time_is_over() {
    let (bus, _watch) = Bus::start().expect("starts");
    for (topic, expiry) in [("a", Some(5)), ("b", Some(9)), ("c", None)] {
        let mut retained = Message {
            retain: true,
            ..message(topic, b"x")
        };
        retained.properties.message_expiry = expiry;
        bus.publish(retained).await.expect("taken");
    }
    let all = TopicFilter::parse("#", Limits::SERVICE).expect("valid");
    for (second, left) in [(4, 3), (5, 2), (8, 2), (9, 1), (99, 1)] {
        let now = firstwake::Timestamp::from_millis(second * 1000);
        bus.retained().sweep(now);
        assert_eq!(bus.retained().matching(&all).len(), left, "{second} s");
    }
}

const BYTES_FOR_TEST: usize = 16 * 1024 * 1024;
