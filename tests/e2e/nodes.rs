//! Two servers on one database: a device may come to either, and is one device.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::nodes::{Database, Nodes};
use crate::support::{Connect, HUNG, Peer, TestBroker, Version, code, eventually, firstwake};

/// What one server does bites at the other in less.
const SOON: Duration = Duration::from_secs(1);

/// Who asks for credentials and gets an answer: the rest is refused.
fn try_to_activate(broker: &TestBroker, serial: &str) -> bool {
    let mut peer = Peer::connect(
        broker.address(),
        Version::V311,
        &Connect::new(serial, &code(serial)),
    );
    let admitted = peer.packet().body[1] == 0;
    if !admitted {
        return false;
    }
    let topic = format!("provision/{serial}/response");
    peer.send(&Version::V311.subscribe(7, &[(&topic, 0)]));
    while let Some(packet) = peer.next() {
        if packet.first & 0xf0 == 0x30 {
            return String::from_utf8_lossy(&packet.body).contains("apikey");
        }
    }
    false
}

#[test]
fn a_code_that_works_once_works_at_one_server() {
    let Some(nodes) = Nodes::start() else { return };
    let serials: Vec<String> = (0..24).map(|n| format!("S{n}")).collect();
    let names: Vec<&str> = serials.iter().map(String::as_str).collect();
    let product = nodes.one.fleet(&names);
    let never = ["product", "set", &product, "--reactivation", "never"];
    // At both, so that neither has still to hear of it.
    for broker in [&nodes.one, &nodes.two] {
        broker.cli(&never).ok();
    }
    for serial in names {
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| try_to_activate(&nodes.one, serial));
            let two = scope.spawn(|| try_to_activate(&nodes.two, serial));
            (one.join().expect("told"), two.join().expect("told"))
        });
        assert!(one != two, "{serial}: {one} and {two}");
    }
    let issued = |broker: &TestBroker| {
        let events = broker.events();
        let numbers: Vec<u64> = events.iter().filter_map(|it| it["seq"].as_u64()).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "events have gaps");
        let issued = events
            .iter()
            .filter(|it| it["event"] == "activation_issued");
        (issued.count(), events.len())
    };
    assert_eq!(issued(&nodes.one).0, 24);
    assert_eq!(issued(&nodes.one), issued(&nodes.two));
}

#[test]
fn an_act_at_one_server_bites_at_the_other() {
    let Some(nodes) = Nodes::start() else { return };
    let product = nodes.one.fleet(&["S1", "S2", "S3", "S4"]);
    let soon = |mut session: Peer, act: &[&str], reason: u8| {
        let begun = Instant::now();
        nodes.one.cli(act).ok();
        session.expect_farewell(reason);
        assert!(begun.elapsed() < SOON, "{act:?} took {:?}", begun.elapsed());
    };
    let session = |serial| nodes.two.device(Version::V311, serial).0;
    soon(session("S1"), &["device", "revoke", "S1"], 0x98);
    soon(session("S2"), &["device", "suspend", "S2"], 0x98);
    soon(session("S3"), &["product", "block", &product], 0x98);
    nodes.two.cli(&["product", "unblock", &product]).ok();
    let here = session("S4");
    soon(here, &["ban", "add", "127.0.0.1", "--force"], 0x8a);
    // An address that is banned is not even answered.
    let mut peer = Peer::connect(
        nodes.two.address(),
        Version::V311,
        &Connect::new("S4", &code("S4")),
    );
    peer.expect_close();
    nodes.two.cli(&["ban", "remove", "127.0.0.1"]).ok();
    nodes
        .one
        .cli(&["product", "remove", &product, "--yes"])
        .ok();
    let told = || {
        nodes
            .two
            .told(Version::V311, &Connect::new("S4", &code("S4")))
    };
    assert_eq!(told(), Some(Version::V311.connack(4)));
}

#[test]
fn a_device_has_one_session_among_all_servers() {
    let Some(nodes) = Nodes::start() else { return };
    nodes.one.fleet(&["S1"]);
    for version in Version::ALL {
        nodes.one.cli(&["device", "reset", "S1"]).ok();
        let (mut session, credentials) = nodes.one.device(version, "S1");
        for next in [&nodes.two, &nodes.one, &nodes.two] {
            let begun = Instant::now();
            let newer = next.login(version, "S1", &credentials.key);
            session.expect_farewell(0x8e);
            assert!(begun.elapsed() < SOON, "{version:?} {:?}", begun.elapsed());
            session = newer;
        }
        session.expect_alive();
    }
}

