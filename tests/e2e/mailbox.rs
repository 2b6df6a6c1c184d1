//! What is sent down to devices: it waits for them, and is theirs alone.

use serde_json::json;

use crate::support::wire::{DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish};
use crate::support::{Connect, Credentials, PASSWORD, Peer, TestBroker, Version, eventually};

/// One device, and somebody who sends to it.
struct Story {
    broker: TestBroker,
    version: Version,
    credentials: Credentials,
    operator: Peer,
}

impl Story {
    fn begin(version: Version) -> Self {
        let broker = TestBroker::start();
        broker.fleet(&["S1", "S2"]);
        let credentials = broker.activate(version, "S1");
        let operator = broker.admin(version);
        Self {
            broker,
            version,
            credentials,
            operator,
        }
    }

    fn feed(&self) -> u64 {
        self.credentials.feed
    }

    fn command(&self, name: &str) -> String {
        format!("feeds/{}/commands/{name}", self.feed())
    }

    fn config(&self) -> String {
        format!("feeds/{}/config", self.feed())
    }

    /// Connects to stay for an hour (3.x: a day) beyond the connection; says
    /// whether the session was there before.
    fn connect(&self, client_id: &str, clean: bool, properties: &[u8]) -> (Peer, bool) {
        let hour = [0x11, 0, 0, 0x0e, 0x10];
        let properties = [&hour, properties].concat();
        let connect = Connect {
            client_id,
            clean,
            properties: &properties,
            ..Connect::new("S1", &self.credentials.key)
        };
        let mut peer = Peer::connect(self.broker.address(), self.version, &connect);
        let connack = peer.packet();
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        (peer, connack.body[0] == 1)
    }

    /// The device, back under its name; its session has to be there.
    fn resume(&self) -> Peer {
        let (peer, present) = self.connect("c", false, &[]);
        assert_eq!(
            present,
            self.version != Version::V31,
            "3.1 has no word for it"
        );
        peer
    }

    /// A device that has subscribed to its commands and is away.
    fn away(&self) {
        let mut device = self.connect("c", false, &[]).0;
        device.subscribe(&[(&self.command("+"), 1)], &[1]);
        device.send(&DISCONNECT);
        device.expect_close();
    }

    /// Sends a command at QoS 1, and says what version 5 is told.
    fn send(&mut self, name: &str, properties: &[u8], payload: &[u8]) -> u8 {
        let topic = self.command(name);
        let publish = self
            .version
            .publish_with(0x32, &topic, 9, properties, payload);
        self.operator.send(&publish);
        let puback = self.operator.packet();
        assert_eq!((puback.first, &puback.body[..2]), (PUBACK, &[0, 9][..]));
        puback.body.get(2).copied().unwrap_or(0)
    }
}

fn payloads(messages: &[Publish]) -> Vec<String> {
    let text = |message: &Publish| String::from_utf8_lossy(&message.payload).into_owned();
    messages.iter().map(text).collect()
}

/// Where a version has no reason code, there is none to be told.
fn told(version: Version, code: u8) -> u8 {
    if version.is_5() { code } else { 0 }
}

#[test]
fn commands_arrive_at_the_lower_quality() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        for subscribed in 0..=2 {
            let (mut device, _) = story.connect("c", true, &[]);
            let granted = subscribed.min(1);
            device.subscribe(&[(&story.command("+"), subscribed)], &[granted]);
            for published in 0..=2 {
                let topic = story.command("reboot");
                story.operator.deliver(&topic, published, b"now");
                let message = device.message();
                assert_eq!(message.topic, topic);
                assert_eq!(message.payload, b"now");
                assert_eq!(message.qos(), granted.min(published));
                assert!(!message.retain() && message.first & 8 == 0);
            }
            device.send(&DISCONNECT);
            device.expect_close();
        }
    }
}

#[test]
fn what_is_sent_to_a_device_that_is_away_waits_in_order() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        assert_eq!(story.send("x", &[], b"nobody"), told(version, 0x10));
        story.away();
        for text in ["one", "two", "three"] {
            assert_eq!(story.send("x", &[], text.as_bytes()), 0);
        }
        let mut device = story.resume();
        let messages = device.messages(3);
        assert_eq!(payloads(&messages), ["one", "two", "three"]);
        let fresh = messages.iter().all(|message| message.first == 0x32);
        assert!(fresh, "none was sent before: {messages:?}");
        // And only once.
        device.expect_alive();
        device.vanish();
        story.resume().expect_alive();
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_as_a_duplicate_with_its_id() {
    for version in Version::ALL {
        for crash in [false, true] {
            let mut story = Story::begin(version);
            story.away();
            story.send("x", &[], b"one");
            story.send("x", &[], b"two");
            let mut device = story.resume();
            let first = device.message();
            let second = device.publish();
            // Answered after the acknowledgement before it was written.
            device.expect_alive();
            match crash {
                true => {
                    story.broker.kill_and_restart();
                    drop(device);
                }
                false => device.vanish(),
            }
            let mut device = story.resume();
            let again = device.message();
            assert_eq!(payloads(&[first, again.clone()]), ["one", "two"]);
            assert_eq!(again.id, second.id);
            assert_eq!(again.first, 0x3a, "DUP");
            device.expect_alive();
        }
    }
}

