//! The MQTT bridge: Xively's topics, read and written with a key.

use crate::support::http::HttpPeer;
use crate::support::wire::Version;
use crate::support::{Connect, Credentials, Peer, TestBroker, code};

/// A device that is in as Xively had it: its key as username.
fn bridge(broker: &TestBroker, version: Version, key: &str) -> Peer {
    let connect = Connect {
        username: Some(key),
        password: None,
        ..Connect::new("x", "y")
    };
    broker.admitted(version, &connect)
}

fn activate(broker: &TestBroker, serial: &str) -> Credentials {
    Credentials::read(&broker.activation(&code(serial), &[]).body)
}

fn put(peer: &mut HttpPeer, device: &Credentials, lines: &str) {
    let key = format!("X-ApiKey: {}", device.key);
    let line = format!("PUT /v2/feeds/{}.csv", device.feed);
    peer.ask(&line, &[&key], lines.as_bytes()).text_of(200);
}

const AT: &str = "2026-01-01T00:00:00.000000Z";

#[test]
fn a_device_is_read_its_feed_at_once_and_then_each_update() {
    for version in Version::ALL {
        let broker = TestBroker::with_xively();
        broker.fleet(&["S1"]);
        let device = activate(&broker, "S1");
        let mut http = broker.xively();
        put(&mut http, &device, &format!("a,{AT},1"));
        let mut peer = bridge(&broker, version, &device.key);
        let feed = device.feed;
        let topic = format!("/v2/feeds/{feed}.csv");
        // Quality 0, whatever is asked.
        peer.subscribe(&[(&topic, 1)], &[0]);
        let now = peer.publish();
        assert_eq!((&now.topic, now.qos()), (&topic, 0));
        assert_eq!(now.payload, format!("a,{AT},1").as_bytes());

        // An update over HTTP, and one of its own.
        put(&mut http, &device, &format!("b,{AT},2"));
        let update = peer.publish();
        assert_eq!(update.topic, topic);
        assert_eq!(update.payload, format!("a,{AT},1\nb,{AT},2").as_bytes());
        let own = "b,2026-01-01T00:00:01Z,3";
        peer.send(&version.publish(&topic, 0, 0, own.as_bytes()));
        let later = "2026-01-01T00:00:01.000000Z";
        let update = peer.publish();
        assert_eq!(update.payload, format!("a,{AT},1\nb,{later},3").as_bytes());

        // One datastream, and the whole in JSON, behind its own key.
        let one = format!("/v2/feeds/{feed}/datastreams/b.csv");
        peer.subscribe(&[(&one, 0)], &[0]);
        let now = peer.publish();
        assert_eq!(now.topic, one);
        assert_eq!(now.payload, format!("{later},3").as_bytes());
        let keyed = format!("{}/v2/feeds/{feed}.json", device.key);
        peer.subscribe(&[(&keyed, 0)], &[0]);
        let now = peer.publish();
        assert_eq!(now.topic, format!("/v2/feeds/{feed}.json"));
        let page: serde_json::Value = serde_json::from_slice(&now.payload).expect("JSON");
        assert_eq!(page["datastreams"][2]["current_value"], "1");

        peer.send(&version.unsubscribe(9, &[&topic, &one, &keyed]));
        peer.expect(&version.unsuback(9, &[0, 0, 0]));
        put(&mut http, &device, "a,4");
        peer.expect_alive();
    }
}

#[test]
fn a_feed_without_values_says_nothing_until_there_is_one() {
    let version = Version::V311;
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let device = activate(&broker, "S1");
    let mut peer = bridge(&broker, version, &device.key);
    let topic = format!("/v2/feeds/{}/datastreams/new.csv", device.feed);
    peer.subscribe(&[(&topic, 0)], &[0]);
    peer.expect_alive();
    put(&mut broker.xively(), &device, &format!("new,{AT},1"));
    assert_eq!(peer.publish().payload, format!("{AT},1").as_bytes());
}

#[test]
fn what_is_not_ones_own_is_denied_and_said_so() {
    for version in Version::ALL {
        let broker = TestBroker::with_xively();
        broker.fleet(&["S1", "S2"]);
        let (device, other) = (activate(&broker, "S1"), activate(&broker, "S2"));
        assert!(broker.works("S2", &other.key));
        let mut peer = bridge(&broker, version, &device.key);
        let (own, foreign) = (device.feed, other.feed);
        let refused = if version.is_5() { 0x87 } else { 0x80 };
        for filter in [
            format!("/v2/feeds/{foreign}.csv"),
            format!("/v2/feeds/{foreign}/datastreams/a.csv"),
            format!("{}/v2/feeds/{foreign}.csv", other.key),
            format!("{}/v2/feeds/{own}.csv", other.key),
            format!("{}/v2/feeds/{foreign}.csv", device.key),
            format!("/v2/feeds/{own}.xml"),
        ] {
            peer.subscribe(&[(&filter, 0)], &[refused]);
        }
        put(&mut broker.xively(), &other, "a,1");
        peer.expect_alive();
    }
}

#[test]
fn no_key_is_carried_on_in_a_topic() {
    let version = Version::V5;
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1", "S2"]);
    let mut watcher = broker.admin(version);
    watcher.subscribe(&[("feeds/#", 1), ("/v2/#", 1), ("+/v2/#", 1)], &[1, 1, 1]);
    let (device, other) = (activate(&broker, "S1"), activate(&broker, "S2"));
    let mut peer = bridge(&broker, version, &device.key);
    let topic = format!("{}/v2/feeds/{}.csv", device.key, device.feed);
    peer.deliver(&topic, 1, b"a,1");
    let message = watcher.message();
    assert_eq!(message.topic, format!("feeds/{}/data", device.feed));
    // Another's key opens nothing, not even one's own feed.
    for keyed in [device.feed, other.feed] {
        let topic = format!("{}/v2/feeds/{keyed}.csv", other.key);
        peer.send(&version.publish(&topic, 1, 12, b"a,2"));
        peer.expect(&version.acknowledgement(crate::support::wire::PUBACK, 12, 0x87));
    }
    peer.deliver(&format!("/v2/feeds/{}.csv", device.feed), 1, b"last,1");
    assert_eq!(watcher.message().payload, b"last,1");
}
