//! A device wakes for the first time.

use crate::support::wire::{DISCONNECT, PUBACK, text};
use crate::support::{Connect, Credentials, SECRET, TestBroker, Version, code};

const SERIAL: &str = "0123456789";
const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";

#[test]
fn the_published_inputs_make_the_published_code() {
    let broker = TestBroker::start();
    let printed = broker.cli(&["code", "--secret", SECRET, "--serial", SERIAL]);
    assert_eq!(printed.ok(), format!("{CODE}\n"));
    let read = ["code", "--secret-stdin", "--serial", SERIAL];
    let printed = broker.cli_with(&read, &format!("{SECRET}\n"));
    assert_eq!(printed.ok(), format!("{CODE}\n"));
    assert_eq!(code(SERIAL), CODE);
}

#[test]
fn a_device_activates_confirms_and_its_code_is_spent() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&[SERIAL]);

        let mut peer = broker.admitted(version, &Connect::new(SERIAL, CODE));
        peer.send(&version.subscribe(1, &[("provision/0123456789/response", 1)]));
        peer.expect(&version.suback(1, &[1]));
        let answer = peer.publish();
        assert_eq!(answer.topic, "provision/0123456789/response");
        assert_eq!((answer.qos(), answer.retain()), (1, false));
        assert!(answer.properties.is_empty());
        let credentials = Credentials::read(&answer.payload);
        assert_eq!(credentials.key.len(), 48);
        let id = answer.id.expect("QoS 1");
        peer.send(&version.acknowledgement(PUBACK, id, 0));
        peer.send(&DISCONNECT);
        peer.expect_close();
        assert_eq!(broker.lifecycle(SERIAL), "issued");

        let mut device = broker.login(version, SERIAL, &credentials.key);
        device.expect_alive();
        assert_eq!(broker.lifecycle(SERIAL), "active");

        let told = broker.told(version, &Connect::new(SERIAL, CODE));
        let reason =
            "the device is already active: its code was used, and the key made with it too";
        let code = if version.is_5() { 0x87 } else { 5 };
        assert_eq!(told, Some(version.connack_because(code, reason)));
        device.expect_alive();

        let names: Vec<String> = events(&broker);
        assert_eq!(
            names,
            [
                "operator_added",
                "product_created",
                "device_registered",
                "activation_issued",
                "activation_confirmed",
                "activation_refused",
            ]
        );
        let shown = broker.json(&["device", "show", SERIAL]);
        assert_eq!(shown["product_id"], product.as_str());
        assert_eq!(shown["feed_id"], credentials.feed);
    }
}

fn events(broker: &TestBroker) -> Vec<String> {
    let name = |event: &serde_json::Value| event["event"].as_str().expect("a name").to_owned();
    broker.events().iter().map(name).collect()
}

#[test]
fn serials_with_every_allowed_character_activate() {
    let broker = TestBroker::start();
    let all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let serials = [all, ",_:", "+", "++", "-", ":", "a+b,c"];
    broker.fleet(&serials);
    let mut feeds = Vec::new();
    for (n, serial) in serials.iter().enumerate() {
        let version = Version::ALL[n % 3];
        let (mut device, credentials) = broker.device(version, serial);
        device.expect_alive();
        feeds.push(credentials.feed);
    }
    feeds.sort_unstable();
    feeds.dedup();
    assert_eq!(feeds.len(), serials.len(), "a feed for each");
}

#[test]
fn a_serial_plus_reads_nobody_elses_answer() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["+", "victim"]);
        let no = if version.is_5() { 0x87 } else { 0x80 };
        let mut peer = broker.activating(version, "+");
        for filter in ["provision/+/response", "provision/victim/response"] {
            peer.subscribe(&[(filter, 1)], &[no]);
        }
        broker.activate(version, "victim");
        peer.expect_alive();
        peer.subscribe(&[("provision/%2B/response", 0)], &[0]);
        assert_eq!(peer.publish().topic, "provision/%2B/response");
    }
}

#[test]
fn the_answer_comes_at_the_quality_granted() {
    let broker = TestBroker::start();
    broker.fleet(&["S1", "S2", "S3"]);
    for (serial, asked, granted) in [("S1", 0, 0), ("S2", 1, 1), ("S3", 2, 1)] {
        let topic = format!("provision/{serial}/response");
        let mut peer = broker.activating(Version::V311, serial);
        peer.subscribe(&[(&topic, asked)], &[granted]);
        assert_eq!(peer.message().qos(), granted);
    }
}

#[test]
fn everything_may_come_in_one_segment() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let connect = Connect::new("S1", &code("S1")).bytes(version);
        let subscribe = version.subscribe(1, &[("provision/S1/response", 0)]);
        let mut peer = broker.peer(version);
        peer.send(&[connect, subscribe].concat());
        assert_eq!(peer.packet().first, 0x20);
        peer.expect(&version.suback(1, &[0]));
        Credentials::read(&peer.publish().payload);
    }
}

#[test]
fn an_activation_session_is_never_persistent() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    for _ in 0..2 {
        let password = code("S1");
        let connect = Connect {
            clean: false,
            ..Connect::new("S1", &password)
        };
        let mut peer = broker.admitted(Version::V311, &connect);
        peer.subscribe(&[("provision/S1/response", 1)], &[1]);
        // Not acknowledged: nothing of it may come back later.
        peer.publish();
        peer.vanish();
    }
    let password = code("S1");
    let expiry = [&[0x11_u8, 0, 0, 0, 60][..], &[]].concat();
    let connect = Connect {
        clean: false,
        properties: &expiry,
        ..Connect::new("S1", &password)
    };
    let mut peer = broker.peer(Version::V5);
    peer.send(&connect.bytes(Version::V5));
    let connack = peer.packet();
    assert_eq!(connack.body[..2], [0, 0], "no session was kept");
    let expiry = connack
        .body
        .windows(5)
        .any(|five| five == [0x11, 0, 0, 0, 0]);
    assert!(expiry, "and none will be: {connack:02x?}");
    peer.expect_alive();
}

#[test]
fn a_nameless_client_of_version_5_is_told_its_name() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let password = code("S1");
    let connect = Connect {
        client_id: "",
        ..Connect::new("S1", &password)
    };
    let mut peer = broker.peer(Version::V5);
    peer.send(&connect.bytes(Version::V5));
    let connack = peer.packet();
    let name = text("auto-")[2..].to_vec();
    assert!(connack.body.windows(5).any(|five| five == name));
}