#[test]
fn a_session_is_under_its_clients_name_and_ends_with_a_clean_start() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        story.away();
        story.send("x", &[], b"for c");
        let (mut other, present) = story.connect("d", false, &[]);
        assert!(!present);
        other.expect_alive();
        let (_, present) = story.connect("c", false, &[]);
        assert!(!present, "the other's came in its place");

        story.away();
        story.send("x", &[], b"for the one before");
        let (mut clean, present) = story.connect("c", true, &[]);
        assert!(!present);
        clean.subscribe(&[(&story.command("+"), 1)], &[1]);
        clean.expect_alive();
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut story = Story::begin(Version::V5);
    let (mut device, _) = story.connect("c", true, &[]);
    device.subscribe(&[(&story.command("+"), 1)], &[1]);
    // Goodbye, with a session expiry of one second.
    device.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1]);
    device.expect_close();
    assert_eq!(story.send("x", &[], b"in time"), 0);
    eventually("the session is over", || {
        (story.send("x", &[], b"late") == 0x10).then_some(())
    });
    assert!(!story.connect("c", false, &[]).1);
}

#[test]
fn a_wish_for_more_than_may_be_is_told_and_a_late_one_refused() {
    let story = Story::begin(Version::V5);
    let connect = |expiry: u32| {
        let properties = [&[0x11][..], &expiry.to_be_bytes()].concat();
        let connect = Connect {
            properties: &properties,
            ..Connect::new("S1", &story.credentials.key)
        };
        let mut peer = Peer::connect(story.broker.address(), Version::V5, &connect);
        let connack = peer.packet();
        (peer, connack)
    };
    let week: u32 = 7 * 24 * 60 * 60;
    let told = |body: &[u8], expiry: u32| {
        let property = [&[0x11][..], &expiry.to_be_bytes()].concat();
        body.windows(5).any(|five| five == property)
    };
    assert!(told(&connect(u32::MAX).1.body, week));
    assert!(!told(&connect(60).1.body, 60), "as asked for");
    let (mut transient, _) = connect(0);
    transient.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1]);
    transient.expect_farewell(0x82);
}

#[test]
fn the_oldest_make_room_and_that_is_reported() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        story.away();
        for n in 0..105 {
            story.send("x", &[], n.to_string().as_bytes());
        }
        let mut device = story.resume();
        let messages = device.messages(100);
        let expected: Vec<String> = (5..105).map(|n| n.to_string()).collect();
        assert_eq!(payloads(&messages), expected);
        device.expect_alive();
        let events = story.broker.events();
        let dropped = events.iter().find(|event| event["event"] == "mail_dropped");
        let dropped = dropped.expect("an event");
        assert_eq!(dropped["count"], 1, "folded to one a minute");
        assert_eq!(dropped["serial"], "S1");
    }
}

#[test]
fn the_time_that_a_message_has_left_is_told() {
    let mut story = Story::begin(Version::V5);
    story.away();
    let minute = [0x02, 0, 0, 0, 60];
    let moment = [0x02, 0, 0, 0, 2];
    story.send("x", &moment, b"short-lived");
    story.send("x", &minute, b"lasting");
    let mut device = eventually("the first message expires", || {
        let mut device = story.resume();
        let message = device.publish();
        (message.payload == b"lasting").then(|| {
            let id = message.id.expect("quality 1");
            assert_eq!(message.properties[..4], [2, 0, 0, 0]);
            // Two seconds are over for the first, so one at least for this.
            assert!((1..60).contains(&message.properties[4]), "{message:?}");
            device.send(&Version::V5.acknowledgement(PUBACK, id, 0));
            device
        })
    });
    device.expect_alive();
}

#[test]
fn a_peer_is_sent_no_more_at_once_than_it_takes() {
    let mut story = Story::begin(Version::V5);
    story.away();
    for n in 0..5 {
        story.send("x", &[], n.to_string().as_bytes());
    }
    // Receive maximum 2.
    let (mut device, _) = story.connect("c", false, &[0x21, 0, 2]);
    let (first, second) = (device.publish(), device.publish());
    device.expect_alive();
    for id in [first.id, second.id].into_iter().flatten() {
        device.send(&Version::V5.acknowledgement(PUBACK, id, 0));
    }
    let rest = device.messages(3);
    assert_eq!(payloads(&rest), ["2", "3", "4"]);
    device.expect_alive();
}

