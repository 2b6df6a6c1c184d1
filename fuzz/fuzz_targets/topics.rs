//! Topics: what is valid stays valid, and nobody gets beyond what is granted.

#![no_main]

use firstwake::topic::device::{Downlink, Uplink, own};
use firstwake::topic::{Limits, TopicFilter, TopicName, decode_level, encode_level};
use firstwake::{FeedId, Serial};

libfuzzer_sys::fuzz_target!(|texts: (&str, &str, &str, u32)| {
    let (name, one, two, number) = texts;
    let feed = FeedId::new(number % 100 + 1).expect("a small number");
    let serial = Serial::parse("a+1").expect("valid");
    // Neither serials nor datastreams hold a `%`.
    if !name.contains('%') {
        assert_eq!(decode_level(&encode_level(name)).as_deref(), Some(name));
    }
    let name = TopicName::parse(name, Limits::DEVICE);
    let one = TopicFilter::parse(one, Limits::SERVICE);
    let two = TopicFilter::parse(two, Limits::SERVICE);
    if let Ok(name) = &name {
        let own = format!("feeds/{feed}/");
        if let Some(uplink) = Uplink::permit(feed, name) {
            let topic = uplink.into_topic();
            assert!(topic.as_str().starts_with(&own));
            assert!(Downlink::of(&topic).is_none(), "never both");
        }
        if let Some(downlink) = Downlink::of(name) {
            assert_eq!(downlink.topic(), name);
        }
    }
    if let (Ok(name), Ok(filter)) = (&name, &one)
        && own(feed, &serial, filter).is_some()
        && filter.matches(name)
        && let Some(downlink) = Downlink::of(name)
    {
        assert_eq!(downlink.feed(), feed, "its own, and nobody else's");
    }
    if let (Ok(one), Ok(two)) = (&one, &two) {
        assert_eq!(one.overlaps(two), two.overlaps(one));
        if let Ok(name) = &name {
            let both = one.matches(name) && two.matches(name);
            assert!(!both || one.overlaps(two));
            assert!(!(one.covers(two) && two.matches(name)) || one.matches(name));
        }
    }
});
