//! A feed as its readers see it, in Xively's words.
//!
//! JSON is compact, times have six digits behind the point as Xively's had,
//! and CSV has no line break at its end: shipped clients look for what stands
//! behind the last one. What is not known (a smallest and a greatest value) is
//! left out, never invented.

use std::time::Duration;

use serde::Serialize;

use super::CurrentValue;
use crate::clock::Timestamp;
use crate::identity::{FeedId, ProductId, Serial};
use crate::product::{DatastreamId, Unit, Visibility};

/// A feed whose last value is older is called frozen.
const LIVE: Duration = Duration::from_secs(15 * 60);

/// What is told of a feed.
#[derive(Clone, Debug)]
pub struct FeedPage<'a> {
    /// Its number.
    pub id: FeedId,
    /// What people call it.
    pub title: &'a str,
    /// What apps are told of who may read it.
    pub visibility: Visibility,
    /// Words to find it by.
    pub tags: &'a [String],
    /// Where it is found, without the host.
    pub path: &'a str,
    /// When its device was registered.
    pub created: Timestamp,
    /// Its device's product.
    pub product: &'a ProductId,
    /// Its device's serial.
    pub serial: &'a Serial,
    /// Its datastreams, in the order in which they are told.
    pub datastreams: Vec<DatastreamPage<'a>>,
}

/// What is told of one datastream.
#[derive(Clone, Debug)]
pub struct DatastreamPage<'a> {
    /// Its name.
    pub id: &'a DatastreamId,
    /// Words to find it by.
    pub tags: &'a [String],
    /// What its values are measured in.
    pub unit: Option<&'a Unit>,
    /// Its newest value, once there is one.
    pub current: Option<&'a CurrentValue>,
}

#[derive(Serialize)]
struct FeedJson<'a> {
    id: FeedId,
    title: &'a str,
    /// A text, as Xively had it.
    private: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    feed: &'a str,
    status: &'static str,
    updated: String,
    created: String,
    product_id: &'a ProductId,
    device_serial: &'a Serial,
    version: &'static str,
    datastreams: Vec<DatastreamJson<'a>>,
}

#[derive(Serialize)]
struct DatastreamJson<'a> {
    id: &'a DatastreamId,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<UnitJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

#[derive(Serialize)]
struct UnitJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
}

/// The version of the format.
const VERSION: &str = "1.0.0";

impl FeedPage<'_> {
    /// The feed as an object.
    pub fn to_json(&self, now: Timestamp) -> Vec<u8> {
        let newest = self.datastreams.iter().filter_map(|one| one.current);
        let newest = newest.map(|current| current.at).max();
        let live = newest.is_some_and(|at| now.apart(at) <= LIVE);
        json(&FeedJson {
            id: self.id,
            title: self.title,
            private: match self.visibility {
                Visibility::Public => "false",
                Visibility::Private => "true",
            },
            tags: self.tags,
            feed: self.path,
            status: if live { "live" } else { "frozen" },
            updated: precise(newest.unwrap_or(self.created)),
            created: precise(self.created),
            product_id: self.product,
            device_serial: self.serial,
            version: VERSION,
            datastreams: self.datastreams.iter().map(|one| one.json(None)).collect(),
        })
    }

    /// A line of `id,timestamp,value` for each datastream that has a value.
    pub fn to_csv(&self) -> Vec<u8> {
        let values = self.datastreams.iter().filter_map(|one| one.current);
        lines(values.map(|current| {
            [
                current.datastream.to_string(),
                precise(current.at),
                current.value.to_string(),
            ]
        }))
    }
}

impl<'a> DatastreamPage<'a> {
    /// The datastream as an object.
    pub fn to_json(&self) -> Vec<u8> {
        json(&self.json(Some(VERSION)))
    }

    /// `timestamp,value`, or nothing while there is no value.
    pub fn to_csv(&self) -> Vec<u8> {
        let current = self.current.into_iter();
        lines(current.map(|current| [precise(current.at), current.value.to_string()]))
    }

    fn json(&self, version: Option<&'static str>) -> DatastreamJson<'a> {
        DatastreamJson {
            id: self.id,
            current_value: self.current.map(|current| current.value.as_str()),
            at: self.current.map(|current| precise(current.at)),
            tags: self.tags,
            unit: self.unit.map(|unit| UnitJson {
                label: unit.label.as_deref(),
                symbol: unit.symbol.as_deref(),
                kind: unit.kind.as_deref(),
            }),
            version,
        }
    }
}

/// A time as Xively wrote it: with microseconds, which clients read by position.
pub fn precise(at: Timestamp) -> String {
    at.to_string().replace('Z', "000Z")
}

fn json(page: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "texts and numbers always serialise")]
    serde_json::to_vec(page).expect("texts and numbers serialise")
}