#[test]
fn the_configuration_is_kept_and_told_on_subscribing() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        let topic = story.config();
        story.operator.deliver(&topic, 1, b"v1");
        story.broker.kill_and_restart();
        for quality in [0, 1, 2] {
            let (mut device, _) = story.connect("c", true, &[]);
            let granted = quality.min(1);
            device.subscribe(&[(&topic, quality)], &[granted]);
            let told = device.message();
            assert_eq!(
                (told.topic.as_str(), told.payload.as_slice()),
                (topic.as_str(), &b"v1"[..])
            );
            assert_eq!((told.retain(), told.qos()), (true, granted));
            device.expect_alive();
        }
        let (mut device, _) = story.connect("c", true, &[]);
        device.subscribe(&[(&topic, 1)], &[1]);
        assert_eq!(device.message().payload, b"v1");
        let set = [
            "feed",
            "config",
            &story.feed().to_string(),
            "--payload",
            "v2",
        ]
        .map(String::from);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        story.broker.cli(&set).ok();
        let next = device.message();
        assert_eq!(
            (next.payload.as_slice(), next.retain()),
            (&b"v2"[..], false)
        );
        let clear = ["feed", "config", &story.feed().to_string(), "--clear"].map(String::from);
        let clear: Vec<&str> = clear.iter().map(String::as_str).collect();
        story.broker.cli(&clear).ok();
        let (mut device, _) = story.connect("c", true, &[]);
        device.subscribe(&[(&topic, 1)], &[1]);
        device.expect_alive();
    }
}

#[test]
fn whoever_is_out_has_no_mail() {
    for (act, serves_again) in [("revoke", false), ("reset", true)] {
        let mut story = Story::begin(Version::V5);
        story.away();
        story.send("x", &[], b"secret");
        story.broker.cli(&["device", act, "S1"]).ok();
        let told = story.send("x", &[], b"another");
        match serves_again {
            false => assert_eq!(told, 0x87),
            true => {
                assert_eq!(told, 0x10);
                story.credentials = story.broker.activate(Version::V5, "S1");
                assert!(!story.connect("c", false, &[]).1, "a new life");
            }
        }
    }
}

#[test]
fn quality_2_from_a_device_is_carried_on_once_across_connections() {
    for version in Version::ALL {
        let mut story = Story::begin(version);
        story.operator.subscribe(&[("feeds/#", 1)], &[1]);
        let topic = format!("feeds/{}/status", story.feed());
        let mut device = story.connect("c", false, &[]).0;
        device.send(&version.publish(&topic, 2, 5, b"once"));
        device.expect(&version.acknowledgement(PUBREC, 5, 0));
        device.vanish();
        assert_eq!(story.operator.message().payload, b"once");
        eventually("the session is let go of", || {
            let mut device = story.resume();
            device.send(&version.publish_with(0x3c, &topic, 5, &[], b"once"));
            let answer = device.packet();
            assert_eq!((answer.first, &answer.body[..2]), (PUBREC, &[0, 5][..]));
            device.send(&version.acknowledgement(PUBREL, 5, 0));
            device.expect(&version.acknowledgement(PUBCOMP, 5, 0));
            Some(())
        });
        let mut device = story.resume();
        device.deliver(&topic, 1, b"last");
        let next = story.operator.message();
        assert_eq!(String::from_utf8_lossy(&next.payload), "last");
    }
}

#[test]
fn a_device_subscribes_to_what_leads_down_to_it_and_no_more() {
    for version in Version::ALL {
        let story = Story::begin(version);
        let feed = story.feed();
        let (mut device, _) = story.connect("c", true, &[]);
        let no = if version.is_5() { 0x87 } else { 0x80 };
        for (filter, granted) in [
            (format!("feeds/{feed}/#"), 1),
            (format!("feeds/{feed}/commands/#"), 1),
            (format!("feeds/{feed}/config"), 1),
            (format!("feeds/{feed}/data/#"), no),
            (format!("feeds/{}/commands/+", feed + 1), no),
            ("feeds/+/commands/+".to_owned(), no),
            ("#".to_owned(), no),
        ] {
            device.subscribe(&[(&filter, 1)], &[granted]);
        }
        // Three are there already.
        for n in 3..16 {
            let filter = format!("feeds/{feed}/commands/{n}");
            device.subscribe(&[(&filter, 1)], &[1]);
        }
        let filter = format!("feeds/{feed}/commands/more");
        let too_many = if version.is_5() { 0x97 } else { 0x80 };
        device.subscribe(&[(&filter, 1)], &[too_many]);
        let known = format!("feeds/{feed}/commands/3");
        device.subscribe(&[(&known, 0)], &[0]);
        device.send(&version.unsubscribe(4, &[&known, &filter]));
        device.expect(&version.unsuback(4, &[0, 0x11]));
    }
}

