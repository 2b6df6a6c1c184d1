//! Bytes in, bytes and inputs out, for both families of versions.

use firstwake::topic::{Limits as TopicLimits, TopicFilter, TopicName};

use super::*;
use crate::limits::Limits;
use crate::mqtt::opening::{Progress, Reader};
use crate::mqtt::packet::{
    Attempt, Delivery, Goodbye, Granted, NotOffered, Properties, Publish, Qos, Receipt, Subscribe,
    Unsubscribed, Verdict, WillFate,
};

const BOTH: [Version; 2] = [Version::V311, Version::V5];

const WELCOME: Welcome<'static> = Welcome {
    session: Session::New,
    session_expiry: 0,
    session_expiry_asked: 0,
    keep_alive: None,
    client_id: None,
};

/// A peer's end of a machine.
struct Bench {
    machine: Machine,
    version: Version,
}

impl Bench {
    fn new(version: Version) -> Self {
        Self::with(version, &[], &Terms::operator(&Limits::default()))
    }

    /// With these properties in version 5's CONNECT.
    fn with(version: Version, properties: &[u8], terms: &Terms) -> Self {
        let opening = opening(version, properties);
        let mut machine = Machine::new(&opening, terms);
        machine.accept(terms, &WELCOME);
        let mut bench = Self { machine, version };
        assert_eq!(bench.said()[0], 0x20);
        bench
    }

    fn v5(&self) -> bool {
        self.version == Version::V5
    }

