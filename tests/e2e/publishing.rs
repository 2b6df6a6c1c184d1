//! How fast a device may publish, and what.

use std::time::{Duration, Instant};

use crate::support::wire::{PUBACK, PUBREC};
use crate::support::{TestBroker, Version};

#[test]
fn over_its_rate_a_device_is_told_or_waits_and_loses_nothing() {
    for version in Version::ALL {
        let broker = TestBroker::start_with(&["device_publish_rate=20", "device_publish_burst=5"]);
        broker.fleet(&["S1"]);
        broker.add_operator("boss", "admin", &[]);
        let mut watcher = broker.operator(version, "boss");
        watcher.subscribe(&[("feeds/#", 0)], &[0]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/data/temperature", credentials.feed);

        // QoS 0: all arrive, in their order and in their time.
        let begun = Instant::now();
        let burst: Vec<u8> = (0..26u8)
            .flat_map(|n| version.publish(&topic, 0, 0, &[n]))
            .collect();
        device.send(&burst);
        let payloads: Vec<u8> = (0..26).map(|_| watcher.message().payload[0]).collect();
        assert_eq!(payloads, (0..26).collect::<Vec<u8>>());
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(900), "{version:?} {took:?}");

        // QoS 1 and 2: version 5 is told, the others wait.
        for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
            let burst: Vec<u8> = (1..=15)
                .flat_map(|id| version.publish(&topic, qos, id, b"1"))
                .collect();
            device.send(&burst);
            let answers: Vec<_> = (0..15).map(|_| device.packet()).collect();
            assert!(answers.iter().all(|packet| packet.first == first));
            let refused = answers
                .iter()
                .filter(|packet| packet.body.get(2) == Some(&0x97));
            let refused = refused.count();
            assert_eq!(refused > 0, version.is_5(), "{version:?}: {refused}");
            (refused..15).for_each(|_| assert_eq!(watcher.message().payload, b"1"));
        }
        device.expect_alive();
    }
}

#[test]
fn a_device_that_waits_can_be_ended() {
    for version in Version::ALL {
        let broker = TestBroker::start_with(&["device_publish_rate=1", "device_publish_burst=1"]);
        broker.fleet(&["S1"]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/status", credentials.feed);
        let burst: Vec<u8> = (0..200)
            .flat_map(|_| version.publish(&topic, 0, 0, b"x"))
            .collect();
        device.send(&burst);
        let begun = Instant::now();
        broker.cli(&["device", "revoke", "S1"]).ok();
        device.expect_farewell_because(0x98, "an operator revoked this device");
        assert!(begun.elapsed() < Duration::from_secs(5), "{version:?}");
    }
}

#[test]
fn new_datastreams_are_bounded_and_remembered() {
    for version in Version::ALL {
        let mut broker = TestBroker::start();
        let product = broker.fleet(&["S1"]);
        broker
            .cli(&["product", "set", &product, "--new-datastreams", "2"])
            .ok();
        broker.add_operator("boss", "admin", &[]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = |name: &str| format!("feeds/{}/data/{name}", credentials.feed);
        for name in ["one", "temperature", "two", "one", "humidity"] {
            device.deliver(&topic(name), 1, b"1");
        }
        broker.kill_and_restart();
        let mut watcher = broker.operator(version, "boss");
        watcher.subscribe(&[("feeds/#", 0)], &[0]);
        let mut device = broker.login(version, "S1", &credentials.key);
        for (id, qos, first) in [(1, 1, PUBACK), (2, 2, PUBREC)] {
            device.send(&version.publish(&topic("three"), qos, id, b"no"));
            device.expect(&version.acknowledgement(first, id, 0x97));
        }
        device.deliver(&topic("two"), 1, b"yes");
        assert_eq!(watcher.message().payload, b"yes", "the others are dropped");

        // Who cannot be told is ended in the end; version 5 was told. Sent at
        // once, so that nothing of it is unread when the server closes.
        let burst: Vec<u8> = (3..=12)
            .flat_map(|id| version.publish(&topic("four"), 1, id, b"no"))
            .collect();
        device.send(&burst);
        for id in 3..=if version.is_5() { 12 } else { 10 } {
            device.expect(&version.acknowledgement(PUBACK, id, 0x97));
        }
        match version.is_5() {
            true => device.expect_alive(),
            false => device.expect_close(),
        }
        // More are allowed: at once.
        broker
            .cli(&["product", "set", &product, "--new-datastreams", "3"])
            .ok();
        let mut device = broker.login(version, "S1", &credentials.key);
        device.deliver(&topic("three"), 1, b"yes");
        assert_eq!(watcher.message().topic, topic("three"));
    }
}
