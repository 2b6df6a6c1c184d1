//! Which topics are whose.

use proptest::prelude::*;

use super::*;

fn feed(number: u32) -> FeedId {
    FeedId::new(number).expect("valid feed")
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text, Limits::DEVICE).expect("valid name")
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, Limits::DEVICE).expect("valid filter")
}

#[test]
fn a_key_may_stand_before_xivelys_topics() {
    const KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST_-";
    let keyed = format!("{KEY}/v2/feeds/504.csv");
    fn rest<'a>(topic: &'a str, own: &str) -> Option<&'a str> {
        without_key(topic, |key| key.expose() == own)
    }
    assert_eq!(rest(&keyed, KEY), Some("/v2/feeds/504.csv"));
    assert_eq!(rest(&keyed, &KEY.replace('a', "b")), None);
    let other = format!("{KEY}/feeds/504/data");
    for plain in [
        "/v2/feeds/504.csv",
        "v2/feeds/504.csv",
        KEY,
        "x/v2/feeds/504.csv",
        &other,
    ] {
        assert_eq!(rest(plain, ""), Some(plain));
    }
}

#[test]
fn what_uplinks_say() {
    let now = Timestamp::from_millis(1_767_225_600_000);
    let check = |topic: &str, payload: &[u8], expected: Result<&[(&str, &str)], ()>| {
        let uplink = Uplink::permit(feed(504), &name(topic)).expect("its own");
        let read = uplink.read(payload, now).map_err(drop);
        let read = read.map(|values| -> Vec<(String, String)> {
            let text = |one: CurrentValue| (one.datastream.to_string(), one.value.to_string());
            values.into_iter().map(text).collect()
        });
        let text = |(id, value): &(&str, &str)| (id.to_string(), value.to_string());
        assert_eq!(
            read,
            expected.map(|all| all.iter().map(text).collect()),
            "{topic}"
        );
    };
    let one: &[(&str, &str)] = &[("t", "21.5")];
    check("feeds/504/data/t", b"21.5", Ok(one));
    check("feeds/504/data/t", b" 21.5\r\n", Ok(one));
    check("feeds/504/data/t", b"21.5,1", Ok(&[("t", "21.5,1")]));
    check("feeds/504/data/t", b"\xff", Err(()));
    check("feeds/504/data/t", &[b'x'; 1025], Err(()));
    check("/v2/feeds/504/datastreams/t.csv", b"21.5", Ok(one));
    check(
        "/v2/feeds/504/datastreams/t.csv",
        b"2025-12-31T00:00:00Z,21.5",
        Ok(one),
    );
    check("/v2/feeds/504/datastreams/t.csv", b"21.5,1", Err(()));
    check("feeds/504/data", b"t,21.5", Ok(one));
    let object = br#"{"datastreams":[{"id":"t","current_value":"21.5"}]}"#;
    check("feeds/504/data", object, Ok(one));
    check("/v2/feeds/504.json", object, Ok(one));
    check("/v2/feeds/504.csv", object, Err(()));
    check("/v2/feeds/504.csv", b"t,21.5", Ok(one));
    check("/v2/feeds/504.json", b"t,21.5", Err(()));
    check("feeds/504/status", b"t,21.5", Ok(&[]));
}

#[test]
fn uplink_topics_are_canonical() {
    let check = |topic: &str, expected: Option<&str>| {
        let permit = Uplink::permit(feed(504), &name(topic)).map(Uplink::into_topic);
        assert_eq!(permit.as_ref().map(TopicName::as_str), expected, "{topic}");
    };
    check("feeds/504/data", Some("feeds/504/data"));
    check("feeds/504/status", Some("feeds/504/status"));
    check("feeds/504/data/temp", Some("feeds/504/data/temp"));
    check("feeds/504/data/a%2Bb", Some("feeds/504/data/a%2Bb"));
    check("/v2/feeds/504.json", Some("feeds/504/data"));
    check("/v2/feeds/504.csv", Some("feeds/504/data"));
    check("/v2/feeds/504/datastreams/0.csv", Some("feeds/504/data/0"));
    for foreign in [
        "feeds/505/data",
        "feeds/0504/data",
        "feeds/504",
        "feeds/504/",
        "feeds/504/commands/x",
        "feeds/504/config",
        "feeds/504/data/a/b",
        "feeds/504/data/",
        "feeds/504/data/a%41",
        "/v2/feeds/505.json",
        "/v2/feeds/504.xml",
        "/v2/feeds/504/datastreams/0",
        "v2/feeds/504.json",
        "provisioning/fleet",
        "provision/x/response",
        "x",
    ] {
        check(foreign, None);
    }
}