    /// Takes what the machine wants to send.
    fn said(&mut self) -> Vec<u8> {
        let said = self.machine.output().to_vec();
        self.machine.sent(said.len());
        said
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<Input> {
        let mut inputs = Vec::new();
        self.machine.feed(bytes, &mut inputs);
        inputs
    }

    /// Hears one message.
    fn hear_publish(&mut self, bytes: &[u8]) -> Publish {
        match self.hear(bytes).pop() {
            Some(Input::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }

    fn hear_subscribe(&mut self, bytes: &[u8]) -> Subscribe {
        match self.hear(bytes).pop() {
            Some(Input::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?}"),
        }
    }

    /// Hears what ends the connection; version 5 is told why.
    fn ends(&mut self, bytes: &[u8], code: u8) {
        let inputs = self.hear(bytes);
        assert!(inputs.is_empty(), "{bytes:02x?}: {inputs:?}");
        assert!(self.machine.ended().is_some(), "{bytes:02x?}");
        let told = if self.v5() {
            vec![0xe0, 1, code]
        } else {
            Vec::new()
        };
        assert_eq!(self.said(), told, "{bytes:02x?}");
        assert!(self.hear(&[0xc0, 0]).is_empty() && self.said().is_empty());
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP as the machine writes it.
    fn acknowledgement(&self, first: u8, id: u8, reason: u8) -> Vec<u8> {
        match self.version {
            Version::V5 if first != 0x62 => vec![first, 3, 0, id, reason],
            _ => vec![first, 2, 0, id],
        }
    }

    fn publish(
        &self,
        first: u8,
        topic: &str,
        id: u8,
        properties: &[u8],
        payload: &[u8],
    ) -> Vec<u8> {
        let mut body = text(topic);
        if first & 0b110 != 0 {
            body.extend([0, id]);
        }
        if self.v5() {
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        body.extend(payload);
        packet(first, &body)
    }

    fn subscribe(&self, filters: &[(&str, u8)]) -> Vec<u8> {
        let mut body = vec![0, 9];
        body.extend(self.v5().then_some(0));
        for (filter, options) in filters {
            body.extend(text(filter));
            body.push(*options);
        }
        packet(0x82, &body)
    }

    fn deliver(&mut self, qos: Qos, payload: &[u8]) -> Result<Option<u16>, NotSent> {
        self.machine.publish(&Delivery {
            topic: &name("t"),
            payload,
            qos,
            retain: false,
            attempt: Attempt::First,
            properties: &Properties::default(),
            expiry: None,
            subscriptions: &[],
        })
    }
}

/// A CONNECT with these properties in version 5.
fn opening(version: Version, properties: &[u8]) -> Box<crate::mqtt::opening::Opening> {
    let mut body = b"\0\x04MQTT".to_vec();
    match version {
        Version::V5 => body.extend([5, 2, 0, 60, properties.len() as u8]),
        _ => body.extend([4, 2, 0, 60]),
    }
    body.extend(properties);
    body.extend(b"\0\x01c");
    let packet = packet(0x10, &body);
    let Progress::Opened(opening) = Reader::new().feed(&mut packet.as_slice()) else {
        panic!("a good CONNECT");
    };
    opening
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).ok();
    let length = length.and_then(mqtt_protocol_core::mqtt::packet::VariableByteInteger::from_u32);
    [&[first], length.expect("short").as_bytes(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text, TopicLimits::SERVICE).expect("valid")
}

#[test]
fn what_comes_is_acknowledged_when_the_session_says_so() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        let message = bench.hear_publish(&bench.publish(0x30, "t", 0, &[], b"0"));
        assert_eq!(
            (message.receipt, message.payload.as_slice()),
            (Receipt::None, &b"0"[..])
        );
        bench
            .machine
            .acknowledge(message.receipt, Verdict::NotAuthorized);
        assert!(bench.said().is_empty());

        for (id, verdict, reason) in [
            (1, Verdict::Accepted, 0),
            (2, Verdict::NotAuthorized, 0x87),
            (3, Verdict::TopicInvalid, 0x90),
        ] {
            let message = bench.hear_publish(&bench.publish(0x32, "t", id, &[], b"1"));
            assert_eq!(message.receipt, Receipt::Puback(id.into()));
            assert!(bench.said().is_empty(), "not before");
            bench.machine.acknowledge(message.receipt, verdict);
            let puback = bench.acknowledgement(0x40, id, reason);
            assert_eq!(bench.said(), puback);
        }
    }
}

#[test]
fn quality_2_comes_once() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        let message = bench.hear_publish(&bench.publish(0x34, "t", 5, &[], b"2"));
        bench
            .machine
            .acknowledge(message.receipt, Verdict::Accepted);
        assert_eq!(bench.said(), bench.acknowledgement(0x50, 5, 0));
        // Once more with DUP: answered, not handed on.
        assert!(
            bench
                .hear(&bench.publish(0x3c, "t", 5, &[], b"2"))
                .is_empty()
        );
        assert_eq!(bench.said(), [0x50, 2, 0, 5]);
        assert!(bench.hear(&[0x62, 2, 0, 5]).is_empty());
        assert_eq!(bench.said(), bench.acknowledgement(0x70, 5, 0));
        // A PUBREL of what is not known.
        assert!(bench.hear(&[0x62, 2, 0, 5]).is_empty());
        assert_eq!(bench.said(), bench.acknowledgement(0x70, 5, 0x92));
        assert_eq!(bench.machine.ended(), None);
        // The id is free again.
        bench.hear_publish(&bench.publish(0x34, "t", 5, &[], b"2"));
    }
}

#[test]
fn a_refused_message_of_quality_2_is_over_in_version_5() {
    let mut bench = Bench::new(Version::V5);
    for _ in 0..2 {
        let message = bench.hear_publish(&bench.publish(0x34, "t", 5, &[], b"2"));
        bench
            .machine
            .acknowledge(message.receipt, Verdict::NotAuthorized);
        assert_eq!(bench.said(), [0x50, 3, 0, 5, 0x87]);
    }
    let mut bench = Bench::new(Version::V311);
    let message = bench.hear_publish(&bench.publish(0x34, "t", 5, &[], b"2"));
    bench
        .machine
        .acknowledge(message.receipt, Verdict::NotAuthorized);
    assert_eq!(bench.said(), [0x50, 2, 0, 5]);
    bench.hear(&[0x62, 2, 0, 5]);
    assert_eq!(bench.said(), [0x70, 2, 0, 5]);
}

#[test]
fn what_is_sent_takes_its_flow() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            bench.deliver(qos, b"x").expect("room");
        }
        let said = [
            bench.publish(0x30, "t", 0, &[], b"x"),
            bench.publish(0x32, "t", 1, &[], b"x"),
            bench.publish(0x34, "t", 2, &[], b"x"),
        ];
        assert_eq!(bench.said(), said.concat());
        let inputs = bench.hear(&[0x50, 2, 0, 2]);
        assert!(matches!(inputs[..], [Input::Received(2)]), "{inputs:?}");
        assert_eq!(bench.said(), [0x62, 2, 0, 2]);
        let inputs = bench.hear(&[0x40, 2, 0, 1, 0x70, 2, 0, 2]);
        let ids = [Input::Acknowledged(1), Input::Acknowledged(2)];
        assert_eq!(format!("{inputs:?}"), format!("{ids:?}"));
        assert!(bench.said().is_empty());
        assert_eq!(bench.machine.in_flight, 0);
    }
}