#[test]
fn two_that_take_turns_at_two_servers_are_seen() {
    let Some(nodes) = Nodes::start() else { return };
    nodes.one.fleet(&["S1"]);
    let credentials = nodes.one.activate(Version::V5, "S1");
    let connect = Connect::new("S1", &credentials.key);
    let turns = [([127, 0, 0, 2], &nodes.one), ([127, 0, 0, 3], &nodes.two)];
    let mut sessions: Vec<Peer> = Vec::new();
    for (source, broker) in turns.into_iter().cycle().take(6) {
        let mut peer = Peer::open_from(source, broker.address(), Version::V5);
        peer.admit(&connect);
        if let Some(mut earlier) = sessions.pop() {
            earlier.expect_farewell(0x8e);
        }
        sessions.push(peer);
    }
    let seen = eventually("a suspicion", || {
        let all = nodes.one.suspicions();
        all.into_iter().next()
    });
    assert_eq!(seen["signal"], "two_addresses");
}

#[test]
fn what_is_sent_at_one_server_reaches_a_device_at_the_other() {
    let Some(nodes) = Nodes::start() else { return };
    nodes.one.fleet(&["S1"]);
    let (mut device, credentials) = nodes.one.device(Version::V311, "S1");
    let feed = credentials.feed;
    let commands = format!("feeds/{feed}/commands/+");
    for qos in [1, 0] {
        device.subscribe(&[(&commands, qos)], &[qos]);
        let mut operator = nodes.two.admin(Version::V5);
        operator.deliver(&format!("feeds/{feed}/commands/blink"), 1, b"twice");
        let message = device.message();
        assert_eq!((message.qos(), &*message.payload), (qos, &b"twice"[..]));
    }
}

#[test]
fn a_session_goes_on_at_another_server_when_its_own_is_killed() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1"]);
    let credentials = nodes.one.activate(Version::V311, "S1");
    let connect = Connect {
        client_id: "c",
        clean: false,
        ..Connect::new("S1", &credentials.key)
    };
    let commands = format!("feeds/{}/commands/blink", credentials.feed);
    let mut device = nodes.one.admitted(Version::V311, &connect);
    device.subscribe(&[(&commands, 1)], &[1]);
    nodes.one.kill();
    let mut operator = nodes.two.admin(Version::V311);
    operator.deliver(&commands, 1, b"while away");
    let mut device = Peer::connect(nodes.two.address(), Version::V311, &connect);
    assert_eq!(device.packet().body[..], [1, 0], "its session is there");
    let waited = device.message();
    assert_eq!(&*waited.payload, b"while away");
    assert_eq!(waited.qos(), 1);
}

#[test]
fn a_database_that_goes_away_lets_nobody_in_and_comes_back() {
    let Some(nodes) = Nodes::start() else { return };
    nodes.one.fleet(&["S1", "S2"]);
    let (mut session, _) = nodes.one.device(Version::V311, "S1");
    nodes.database.close();
    for (version, code_told) in [(Version::V311, 3), (Version::V5, 0x88)] {
        let code = code("S2");
        let connect = Connect::new("S2", &code);
        for broker in [&nodes.one, &nodes.two] {
            let mut peer = Peer::connect(broker.address(), version, &connect);
            assert_eq!(peer.packet().body[1], code_told, "{version:?}");
        }
    }
    session.expect_alive();
    nodes.database.reopen();
    let begun = Instant::now();
    let activated = |broker: &TestBroker| {
        eventually("the database is used again", || {
            try_to_activate(broker, "S2").then_some(())
        });
    };
    activated(&nodes.two);
    activated(&nodes.one);
    assert!(begun.elapsed() < HUNG);
    // The log is followed again, too.
    nodes.two.cli(&["device", "revoke", "S1"]).ok();
    session.expect_farewell_because(0x98, "an operator revoked this device");
}

#[test]
fn a_lost_line_between_the_servers_is_made_again() {
    let Some(nodes) = Nodes::start() else { return };
    nodes.one.fleet(&["S1"]);
    let (mut session, credentials) = nodes.one.device(Version::V311, "S1");
    nodes.database.end_connections();
    // At once: what was told while nobody could listen is found out.
    let newer = eventually("a login", || {
        let connect = Connect::new("S1", &credentials.key);
        let mut peer = Peer::connect(nodes.two.address(), Version::V311, &connect);
        (peer.packet().body[1] == 0).then_some(peer)
    });
    session.expect_close();
    drop(newer);
}