#[test]
fn own_filters() {
    let serial = Serial::parse("+").expect("valid serial");
    let check = |text: &str, expected: Option<Own>| {
        assert_eq!(own(feed(504), &serial, &filter(text)), expected, "{text}");
    };
    check("feeds/504/commands/+", Some(Own::Downlink));
    check("feeds/504/commands/#", Some(Own::Downlink));
    check("feeds/504/config", Some(Own::Downlink));
    check("feeds/504/#", Some(Own::Downlink));
    check("feeds/504/+", Some(Own::Downlink));
    check("feeds/504/+/reboot", Some(Own::Downlink));
    check("feeds/504/commands/a/b", Some(Own::Other));
    check("feeds/504/data/#", Some(Own::Other));
    check("feeds/504/data/x", Some(Own::Other));
    let page = |page| Some(Own::Page(page));
    check("/v2/feeds/504.csv", page(Page::Feed(Format::Csv)));
    check("/v2/feeds/504.json", page(Page::Feed(Format::Json)));
    let one = |id, format| {
        page(Page::Datastream(
            DatastreamId::parse(id).expect("valid"),
            format,
        ))
    };
    check(
        "/v2/feeds/504/datastreams/a%2Bb.csv",
        one("a+b", Format::Csv),
    );
    check("/v2/feeds/504/datastreams/0.json", one("0", Format::Json));
    check("/v2/feeds/504/datastreams/0", Some(Own::Other));
    check("/v2/feeds/504/datastreams/+", Some(Own::Other));
    check("provision/%2B/response", Some(Own::Answers));
    check("provision/%2B/request", Some(Own::Other));
    for foreign in [
        "#",
        "+/504/config",
        "feeds/+/config",
        "feeds/505/#",
        "feeds/#",
        "provision/+/response",
        "provision/#",
        "provision/other/response",
        "provisioning/#",
    ] {
        check(foreign, None);
    }
}

#[test]
fn a_serial_never_becomes_a_wildcard() {
    let serial = Serial::parse("+").expect("valid serial");
    assert_eq!(response(&serial).as_str(), "provision/%2B/response");
    assert_eq!(request(&serial).as_str(), "provision/%2B/request");
}

proptest! {
    /// Nothing that one feed may publish is permitted to another.
    #[test]
    fn uplinks_do_not_cross(
        mine in 1..=FeedId::MAX,
        other in 1..=FeedId::MAX,
        stream in "[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,19}",
    ) {
        prop_assume!(mine != other);
        for topic in [
            format!("feeds/{mine}/data/{}", encode_level(&stream)),
            format!("feeds/{mine}/status"),
            format!("/v2/feeds/{mine}.json"),
        ] {
            prop_assert!(Uplink::permit(feed(mine), &name(&topic)).is_some());
            prop_assert!(Uplink::permit(feed(other), &name(&topic)).is_none());
        }
    }

    /// What is permitted comes out under the device's own feed, whatever went in.
    #[test]
    fn canonical_topics_stay_inside(number in 1u32..1000, text in "[a-z0-9/.%+_]{1,40}") {
        let Ok(topic) = TopicName::parse(&text, Limits::DEVICE) else { return Ok(()) };
        if let Some(permit) = Uplink::permit(feed(number), &topic) {
            let prefix = format!("feeds/{number}/");
            prop_assert!(permit.into_topic().as_str().starts_with(&prefix));
        }
    }
}