#[test]
fn a_full_window_waits_for_acknowledgements() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        for _ in 0..Terms::operator(&Limits::default()).send_maximum {
            bench.deliver(Qos::AtLeastOnce, b"x").expect("room");
        }
        assert!(!bench.machine.has_room());
        assert_eq!(
            bench.deliver(Qos::AtLeastOnce, b"x"),
            Err(NotSent::WindowFull)
        );
        bench.deliver(Qos::AtMostOnce, b"x").expect("takes no room");
        bench.hear(&[0x40, 2, 0, 7]);
        assert!(bench.machine.has_room());
        bench.deliver(Qos::ExactlyOnce, b"x").expect("room");
        assert!(!bench.machine.has_room());
        // Half of a quality 2 flow frees nothing.
        bench.hear(&[0x50, 2, 0, 7]);
        assert!(!bench.machine.has_room());
        bench.hear(&[0x70, 2, 0, 7]);
        assert!(bench.machine.has_room());
    }
}

#[test]
fn version_5_peers_have_windows_and_sizes_of_their_own() {
    // Receive maximum 1, maximum packet size 40.
    let properties = [0x21, 0, 1, 0x27, 0, 0, 0, 40];
    let mut bench = Bench::with(Version::V5, &properties, &Terms::device(&Limits::default()));
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        assert_eq!(bench.deliver(qos, &[b'x'; 40]), Err(NotSent::TooLarge));
    }
    assert!(bench.said().is_empty());
    assert_eq!(bench.machine.ended(), None, "left out, and nothing else");
    // What was left out holds no room.
    bench.deliver(Qos::AtLeastOnce, b"x").expect("room");
    assert_eq!(
        bench.deliver(Qos::AtLeastOnce, b"x"),
        Err(NotSent::WindowFull)
    );
    let id = bench.said()[6];
    // A failed PUBREC or PUBACK ends a flow as well.
    bench.hear(&[0x40, 3, 0, id, 0x87]);
    bench.deliver(Qos::ExactlyOnce, b"x").expect("room");
    let id = bench.said()[6];
    bench.hear(&[0x50, 3, 0, id, 0x87]);
    assert!(bench.said().is_empty());
    assert!(bench.machine.has_room());
}