#[test]
fn a_command_finds_the_registry_without_a_server() {
    let Some(database) = Database::empty() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["--mqtt", "127.0.0.1:0", "--postgres", &database.url()];
    let mut broker = TestBroker::launch(directory, "data", &["mqtt"], &arguments);
    broker.fleet(&["S1"]);
    broker.terminate();
    assert!(broker.wait().success());
    assert_eq!(broker.lifecycle("S1"), "registered");
    assert!(!broker.data_dir().join("registry").exists());
}

#[test]
fn a_server_with_another_key_is_refused() {
    let Some(nodes) = Nodes::start() else { return };
    let url = nodes.database.url();
    let serve = |key: Option<&str>| {
        let directory = tempfile::tempdir().expect("a directory");
        let closed = Permissions::from_mode(0o700);
        fs::set_permissions(directory.path(), closed).expect("its owner's");
        if let Some(key) = key {
            fs::write(directory.path().join("sealing.key"), key).expect("written");
        }
        let arguments = ["serve", "--mqtt", "127.0.0.1:0", "--postgres", &url];
        firstwake(directory.path(), &arguments, "").refused()
    };
    let told = serve(None);
    assert!(told.contains("sealing.key is missing"), "{told}");
    let told = serve(Some(&"5a".repeat(32)));
    assert!(told.contains("is not this registry's"), "{told}");
}

#[test]
fn a_registry_that_is_gone_is_not_begun_anew() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1"]);
    nodes.one.terminate();
    assert!(nodes.one.wait().success());
    nodes.two.terminate();
    assert!(nodes.two.wait().success());
    nodes.database.ask("DROP SCHEMA firstwake CASCADE");
    for asked in [&["device", "list"][..], &["registry", "check"]] {
        let told = nodes.one.cli(asked).failed(3);
        assert!(told.contains("no registry any more"), "{told}");
    }
    let left = nodes
        .database
        .ask("SELECT to_regnamespace('firstwake') IS NULL");
    assert_eq!(left, "t", "nothing was made");
}

/// As a failover to a copy that was behind leaves it.
#[test]
fn a_database_that_has_gone_back_ends_its_servers() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1", "S2"]);
    let mut sessions = [
        nodes.one.device(Version::V311, "S1").0,
        nodes.two.device(Version::V311, "S2").0,
    ];
    let counters = "key = convert_to('counters', 'UTF8')";
    let copy = format!("CREATE TABLE copy AS SELECT row FROM firstwake.meta WHERE {counters}");
    nodes.database.ask(&copy);
    // Whose session ends has been told.
    for (session, serial) in sessions.iter_mut().zip(["S1", "S2"]) {
        nodes.one.cli(&["device", "suspend", serial]).ok();
        session.expect_farewell(0x98);
    }
    let back = format!("UPDATE firstwake.meta SET row = copy.row FROM copy WHERE {counters}");
    nodes.database.ask(&back);
    for server in [&mut nodes.one, &mut nodes.two] {
        assert!(!server.wait().success());
        assert!(server.log().contains("gone back"), "{}", server.log());
    }
}

#[test]
fn a_server_that_missed_a_reseal_writes_nothing() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1"]);
    nodes.one.terminate();
    assert!(nodes.one.wait().success());
    // Cut off for longer than its connections last.
    nodes.two.signal("STOP");
    nodes.database.end_connections();
    nodes.one.cli(&["registry", "reseal"]).ok();
    nodes.two.signal("CONT");
    let refused = nodes.two.cli(&["product", "create", "pump"]).failed(3);
    assert!(refused.contains("sealed with another key"), "{refused}");
    nodes.two.terminate();
    assert!(nodes.two.wait().success());
    nodes.one.cli(&["registry", "check"]).ok();
    assert_eq!(nodes.one.lifecycle("S1"), "registered");
}

#[test]
fn what_wants_the_registry_alone_waits_until_it_is() {
    let Some(mut nodes) = Nodes::start() else {
        return;
    };
    nodes.one.fleet(&["S1"]);
    let backup = nodes.one.cli(&["registry", "backup", "copy"]).refused();
    assert!(backup.contains("pg_dump"), "{backup}");
    nodes.one.terminate();
    assert!(nodes.one.wait().success());
    let stop = |act: &str| {
        let told = nodes.one.cli(&["registry", act]).failed(3);
        assert!(told.contains("stop them first"), "{told}");
    };
    stop("check");
    stop("reseal");
    nodes.two.terminate();
    assert!(nodes.two.wait().success());
    nodes.one.cli(&["registry", "check"]).ok();
    nodes.one.cli(&["registry", "reseal"]).ok();
    assert_eq!(nodes.one.lifecycle("S1"), "registered");
    // The other server has the key before.
    let told = nodes.two.cli(&["device", "list"]).failed(3);
    assert!(told.contains("sealing.key"), "{told}");
}