/// Lines with a break between them and none behind.
fn lines<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    #[expect(clippy::expect_used, reason = "memory takes every write")]
    for row in rows {
        writer.write_record(row).expect("memory takes it");
    }
    #[expect(clippy::expect_used, reason = "memory takes every write")]
    let mut bytes = writer.into_inner().expect("memory takes it");
    bytes.pop();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Value;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn current(id: &str, value: &str) -> CurrentValue {
        CurrentValue {
            datastream: DatastreamId::parse(id).expect("valid"),
            value: Value::parse(value).expect("valid"),
            at: NOW,
        }
    }

    fn check(check: impl FnOnce(FeedPage<'_>)) {
        let (warm, door) = (
            current("temperature", "21.50"),
            current("door", "open, \"wide\""),
        );
        let never = DatastreamId::parse("humidity").expect("valid");
        let tags = ["indoor".to_owned()];
        let unit = Unit {
            label: Some("Celsius".to_owned()),
            symbol: Some("°C".to_owned()),
            kind: Some("basicSI".to_owned()),
        };
        let page = |id, current, unit, tags| DatastreamPage {
            id,
            tags,
            unit,
            current,
        };
        check(FeedPage {
            id: FeedId::new(504).expect("valid"),
            title: "S1",
            visibility: Visibility::Private,
            tags: &[],
            path: "/v2/feeds/504.json",
            created: Timestamp::from_millis(0),
            product: &ProductId::parse("abcdefghijklmnopqrst").expect("valid"),
            serial: &Serial::parse("S1").expect("valid"),
            datastreams: vec![
                page(&warm.datastream, Some(&warm), Some(&unit), &tags[..]),
                page(&never, None, None, &[]),
                page(&door.datastream, Some(&door), None, &[]),
            ],
        });
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_feed() {
        check(|page| {
            assert_eq!(
                text(page.to_json(NOW)),
                concat!(
                    r#"{"id":504,"title":"S1","private":"true","feed":"/v2/feeds/504.json","status":"live","#,
                    r#""updated":"2026-01-01T00:00:00.000000Z","created":"1970-01-01T00:00:00.000000Z","#,
                    r#""product_id":"abcdefghijklmnopqrst","device_serial":"S1","version":"1.0.0","datastreams":["#,
                    r#"{"id":"temperature","current_value":"21.50","at":"2026-01-01T00:00:00.000000Z","tags":["indoor"],"#,
                    r#""unit":{"label":"Celsius","symbol":"°C","type":"basicSI"}},"#,
                    r#"{"id":"humidity"},"#,
                    r#"{"id":"door","current_value":"open, \"wide\"","at":"2026-01-01T00:00:00.000000Z"}]}"#
                )
            );
            assert_eq!(
                text(page.to_csv()),
                "temperature,2026-01-01T00:00:00.000000Z,21.50\ndoor,2026-01-01T00:00:00.000000Z,\"open, \"\"wide\"\"\""
            );
        });
    }

    #[test]
    fn a_feed_freezes_when_nothing_comes() {
        let status = |now| {
            let mut shown = String::new();
            check(|page| shown = text(page.to_json(now)));
            shown.contains(r#""status":"frozen""#)
        };
        assert!(!status(NOW.plus(LIVE)));
        assert!(status(NOW.plus(LIVE + Duration::from_millis(1))));
    }

    #[test]
    fn one_datastream() {
        check(|page| {
            let [warm, never, _] = &page.datastreams[..] else {
                unreachable!("three");
            };
            assert_eq!(
                text(warm.to_json()),
                concat!(
                    r#"{"id":"temperature","current_value":"21.50","at":"2026-01-01T00:00:00.000000Z","tags":["indoor"],"#,
                    r#""unit":{"label":"Celsius","symbol":"°C","type":"basicSI"},"version":"1.0.0"}"#
                )
            );
            assert_eq!(text(warm.to_csv()), "2026-01-01T00:00:00.000000Z,21.50");
            assert_eq!(
                text(never.to_json()),
                r#"{"id":"humidity","version":"1.0.0"}"#
            );
            assert_eq!(text(never.to_csv()), "");
        });
    }
}
