//! Sources that an operator keeps out.

use std::time::Duration;

use crate::support::http::{JSON, basic};
use crate::support::{Connect, Peer, TestBroker, Version, code, eventually};

const THERE: [u8; 4] = [127, 7, 0, 9];

/// What a device that connects from there is told.
fn told(broker: &TestBroker, version: Version) -> Option<Vec<u8>> {
    let mut peer = Peer::open_from(THERE, broker.address(), version);
    let password = code("S1");
    peer.send(&Connect::new("S1", &password).bytes(version));
    let told = peer.next().map(|packet| packet.bytes());
    if !is_in(&told) {
        peer.expect_close();
    }
    told
}

fn banned(version: Version) -> Option<Vec<u8>> {
    version.is_5().then(|| version.connack(0x8a))
}

fn is_in(told: &Option<Vec<u8>>) -> bool {
    told.as_ref().is_some_and(|bytes| bytes[3] == 0)
}

#[test]
fn a_banned_source_is_out_until_the_ban_is_removed() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1"]);
    for (ban, remove) in [("127.7.0.9", "127.7.0.9"), ("127.7.0.0/16", "127.7.0.0/16")] {
        let add = ["ban", "add", ban, "--reason", "noise", "--force"];
        let said = broker.cli(&add).ok();
        assert_eq!(
            said,
            format!("{ban} is banned until it is removed: noise\n")
        );
        for version in Version::ALL {
            assert_eq!(told(&broker, version), banned(version), "{version:?}");
            broker.activating(version, "S1").expect_alive();
        }
        broker.kill_and_restart();
        for version in Version::ALL {
            assert_eq!(told(&broker, version), banned(version), "after a restart");
        }
        let listed = broker.json_lines(&["ban", "list"]);
        assert_eq!(listed[0]["network"], ban);
        assert_eq!(listed[0]["reason"], "noise");
        broker.cli(&["ban", "remove", remove]).ok();
        for version in Version::ALL {
            assert!(is_in(&told(&broker, version)));
        }
        assert_eq!(broker.cli(&["ban", "list"]).ok(), "");
        broker.cli(&["ban", "remove", remove]).failed(4);
    }
    let events = broker.events();
    let about: Vec<_> = events
        .iter()
        .filter(|event| event["source"] == "127.7.0.0/16")
        .map(|event| event["event"].as_str().expect("a name"))
        .collect();
    assert_eq!(about, ["source_banned", "source_unbanned"]);
}

#[test]
fn operators_see_how_often_a_banned_source_comes_back() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    broker.cli(&["ban", "add", "127.7.0.9", "--force"]).ok();
    let mut watcher = broker.admin(Version::V5);
    watcher.subscribe(&[("provisioning/refusals", 0)], &[0]);
    told(&broker, Version::V5);
    let tally = watcher.message().json();
    assert_eq!(tally["refusals"][0]["source"], "127.7.0.9");
    assert_eq!(tally["refusals"][0]["refusal"], "banned");
}

#[test]
fn a_ban_ends_by_itself() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let add = ["ban", "add", "127.7.0.9", "--force", "--for", "1s"];
    broker.cli(&add).ok();
    assert_eq!(told(&broker, Version::V5), banned(Version::V5));
    eventually("the ban has ended", || {
        is_in(&told(&broker, Version::V5)).then_some(())
    });
    assert_eq!(broker.cli(&["ban", "list"]).ok(), "");
}

#[test]
fn a_ban_ends_live_sessions_from_there_at_once() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "S2"]);
        broker.add_operator("boss", "admin", &[]);
        let (mut bystander, _) = broker.device(version, "S2");
        let password = code("S1");
        let boss = Connect::new("boss", crate::support::PASSWORD);
        let mut peers = [Connect::new("S1", &password), boss].map(|connect| {
            let mut peer = Peer::open_from(THERE, broker.address(), version);
            peer.send(&connect.bytes(version));
            assert_eq!(peer.packet().body[..2], [0, 0]);
            peer
        });
        broker.cli(&["ban", "add", "127.7.0.0/24", "--force"]).ok();
        for peer in &mut peers {
            let words = "an operator banned the address it comes from";
            peer.expect_farewell_because(0x98, words);
        }
        bystander.expect_alive();
        assert!(!bystander.says_something_within(Duration::from_millis(20)));
    }
}

#[test]
fn what_may_lock_out_whoever_bans_has_to_be_forced() {
    let broker = TestBroker::start();
    for network in ["127.0.0.1", "0.0.0.0/0", "::1", "::/0"] {
        let refused = broker.cli(&["ban", "add", network]).refused();
        assert!(refused.contains("--force"), "{refused}");
    }
    for wrong in ["nowhere", "10.0.0.1/8", "10.0.0.0/40"] {
        assert_eq!(broker.cli(&["ban", "add", wrong]).status, 2, "{wrong}");
    }
    broker
        .cli(&["ban", "add", "10.0.0.0/8", "--for", "0s"])
        .refused();
    broker
        .cli(&["ban", "add", "10.0.0.0/8", "--reason", "a\nb"])
        .refused();
    broker.cli(&["ban", "add", "10.0.0.0/8"]).ok();
}

#[test]
fn a_wide_ban_takes_the_role_admin() {
    let broker = TestBroker::with_http();
    broker.add_operator("hands", "operator", &[]);
    broker.add_operator("boss", "admin", &[]);
    let mut peer = broker.http();
    let mut ban = |who: &str, network: &str| {
        let body = format!(r#"{{"network":"{network}","force":true}}"#);
        peer.ask("POST /api/v1/bans", &[&basic(who), JSON], body.as_bytes())
    };
    for wide in [
        "0.0.0.0/0",
        "10.0.0.0/15",
        "::/0",
        "2001:db8::/47",
        "127.0.0.1",
    ] {
        ban("hands", wide).problem(403, "forbidden");
    }
    for narrow in ["192.0.2.7", "10.1.0.0/16", "2001:db8::/48"] {
        ban("hands", narrow).of(201);
    }
    ban("boss", "10.0.0.0/15").of(201);
}
