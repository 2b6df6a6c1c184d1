//! Shared subscriptions: one of a group gets each message.

use crate::support::wire::PUBACK;
use crate::support::{Connect, PASSWORD, Peer, TestBroker, Version, eventually};

const SHARE: &str = "$share/g/app/#";

fn start() -> TestBroker {
    let broker = TestBroker::start();
    let filters = ["--publish", "app/#", "--subscribe", "app/#"];
    broker.add_operator("service", "viewer", &filters);
    broker
}

/// A client of the one service; its session lasts.
fn client(broker: &TestBroker, version: Version, id: &str) -> Peer {
    let connect = Connect {
        client_id: id,
        clean: false,
        properties: if version.is_5() {
            &[0x11, 0, 0, 0, 100]
        } else {
            &[]
        },
        ..Connect::new("service", PASSWORD)
    };
    let mut peer = Peer::connect(broker.address(), version, &connect);
    assert_eq!(peer.packet().body[1], 0);
    peer
}

#[test]
fn members_take_turns_and_others_get_everything() {
    for version in Version::ALL {
        let broker = start();
        let mut writer = client(&broker, version, "writer");
        let (mut one, mut two) = (
            client(&broker, version, "one"),
            client(&broker, version, "two"),
        );
        writer.send(&version.publish_with(0x33, "app/x", 4, &[], b"kept"));
        writer.expect(&version.acknowledgement(PUBACK, 4, 0));
        // Nothing that is retained comes by these.
        one.subscribe(&[(SHARE, 1)], &[1]);
        two.subscribe(&[(SHARE, 2)], &[2]);
        two.subscribe(&[("app/own", 0)], &[0]);
        for payload in [b"1", b"2", b"3", b"4"] {
            writer.deliver("app/x", 2, payload);
        }
        let seen = |peer: &mut Peer| {
            let messages = peer.messages(2);
            messages
                .iter()
                .map(|m| (m.payload.clone(), m.qos()))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(&mut one), [(b"1".to_vec(), 1), (b"3".to_vec(), 1)]);
        assert_eq!(seen(&mut two), [(b"2".to_vec(), 2), (b"4".to_vec(), 2)]);
        // By both ways, where both match.
        one.send(&version.unsubscribe(8, &[SHARE]));
        one.expect(&version.unsuback(8, &[0]));
        writer.deliver("app/own", 1, b"both");
        assert_eq!(two.messages(2).len(), 2);
        one.expect_alive();
        two.expect_alive();
    }
}

#[test]
fn what_one_leaves_another_gets() {
    for version in Version::ALL {
        let broker = start();
        let mut writer = client(&broker, version, "writer");
        let (mut one, mut two) = (
            client(&broker, version, "one"),
            client(&broker, version, "two"),
        );
        one.subscribe(&[(SHARE, 1)], &[1]);
        two.subscribe(&[(SHARE, 1)], &[1]);
        two.vanish();
        // Nothing tells when the server has seen that: whatever it gave to the
        // one that is gone is there again when it comes back.
        let mut payloads: Vec<u8> = (0..40).collect();
        for payload in &payloads {
            writer.deliver("app/x", 1, &[*payload]);
        }
        let mut two = client(&broker, version, "two");
        writer.deliver("app/end", 1, b"e");
        writer.deliver("app/end", 1, b"e");
        for peer in [&mut one, &mut two] {
            loop {
                let message = peer.message();
                if message.topic == "app/end" {
                    break;
                }
                let at = payloads.iter().position(|p| [*p] == *message.payload);
                payloads.remove(at.expect("nothing comes twice"));
            }
        }
        assert!(payloads.is_empty(), "nothing is missing: {payloads:?}");
    }
}

#[test]
fn with_everybody_away_messages_wait() {
    for version in Version::ALL {
        let broker = start();
        let mut writer = client(&broker, version, "writer");
        let mut one = client(&broker, version, "one");
        one.subscribe(&[(SHARE, 1)], &[1]);
        one.vanish();
        for payload in [b"1", b"2"] {
            writer.deliver("app/x", 1, payload);
        }
        let mut one = client(&broker, version, "one");
        let payloads: Vec<_> = one.messages(2).into_iter().map(|m| m.payload).collect();
        assert_eq!(payloads, [b"1", b"2"]);
        one.expect_alive();
    }
}

#[test]
fn what_a_session_had_not_received_when_it_ended_goes_to_another() {
    for version in Version::ALL {
        let broker = start();
        let mut writer = client(&broker, version, "writer");
        let connect = Connect {
            client_id: "one",
            ..Connect::new("service", PASSWORD)
        };
        let mut one = broker.admitted(version, &connect);
        let mut two = client(&broker, version, "two");
        one.subscribe(&[(SHARE, 1)], &[1]);
        writer.deliver("app/x", 1, b"1");
        assert_eq!(one.publish().payload, b"1");
        // Not acknowledged: the session ends with its connection.
        two.subscribe(&[(SHARE, 1)], &[1]);
        one.vanish();
        assert_eq!(two.message().payload, b"1");
    }
}

#[test]
fn what_can_be_shared() {
    for version in Version::ALL {
        let broker = start();
        let mut one = client(&broker, version, "one");
        let no = |code| if version.is_5() { code } else { 0x80 };
        // The rights are those to the filter behind it; the log is not shared.
        one.subscribe(
            &[
                ("$share/g/other/#", 1),
                ("$share/g/provision/S1/response", 1),
                ("$share/g/provisioning/events/#", 1),
                ("$share/g/provisioning/fleet", 1),
            ],
            &[no(0x87), no(0x87), no(0x8f), 1],
        );
        eventually("the fleet is counted", || {
            broker.fleet(&["S1"]);
            one.says_something_within(std::time::Duration::from_secs(2))
                .then(|| one.message())
        });
        one.send(&version.subscribe(5, &[("$share/g", 0)]));
        one.expect_farewell(0x81);
    }
}

#[test]
fn there_are_so_many_groups_and_no_more() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let mut boss = broker.admin(version);
        let filters: Vec<String> = (0..258).map(|n| format!("$share/g/app/{n}")).collect();
        let asked: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 1)).collect();
        let too_many = if version.is_5() { 0x97 } else { 0x80 };
        let granted = [vec![1; 256], vec![too_many; 2]].concat();
        boss.subscribe(&asked, &granted);
        boss.send(&version.unsubscribe(3, &[&filters[0]]));
        boss.expect(&version.unsuback(3, &[0]));
        boss.subscribe(&[(&filters[257], 1)], &[1]);
    }
}
