//! The two topics a device names, with `+` written as `%2B`.
//!
//! `+` is legal in serials and datastream ids but a wildcard in MQTT; `%` is
//! in neither alphabet, so the writing is unambiguous.

use firstwake::{FeedId, Serial};

use crate::datastream::Datastream;

/// Where the server answers this device.
pub(crate) fn response(serial: &Serial) -> String {
    format!("provision/{}/response", level(serial.as_str()))
}

/// Where a value of this datastream is published.
pub(crate) fn data(feed: FeedId, datastream: &Datastream) -> String {
    format!("feeds/{feed}/data/{}", level(datastream.as_str()))
}

fn level(text: &str) -> String {
    text.replace('+', "%2B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_no_wildcard() {
        let serial = Serial::parse("+a-,_:+").expect("serial");
        assert_eq!(response(&serial), "provision/%2Ba-,_:%2B/response");
        let feed = FeedId::new(7).expect("feed");
        let datastream = Datastream::parse("t+1.a").expect("datastream");
        assert_eq!(data(feed, &datastream), "feeds/7/data/t%2B1.a");
    }
}
