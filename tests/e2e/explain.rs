//! A person has a device that cannot get in, and asks `device explain`.

use crate::support::wire::{DISCONNECT, PUBACK, packet};
use crate::support::{Connect, TestBroker, Version, code, eventually};

/// The text that the command prints of a device.
fn explained(broker: &TestBroker, serial: &str) -> String {
    broker.cli(&["device", "explain", serial]).ok()
}

/// Waits until the explanation has these words: a session ends in its own time.
fn explains(broker: &TestBroker, serial: &str, words: &[&str]) {
    eventually(&words.join(", "), || {
        let text = explained(broker, serial);
        words.iter().all(|word| text.contains(word)).then_some(())
    });
}

#[test]
fn a_code_with_something_around_it_is_seen_and_answered_as_any_wrong_one() {
    let broker = TestBroker::start();
    broker.fleet(&["SN-0001"]);
    let right = code("SN-0001");
    for version in Version::ALL {
        for (spoilt, words) in [
            (format!("{right} "), "followed by a space"),
            (format!("{right}\n"), "followed by a line feed"),
            (format!("{right}\0"), "followed by NUL"),
            (format!("\"{right}\""), "stands in quotes"),
        ] {
            let told = |serial| broker.told(version, &Connect::new(serial, &spoilt));
            assert_eq!(told("SN-0001"), told("stranger"));
            let text = explained(&broker, "SN-0001");
            assert!(text.contains(words), "{text}");
            assert!(text.contains("strip what is around"), "{text}");
            assert!(!text.contains(&right), "{text}");
        }
        for username in ["SN-0001 ", "sn-0001", "SN-0001\n"] {
            broker.told(version, &Connect::new(username, &right));
            let text = explained(&broker, "SN-0001");
            assert!(text.contains("the code is right"), "{text}");
        }
    }
    let json = broker.json(&["device", "explain", "SN-0001"]);
    assert_eq!(json["refusals"][0]["refusal"], "malformed");
    let causes = json["refusals"].as_array().expect("a list");
    assert!(
        causes
            .iter()
            .any(|it| it["cause"] == "serial_in_other_case")
    );
    assert!(json["since"].is_string());
    let log = eventually("a line in the log", || {
        let log = broker.log();
        log.contains("code_with_extras (the password is")
            .then_some(log)
    });
    assert!(!log.contains(&right));
}

#[test]
fn a_serial_that_is_not_registered_was_tried() {
    let broker = TestBroker::start();
    broker.fleet(&["SN-0001"]);
    for _ in 0..3 {
        broker.told(Version::V311, &Connect::new("SN-OO01", &code("SN-0001")));
    }
    let done = broker.cli(&["device", "explain", "SN-OO01"]);
    let said = done.failed(4);
    assert!(said.contains("3 times since"), "{said}");
    assert!(said.contains("from 127.0.0.1"), "{said}");
    assert!(said.contains("near: SN-0001 is registered"), "{said}");
}

#[test]
fn an_activation_that_goes_wrong_after_the_code_was_right() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "S2", "S3"]);
        // Real modems do that.
        let mut peer = broker.admitted(version, &Connect::new("S1", &code("S1")));
        peer.send(&version.subscribe(0, &[("provision/S1/response", 1)]));
        drop(peer.provoke(&[]));
        let exact = "SUBSCRIBE with packet id 0 is not allowed in MQTT";
        explains(&broker, "S1", &["protocol_error", exact]);

        let mut peer = broker.admitted(version, &Connect::new("S2", &code("S2")));
        peer.send(&version.subscribe(1, &[("provision/s2/response", 1)]));
        peer.packet();
        let names = "its response topic is provision/S2/response";
        explains(&broker, "S2", &["subscribed_elsewhere", names]);

        let mut peer = broker.admitted(version, &Connect::new("S3", &code("S3")));
        peer.send(&DISCONNECT);
        peer.expect_close();
        explains(&broker, "S3", &["never_asked", "provision/S3/response"]);
        let json = broker.json(&["device", "explain", "S3"]);
        assert_eq!(json["problems"][0]["cause"], "never_asked");
    }
}

#[test]
fn a_device_that_only_subscribes_where_keys_are_not_given() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let set = ["product", "set", &product, "--proof", "signed"];
    broker.cli(&set).ok();
    let version = Version::V311;
    let mut peer = broker.admitted(version, &Connect::new("S1", &code("S1")));
    peer.subscribe(&[("provision/S1/response", 1)], &[1]);
    peer.send(&DISCONNECT);
    peer.expect_close();
    let words = ["waits_for_public_key", "provision/S1/request"];
    explains(&broker, "S1", &words);
}

#[test]
fn an_active_device_whose_messages_are_not_taken() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (mut device, credentials) = broker.device(version, "S1");
        let topic = format!("feeds/{}/data", credentials.feed);
        for _ in 0..3 {
            device.send(&version.publish(&topic, 1, 7, b"{\"version\":"));
            let puback = device.packet().bytes();
            match version.is_5() {
                true => {
                    assert_eq!(puback[4], 0x99);
                    let words = String::from_utf8_lossy(&puback[9..]);
                    assert!(words.contains("JSON"), "{words}");
                }
                false => assert_eq!(puback, version.acknowledgement(PUBACK, 7, 0)),
            }
        }
        let words = ["payload_unreadable", "3 times", "mend the body"];
        explains(&broker, "S1", &words);
        device.send(&version.publish("feeds/9999/data", 1, 8, b"{}"));
        device.packet();
        let own = format!("feeds/{}/", credentials.feed);
        explains(&broker, "S1", &["topic_forbidden", &own]);
        device.provoke(&packet(0x82, b"\0\0\0\x01a\0"));
        explains(&broker, "S1", &["SUBSCRIBE with packet id 0"]);
    }
}

/// Its CONNECT says so: Request Problem Information (0x17) is 0.
#[test]
fn a_peer_that_wants_no_reasons_is_given_the_code_alone() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let credentials = broker.activate(version, "S1");
    let connect = Connect {
        properties: &[0x17, 0],
        ..Connect::new("S1", &credentials.key)
    };
    let mut device = broker.admitted(version, &connect);
    let topic = format!("feeds/{}/data", credentials.feed);
    device.send(&version.publish(&topic, 1, 7, b"{"));
    device.expect(&version.acknowledgement(PUBACK, 7, 0x99));
}

#[test]
fn two_with_one_key_are_seen() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let version = Version::V311;
    let (device, credentials) = broker.device(version, "S1");
    let login = |client_id| {
        let connect = Connect {
            client_id,
            ..Connect::new("S1", &credentials.key)
        };
        broker.admitted(version, &connect)
    };
    let mut peers = vec![device];
    for n in 0..6 {
        peers.push(login(["one", "two"][n % 2]));
    }
    let words = ["clone_suspected", "two may be using this identity"];
    explains(&broker, "S1", &words);
}

#[test]
fn a_device_that_was_renamed_is_told_so() {
    let version = Version::V5;
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let (mut device, _) = broker.device(version, "S1");
    broker.cli(&["device", "rename", "S1", "S2"]).ok();
    let words = "no device has this serial any more: an operator renamed or removed it";
    device.expect_farewell_because(0x98, words);
}