#[test]
fn broken_packets_end_the_connection() {
    for version in BOTH {
        let check = |code, bytes: &dyn Fn(&Bench) -> Vec<u8>| {
            let mut bench = Bench::new(version);
            let bytes = bytes(&bench);
            bench.ends(&bytes, code);
        };
        for topic in ["a\0", "a/+", "#"] {
            check(0x90, &|bench| bench.publish(0x30, topic, 0, &[], b""));
        }
        // Filters that are none, beside one that is.
        for filter in ["", "a/#/b", "a+", "a\0"] {
            check(0x8f, &|bench| bench.subscribe(&[("fine", 0), (filter, 0)]));
        }
        // Quality 3, and flags that SUBSCRIBE does not have.
        check(0x81, &|bench| bench.publish(0x36, "a", 1, &[], b""));
        check(0x81, &|bench| {
            [&[0x80], &bench.subscribe(&[("a", 0)])[1..]].concat()
        });
        // A type that is none, a packet cut short, a text that is none.
        for bytes in [
            [0x00, 0].as_slice(),
            &[0x30, 1, 0],
            &[0x30, 4, 0, 2, 0xff, 0xff],
        ] {
            check(0x81, &|_| bytes.to_vec());
        }
        // What only a server sends, and a second CONNECT.
        for bytes in [
            [0x20, 2, 0, 0].as_slice(),
            &[0x90, 3, 0, 9, 0],
            &[0xb0, 2, 0, 9],
            &[0xd0, 0],
        ] {
            check(0x82, &|_| bytes.to_vec());
        }
        check(0x82, &|bench| match bench.version {
            Version::V5 => packet(0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01c"),
            _ => packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x01c"),
        });
        // At most once is no duplicate.
        check(0x81, &|bench| bench.publish(0x38, "a", 0, &[], b""));
        // No filters, reserved options, quality 3.
        check(0x82, &|bench| bench.subscribe(&[]));
        check(0x82, &|bench| match bench.v5() {
            true => vec![0xa2, 3, 0, 9, 0],
            false => vec![0xa2, 2, 0, 9],
        });
        for options in [0x40, 0x80, 3] {
            check(0x81, &|bench| bench.subscribe(&[("a", options)]));
        }
        // Acknowledgements without a packet id.
        for first in [0x40, 0x50, 0x70] {
            check(0x81, &|_| vec![first, 2, 0, 0]);
        }
        // A property that is cut short, and a length of five bytes inside.
        if version == Version::V5 {
            check(0x81, &|_| vec![0x30, 6, 0, 1, b'a', 2, 2, 0]);
            check(0x81, &|_| {
                vec![0x30, 9, 0, 1, b'a', 0x80, 0x80, 0x80, 0x80, 1, 0]
            });
        }
        // Groups without a name or a filter; the codec knows some of them.
        for (filter, code) in [
            ("$share", 0x8f),
            ("$share/", 0x81),
            ("$share/g", 0x81),
            ("$share//a", 0x81),
            ("$share/g/", 0x8f),
            ("$share/+/a", 0x81),
            ("$share/g/a+", 0x8f),
        ] {
            check(code, &|bench| bench.subscribe(&[(filter, 0)]));
        }
    }
}

#[test]
fn what_version_5_alone_can_do_wrong() {
    let check = |code, bytes: &dyn Fn(&Bench) -> Vec<u8>| {
        let mut bench = Bench::new(Version::V5);
        let bytes = bytes(&bench);
        bench.ends(&bytes, code);
    };
    // A subscription identifier in a PUBLISH, and wildcards in a response topic.
    check(0x82, &|bench| bench.publish(0x30, "a", 0, &[0x0b, 1], b""));
    for topic in ["a/+", "#", ""] {
        let property = [&[0x08], text(topic).as_slice()].concat();
        check(0x82, &|bench| bench.publish(0x32, "a", 1, &property, b""));
    }
    // No Local for a group.
    check(0x82, &|bench| bench.subscribe(&[("$share/g/a", 4)]));
    // Before version 5 there are no options but the quality.
    for options in [4, 8, 0x10] {
        let mut bench = Bench::new(Version::V311);
        let bytes = bench.subscribe(&[("a", options)]);
        bench.ends(&bytes, 0);
    }
}

#[test]
fn groups_have_names() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        let filters = [("$share/g/a/+", 1), ("a/+", 1), ("$shared/a", 0)];
        let subscribe = bench.hear_subscribe(&bench.subscribe(&filters));
        let found: Vec<_> = subscribe
            .filters
            .iter()
            .map(|one| {
                (
                    one.group.as_deref(),
                    one.filter.as_ref().map(TopicFilter::as_str),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                (Some("g"), Ok("a/+")),
                (None, Ok("a/+")),
                (None, Ok("$shared/a"))
            ]
        );
    }
}

#[test]
fn topics_are_spared_where_the_peer_takes_aliases() {
    // Topic alias maximum 1; without one there are none.
    for (properties, spared) in [
        (&[0x22, 0, 1][..], true),
        (&[0x22, 0, 0], false),
        (&[], false),
    ] {
        let mut bench = Bench::with(
            Version::V5,
            properties,
            &Terms::operator(&Limits::default()),
        );
        bench.deliver(Qos::AtMostOnce, b"1").expect("room");
        bench.deliver(Qos::AtMostOnce, b"2").expect("room");
        let said = match spared {
            true => [
                bench.publish(0x30, "t", 0, &[0x23, 0, 1], b"1"),
                bench.publish(0x30, "", 0, &[0x23, 0, 1], b"2"),
            ],
            false => [
                bench.publish(0x30, "t", 0, &[], b"1"),
                bench.publish(0x30, "t", 0, &[], b"2"),
            ],
        };
        assert_eq!(bench.said(), said.concat(), "{properties:?}");
    }
    // An alias makes no packet larger than the peer takes.
    let properties = [0x22, 0, 1, 0x27, 0, 0, 0, 60];
    let mut bench = Bench::with(
        Version::V5,
        &properties,
        &Terms::operator(&Limits::default()),
    );
    for length in 40..60 {
        let sent = bench.deliver(Qos::AtMostOnce, &vec![b'x'; length]);
        let said = bench.said();
        assert_eq!(sent.is_ok(), length <= 54, "{length}");
        assert!(said.len() <= 60, "{} bytes", said.len());
    }
}

