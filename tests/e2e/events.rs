//! The event log, as operators watch it.

use serde_json::Value;

use crate::support::wire::text;
use crate::support::{Connect, PASSWORD, TestBroker, Version, eventually};

const EVENTS: &str = "provisioning/events/#";

fn generate(broker: &TestBroker, product: &str, pattern: &str) {
    let register = ["device", "register", product, "--generate", pattern];
    broker.cli(&register).ok();
}

#[test]
fn every_event_arrives_in_order_at_any_quality() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1"]);
        broker.add_operator("watcher", "viewer", &[]);
        for qos in 0..=2 {
            let seen = broker.events().len();
            let mut watcher = broker.operator(version, "watcher");
            watcher.subscribe(&[(EVENTS, qos)], &[qos]);
            // More than a page and more than any window.
            generate(&broker, &product, &format!("q{qos}-:600"));
            let logged: Vec<Value> = broker.events().split_off(seen);
            assert_eq!(logged.len(), 600);
            let messages = watcher.messages(600);
            for (message, event) in messages.iter().zip(&logged) {
                assert_eq!(message.json(), *event);
                assert_eq!((message.qos(), message.retain()), (qos, false));
                let topic = format!(
                    "provisioning/events/{product}/{}/device_registered",
                    event["serial"].as_str().expect("a serial")
                );
                assert_eq!(message.topic, topic);
            }
            let numbers: Vec<u64> = messages
                .iter()
                .map(|message| message.json()["seq"].as_u64().expect("a number"))
                .collect();
            let gapless: Vec<u64> = (seen as u64 + 1..).take(600).collect();
            assert_eq!(numbers, gapless);
            watcher.expect_alive();
        }
    }
}

#[test]
fn events_are_filtered_by_product_device_and_kind() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["a+b", "S2"]);
        let mut watcher = broker.admin(version);
        let one = format!("provisioning/events/{product}/a%2Bb/#");
        let confirmed = "provisioning/events/+/+/activation_confirmed";
        watcher.subscribe(&[(&one, 1), (confirmed, 0)], &[1, 0]);
        broker.device(version, "S2");
        broker.device(version, "a+b");
        let seen: Vec<(String, u8)> = watcher
            .messages(3)
            .iter()
            .map(|message| (message.topic.clone(), message.qos()))
            .collect();
        let topic = |serial, event| format!("provisioning/events/{product}/{serial}/{event}");
        assert_eq!(
            seen,
            [
                (topic("S2", "activation_confirmed"), 0),
                (topic("a%2Bb", "activation_issued"), 1),
                // Once, at the better quality of the two.
                (topic("a%2Bb", "activation_confirmed"), 1),
            ]
        );
        watcher.expect_alive();
    }
}

#[test]
fn version_5_reads_the_log_from_any_number_on() {
    let version = Version::V5;
    let mut broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("watcher", "viewer", &[]);
    generate(&broker, &product, "x:300");
    let log = broker.events();
    broker.kill_and_restart();
    for after in [0, 1, 150, log.len() - 1] {
        let mut watcher = broker.operator(version, "watcher");
        let property = [&[0x26], text("after").as_slice(), &text(&after.to_string())].concat();
        watcher.send(&version.subscribe_with(3, &property, &[(EVENTS, 1)]));
        watcher.expect(&version.suback(3, &[1]));
        let replayed = watcher.messages(log.len() - after);
        let events: Vec<Value> = replayed.iter().map(|message| message.json()).collect();
        assert_eq!(events, log[after..]);
        watcher.expect_alive();
    }
}

#[test]
fn a_reader_that_takes_its_time_loses_nothing_and_holds_up_nobody() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("slow", "viewer", &[]);
    // Receive maximum: two messages may wait for their acknowledgement.
    let connect = Connect {
        properties: &[0x21, 0, 2],
        ..Connect::new("slow", PASSWORD)
    };
    let mut slow = broker.admitted(version, &connect);
    slow.subscribe(&[(EVENTS, 1)], &[1]);
    generate(&broker, &product, "x:500");
    let (one, two) = (slow.publish(), slow.publish());
    // Not a third: the answer to the ping comes next.
    slow.expect_alive();
    for message in [&one, &two] {
        let id = message.id.expect("QoS 1");
        slow.send(&version.acknowledgement(0x40, id, 0));
    }
    let first = one.json()["seq"].as_u64().expect("a number");
    let rest = slow.messages(498);
    for (n, message) in (first + 2..).zip(rest) {
        assert_eq!(message.json()["seq"], n);
    }
}

#[test]
fn the_fleet_is_counted_for_whoever_subscribes() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "S2", "S3"]);
        broker.add_operator("watcher", "viewer", &[]);
        broker.device(version, "S1");
        broker.activate(version, "S2");
        let counted = eventually("the fleet is counted", || {
            let mut watcher = broker.operator(version, "watcher");
            watcher.subscribe(&[("provisioning/fleet", 1)], &[1]);
            let latest = watcher.message();
            assert_eq!(latest.topic, "provisioning/fleet");
            assert!(latest.retain(), "the latest on subscribing");
            let counts = latest.json()["devices"].clone();
            (counts["active"] == 1).then_some(counts)
        });
        assert_eq!(counted["issued"], 1);
        assert_eq!(counted["registered"], 1);
        assert_eq!(counted["revoked"], 0);

        let mut watcher = broker.operator(version, "watcher");
        watcher.subscribe(&[("provisioning/fleet", 0)], &[0]);
        watcher.message();
        broker.cli(&["device", "revoke", "S2"]).ok();
        let later = eventually("and counted again", || {
            let message = watcher.message();
            assert!(!message.retain(), "news, not the latest");
            let counts = message.json()["devices"].clone();
            (counts["revoked"] == 1).then_some(counts)
        });
        assert_eq!(later["issued"], 0);
    }
}

#[test]
fn unproved_refusals_are_told_by_source_and_reason() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let mut watcher = broker.admin(version);
        watcher.subscribe(&[("provisioning/refusals", 1)], &[1]);
        let wrong = "0".repeat(40);
        let connect = Connect::new("S1", &wrong);
        let before = broker.events().len();
        broker.told(version, &connect);
        let report = watcher.message().json();
        let entry = &report["refusals"][0];
        assert_eq!(entry["refusal"], "wrong_code");
        assert_eq!(entry["source"], "127.0.0.1");
        assert_eq!(entry["count"], 1);
        assert_eq!(broker.events().len(), before, "counted, never stored");
    }
}