#[test]
fn what_several_filters_match_comes_once_with_all_identifiers() {
    let mut story = Story::begin(Version::V5);
    let (mut device, _) = story.connect("c", true, &[]);
    for (filter, identifier) in [(story.command("+"), 1), (story.command("x"), 2)] {
        let subscribe = Version::V5.subscribe_with(7, &[0x0b, identifier], &[(&filter, 1)]);
        device.send(&subscribe);
        device.expect(&Version::V5.suback(7, &[1]));
    }
    story.send("x", &[], b"once");
    let message = device.message();
    assert_eq!(message.properties, [0x0b, 1, 0x0b, 2]);
    device.expect_alive();
}

#[test]
fn the_command_line_sends_through_the_same_door() {
    let story = Story::begin(Version::V311);
    let feed = story.feed().to_string();
    let send = |extra: &[&str]| {
        let base = ["feed", "send", &feed, "reboot"];
        story
            .broker
            .cli_with(&[&base, extra].concat(), "from standard input")
    };
    let nobody = send(&[]).refused();
    assert!(nobody.contains("no session that subscribed"), "{nobody}");
    story.away();
    assert!(send(&["--payload", "now"]).ok().contains("kept until"));
    send(&["--stdin"]).ok();
    send(&["--payload", "", "--for", "1h"]).ok();
    let fleeting = send(&["--qos", "0", "--payload", "x"]).refused();
    assert!(fleeting.contains("no session"), "{fleeting}");
    let mut device = story.resume();
    let messages = device.messages(3);
    assert_eq!(payloads(&messages), ["now", "from standard input", ""]);
    assert_eq!(messages[0].topic, story.command("reboot"));

    let refused = |arguments: &[&str]| story.broker.cli(arguments).refused();
    let unknown = story.broker.cli(&["feed", "send", "99", "x"]).failed(4);
    assert!(unknown.contains("no device has the feed 99"), "{unknown}");
    assert!(refused(&["feed", "send", &feed, "a/b"]).contains("one level"));
    assert!(refused(&["feed", "send", &feed, ""]).contains("one level"));
    assert!(refused(&["feed", "config", &feed]).contains("--clear"));
}

#[test]
fn a_command_without_a_server_waits_just_the_same() {
    let mut story = Story::begin(Version::V5);
    story.away();
    story.broker.terminate();
    assert!(story.broker.wait().success());
    let feed = story.feed().to_string();
    let send = ["feed", "send", &feed, "x", "--payload", "while it was down"];
    story.broker.cli(&send).ok();
    story.broker.restart();
    let mut device = story.resume();
    assert_eq!(device.message().payload, b"while it was down");
}

#[test]
fn a_viewer_sends_nothing_down() {
    let story = Story::begin(Version::V5);
    story.broker.add_operator("eyes", "viewer", &[]);
    story.away();
    let connect = Connect::new("eyes", PASSWORD);
    let mut viewer = story.broker.admitted(Version::V5, &connect);
    viewer.send(&Version::V5.publish(&story.command("x"), 1, 3, b"no"));
    viewer.expect(&Version::V5.acknowledgement(PUBACK, 3, 0x87));
    let events = story.broker.events();
    assert!(
        events
            .iter()
            .all(|event| event["event"] != json!("mail_dropped"))
    );
    story.resume().expect_alive();
}

#[test]
fn a_device_that_asked_for_nothing_is_sent_nothing() {
    let mut story = Story::begin(Version::V5);
    let (mut device, _) = story.connect("c", true, &[]);
    assert_eq!(story.send("x", &[], b"nobody reads"), 0x10);
    let feed = story.feed().to_string();
    let sent = story
        .broker
        .cli(&["feed", "send", &feed, "x", "--qos", "0"]);
    assert!(sent.refused().contains("no session that subscribed"));
    device.expect_alive();
    device.subscribe(&[(&story.command("+"), 0)], &[0]);
    assert_eq!(story.send("x", &[], b"read once"), 0);
    assert_eq!(device.message().qos(), 0);
}

#[test]
fn subscribing_again_and_again_fills_no_mailbox() {
    let mut story = Story::begin(Version::V5);
    let topic = story.config();
    story.operator.deliver(&topic, 1, b"v1");
    let mut device = story.connect("c", false, &[]).0;
    let subscribe = Version::V5.subscribe(7, &[(&topic, 1)]);
    device.send(&subscribe.repeat(50));
    let mut answered = 0;
    while answered < 50 {
        answered += usize::from(device.packet().first == 0x90);
    }
    device.vanish();
    // What was sent of them is not there once more for each.
    let mut device = story.resume();
    assert_eq!(device.message().payload, b"v1");
    device.expect_alive();
}