#[test]
fn what_an_earlier_connection_left_is_taken_up() {
    for version in BOTH {
        // Receive maximum 2.
        let properties: &[u8] = if version == Version::V5 {
            &[0x21, 0, 2]
        } else {
            &[]
        };
        let mut bench = Bench::with(version, properties, &Terms::operator(&Limits::default()));
        bench.machine.expect_release(vec![5]);
        bench.machine.release_again(7);
        assert_eq!(bench.said(), [0x62, 2, 0, 7]);
        // Received before: answered, not handed on.
        assert!(
            bench
                .hear(&bench.publish(0x3c, "t", 5, &[], b"2"))
                .is_empty()
        );
        assert_eq!(bench.said(), [0x50, 2, 0, 5]);
        bench.hear(&[0x62, 2, 0, 5]);
        assert_eq!(bench.said(), bench.acknowledgement(0x70, 5, 0));
        let inputs = bench.hear(&[0x70, 2, 0, 7]);
        assert!(matches!(inputs[..], [Input::Acknowledged(7)]), "{inputs:?}");
        // The window is what it was.
        for _ in 0..3 {
            for _ in 0..2 {
                bench.deliver(Qos::AtLeastOnce, b"x").expect("room");
            }
            assert_eq!(bench.machine.has_room(), version != Version::V5);
            bench.said();
            bench.hear(&[0x40, 2, 0, 1, 0x40, 2, 0, 2]);
        }
        assert_eq!(bench.machine.in_flight, 0);
    }
}

#[test]
fn filters_beyond_the_limits_are_refused_one_by_one() {
    for version in BOTH {
        let mut bench = Bench::with(version, &[], &Terms::device(&Limits::default()));
        let long = "x".repeat(513);
        let filters = [("a/+", 1), (long.as_str(), 0), ("$share/g/a", 0)];
        let subscribe = bench.hear_subscribe(&bench.subscribe(&filters));
        let found: Vec<_> = subscribe.filters.iter().map(|one| &one.filter).collect();
        let fine = TopicFilter::parse("a/+", TopicLimits::DEVICE).expect("valid");
        assert_eq!(
            found,
            [&Ok(fine), &Err(NotOffered::Limit), &Err(NotOffered::Shared)]
        );
        let granted = [
            Granted::At(Qos::AtLeastOnce),
            Granted::FilterInvalid,
            Granted::SharedNotOffered,
            Granted::NotAuthorized,
            Granted::QuotaExceeded,
        ];
        bench.machine.suback(9, &granted);
        let suback: &[u8] = match version {
            Version::V5 => &[0x90, 8, 0, 9, 0, 1, 0x8f, 0x9e, 0x87, 0x97],
            _ => &[0x90, 7, 0, 9, 1, 0x80, 0x80, 0x80, 0x80],
        };
        assert_eq!(bench.said(), suback);

        bench
            .machine
            .unsuback(9, &[Unsubscribed::Done, Unsubscribed::NotThere]);
        let unsuback: &[u8] = match version {
            Version::V5 => &[0xb0, 5, 0, 9, 0, 0, 0x11],
            _ => &[0xb0, 2, 0, 9],
        };
        assert_eq!(bench.said(), unsuback);
    }
}

#[test]
fn aliases_stand_for_topics() {
    let mut bench = Bench::with(Version::V5, &[], &Terms::device(&Limits::default()));
    let named = bench.publish(0x30, "a/b", 0, &[0x23, 0, 8], b"1");
    let alias = bench.publish(0x30, "", 0, &[0x23, 0, 8], b"2");
    for bytes in [named, alias] {
        assert_eq!(bench.hear_publish(&bytes).topic, Ok(name("a/b")));
    }
    // More than were offered, none, and one that stands for nothing.
    for alias in [9, 0, 1] {
        let mut bench = Bench::with(Version::V5, &[], &Terms::device(&Limits::default()));
        let bytes = bench.publish(0x30, "", 0, &[0x23, 0, alias], b"x");
        assert!(bench.hear(&bytes).is_empty());
        assert!(bench.machine.ended().is_some(), "{alias}");
    }
}

#[test]
fn pings_and_goodbyes() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        assert!(bench.hear(&[0xc0, 0]).is_empty());
        assert_eq!(bench.said(), [0xd0, 0]);
        let inputs = bench.hear(&[0xe0, 0]);
        assert!(matches!(
            inputs[..],
            [Input::Disconnect(Goodbye {
                will: WillFate::Discard,
                ..
            })]
        ));
    }
    let mut bench = Bench::new(Version::V5);
    let inputs = bench.hear(&[0xe0, 1, 4]);
    assert!(matches!(
        inputs[..],
        [Input::Disconnect(Goodbye {
            will: WillFate::Publish,
            ..
        })]
    ));
}

#[test]
fn a_packet_beyond_what_was_offered_ends_the_connection() {
    for version in BOTH {
        let mut bench = Bench::with(version, &[], &Terms::ACTIVATION);
        let large = bench.publish(0x30, "t", 0, &[], &[b'x'; 9000]);
        assert!(bench.hear(&large).is_empty());
        assert!(bench.machine.ended().is_some());
        let told: &[u8] = if bench.v5() { &[0xe0, 1, 0x95] } else { &[] };
        assert_eq!(bench.said(), told);
    }
}

#[test]
fn bytes_may_come_one_by_one_or_all_at_once() {
    for version in BOTH {
        let mut bench = Bench::new(version);
        let bytes = [
            bench.publish(0x30, "a", 0, &[], &[b'x'; 300]),
            bench.subscribe(&[("b", 0)]),
            vec![0xc0, 0],
        ]
        .concat();
        let all = bench.hear(&bytes).len();
        let single: usize = bytes.iter().map(|byte| bench.hear(&[*byte]).len()).sum();
        assert_eq!((all, single), (2, 2));
        assert_eq!(bench.said(), [0xd0, 0, 0xd0, 0]);
    }
}

#[test]
fn a_peer_without_aliases_gets_none() {
    // The default written out, behind another property.
    let none = [0x21, 0, 9, 0x22, 0, 0];
    for (properties, aliases) in [(&none[..], 0), (&[], 0), (&[0x22, 0, 1], 1)] {
        let mut bench = Bench::with(
            Version::V5,
            properties,
            &Terms::operator(&Limits::default()),
        );
        for _ in 0..2 {
            bench.deliver(Qos::AtMostOnce, b"x").expect("room");
        }
        let with = [
            bench.publish(0x30, "t", 0, &[0x23, 0, 1], b"x"),
            bench.publish(0x30, "", 0, &[0x23, 0, 1], b"x"),
        ];
        let without = vec![bench.publish(0x30, "t", 0, &[], b"x"); 2];
        let expected = if aliases == 1 { with.to_vec() } else { without };
        assert_eq!(bench.said(), expected.concat(), "{properties:02x?}");
    }
}

#[test]
fn a_peer_that_takes_no_connack_is_left() {
    let opening = opening(Version::V5, &[0x27, 0, 0, 0, 4]);
    let terms = Terms::operator(&Limits::default());
    let mut machine = Machine::new(&opening, &terms);
    machine.accept(&terms, &WELCOME);
    assert!(machine.output().is_empty());
    assert_eq!(machine.ended(), Some(Farewell::PacketTooLarge));
}

#[test]
fn what_is_no_text_ends_the_connection() {
    for version in BOTH {
        for filter in ["", "a\0", "a/#/b"] {
            let mut body = vec![0, 9];
            body.extend((version == Version::V5).then_some(0));
            body.extend(text(filter));
            Bench::new(version).ends(&packet(0xa2, &body), 0x8f);
        }
    }
    // A content type with U+0000.
    let mut bench = Bench::new(Version::V5);
    let publish = bench.publish(0x30, "t", 0, &[0x03, 0, 2, b'a', 0], b"x");
    bench.ends(&publish, 0x81);
    // A user property with one, on a SUBSCRIBE.
    let mut body = vec![0, 9, 7, 0x26, 0, 1, 0, 0, 1, b'v'];
    body.extend(text("t"));
    body.push(0);
    Bench::new(Version::V5).ends(&packet(0x82, &body), 0x81);
}

#[test]
fn two_identifiers_of_a_subscription_are_one_too_many() {
    let mut body = vec![0, 9, 4, 0x0b, 1, 0x0b, 2];
    body.extend(text("t"));
    body.push(0);
    Bench::new(Version::V5).ends(&packet(0x82, &body), 0x82);
}

#[test]
fn a_length_without_end_is_malformed() {
    for version in BOTH {
        Bench::new(version).ends(&[0x30, 0xff, 0xff, 0xff, 0xff, 1], 0x81);
    }
}
