//! Feeds, read and written, over HTTP and over MQTT.

use serde_json::Value;

use crate::support::http::{HttpPeer, Response, basic};
use crate::support::wire::Version;
use crate::support::{Credentials, TestBroker, code, eventually};

/// A device with its key, and the requests it sends.
struct Device {
    peer: HttpPeer,
    key: String,
    feed: u64,
}

impl Device {
    fn new(broker: &TestBroker, serial: &str) -> Self {
        let answer = broker.activation(&code(serial), &[]);
        let Credentials { key, feed } = Credentials::read(&answer.body);
        let key = format!("X-ApiKey: {key}");
        Self {
            peer: broker.xively(),
            key,
            feed,
        }
    }

    /// A request about its feed: the method, and what stands behind the id.
    fn ask(&mut self, method: &str, rest: &str, body: &str) -> Response {
        let line = format!("{method} /v2/feeds/{}{rest}", self.feed);
        self.peer.ask(&line, &[&self.key], body.as_bytes())
    }

    /// The current values as lines without their times.
    fn values(&mut self) -> Vec<String> {
        let lines = self.ask("GET", ".csv", "").text_of(200);
        let without_time = |line: &str| {
            let fields: Vec<&str> = line.splitn(3, ',').collect();
            format!("{}={}", fields[0], fields[2])
        };
        lines.lines().map(without_time).collect()
    }
}

#[test]
fn a_feed_is_written_and_read_back_to_the_byte() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    let mut device = Device::new(&broker, "S1");
    let at = "2026-01-02T03:04:05.678000Z";
    let body = format!(
        r#"{{"version":"1.0.0","datastreams":[{{"id":"temperature","current_value":21.50,"at":"{at}"}},{{"id":"door","current_value":"open","at":"{at}"}}]}}"#
    );
    let written = device.ask("PUT", ".json", &body);
    assert_eq!(written.text_of(200), "");
    assert_eq!(written.header("content-length"), Some("0"));

    let read = device.ask("GET", ".json", "");
    let (_, created) = read.text().split_once(r#""created":""#).expect("a time");
    let created = &created[..at.len()];
    let feed = device.feed;
    assert_eq!(
        read.text_of(200),
        format!(
            concat!(
                r#"{{"id":{feed},"title":"lamp","private":"true","feed":"/v2/feeds/{feed}.json","status":"frozen","#,
                r#""updated":"{at}","created":"{created}","product_id":"{product}","device_serial":"S1","version":"1.0.0","#,
                r#""datastreams":[{{"id":"temperature","current_value":"21.50","at":"{at}"}},{{"id":"humidity"}},"#,
                r#"{{"id":"door","current_value":"open","at":"{at}"}}]}}"#
            ),
            feed = feed,
            at = at,
            created = created,
            product = product,
        )
    );
    let lines = format!("temperature,{at},21.50\ndoor,{at},open");
    assert_eq!(device.ask("GET", ".csv", "").text_of(200), lines);
    let one = device.ask("GET", "/datastreams/door.csv", "").text_of(200);
    assert_eq!(one, format!("{at},open"));
    let one = device.ask("GET", "/datastreams/door", "").text_of(200);
    let expected =
        format!(r#"{{"id":"door","current_value":"open","at":"{at}","version":"1.0.0"}}"#);
    assert_eq!(one, expected);
    let some = device.ask("GET", "?datastreams=door,x", "").json();
    assert_eq!(some["datastreams"].as_array().map(Vec::len), Some(1));
    let none = device.ask("GET", "/datastreams/x", "");
    none.denied(404, "Not found");
}

#[test]
fn every_way_to_write_a_value() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut device = Device::new(&broker, "S1");
    let mut check = |method: &str, rest: &str, body: &str, status: u16, expected: &[&str]| {
        let answer = device.ask(method, rest, body);
        assert_eq!(answer.text_of(status), "", "{method} {rest}");
        assert_eq!(device.values(), expected, "{method} {rest}");
        answer
    };
    check(
        "PUT",
        "",
        r#"{"datastreams":[{"id":"temperature","current_value":"1"}]}"#,
        200,
        &["temperature=1"],
    );
    check("PUT", ".csv", "temperature,2\r\n", 200, &["temperature=2"]);
    check(
        "PUT",
        "/datastreams/temperature.csv",
        "3",
        200,
        &["temperature=3"],
    );
    check(
        "PUT",
        "/datastreams/temperature",
        r#"{"current_value":4}"#,
        200,
        &["temperature=4"],
    );
    let made = check(
        "POST",
        "/datastreams",
        r#"{"datastreams":[{"id":"a","current_value":"5"}]}"#,
        201,
        &["temperature=4", "a=5"],
    );
    let place = format!("/v2/feeds/{}/datastreams/a", device.feed);
    assert_eq!(made.header("location"), Some(place.as_str()));
    let now = device.ask("GET", "/datastreams/a", "").json()["at"]
        .as_str()
        .expect("text")
        .to_owned();
    let points = format!(
        r#"{{"datapoints":[{{"at":"{now}","value":"7"}},{{"at":"2026-01-01T00:00:00Z","value":"6"}}]}}"#
    );
    let done = device.ask("POST", "/datastreams/a/datapoints", &points);
    assert_eq!(done.text_of(200), "");
    assert_eq!(device.values(), ["temperature=4", "a=7"]);
    // An older value never replaces a newer one.
    device
        .ask("PUT", ".csv", "a,2026-01-01T00:00:00Z,old")
        .text_of(200);
    assert_eq!(device.values(), ["temperature=4", "a=7"]);
}

#[test]
fn what_cannot_be_read_is_told_and_changes_nothing() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut device = Device::new(&broker, "S1");
    device.ask("PUT", ".csv", "a,1").text_of(200);
    let mut check = |rest: &str, body: &str, status: u16, said: &str| {
        let title = match status {
            400 => "Bad request",
            422 => "Unprocessable entity",
            403 => "Forbidden",
            413 => "Payload too large",
            _ => "Not acceptable",
        };
        let told = device.ask("PUT", rest, body).denied(status, title);
        assert!(told.contains(said), "{told}");
        assert_eq!(device.values(), ["a=1"]);
    };
    check(".json", "a,2", 400, "the body is not JSON");
    check(".json", "", 400, "the body is not JSON");
    check(
        ".json",
        r#"{"datastreams":[{"id":"a","current_value":"2"},{"id":"b c","current_value":"2"}]}"#,
        422,
        "datastream 2",
    );
    check(".csv", "a,2\nb c,2", 422, "line 2");
    check(".csv", "a", 400, "line 1 has 1 fields");
    check(".xml", "<x/>", 406, "JSON (.json)");
    let many: String = (0..101).map(|n| format!("new{n},1\n")).collect();
    check(".csv", &many, 403, "as many datastreams");
    let large = "a,".to_owned() + &"2".repeat(64 * 1024);
    check(".csv", &large, 413, "65536 bytes");
}

#[test]
fn rights_over_feeds() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1", "S2"]);
    for role in ["viewer", "operator", "admin"] {
        broker.add_operator(role, role, &[]);
    }
    let mut device = Device::new(&broker, "S1");
    let other = Device::new(&broker, "S2");
    let line = |method: &str| format!("{method} /v2/feeds/{}.csv", device.feed);
    let (get, put) = (line("GET"), line("PUT"));
    let mut peer = broker.xively();
    let mut check = |header: &str, read: u16, written: u16| {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
        assert_eq!(peer.ask(&get, headers, b"").status, read, "{header}");
        assert_eq!(peer.ask(&put, headers, b"a,1").status, written, "{header}");
    };
    check("", 401, 401);
    check(&format!("X-ApiKey: {}", "A".repeat(48)), 401, 401);
    check(&format!("X-ApiKey: {}", code("S1")), 401, 401);
    check("X-ApiKey: short", 401, 401);
    check(&other.key, 403, 403);
    check(&basic("viewer"), 200, 403);
    check(&basic("operator"), 200, 200);
    check(&basic("admin"), 200, 200);
    check(&device.key, 200, 200);
    let absent = peer.ask("GET /v2/feeds/999999", &[&basic("viewer")], b"");
    absent.denied(404, "Not found");
    // A key in the query is a key.
    let key = device.key.split(' ').nth(1).expect("a key").to_owned();
    device.key = "X-Nothing: 1".to_owned();
    device.ask("GET", &format!("?key={key}"), "").text_of(200);
}

#[test]
fn operators_see_values_alike_over_both_doors() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut watcher = broker.admin(Version::V5);
    watcher.subscribe(&[("feeds/#", 1)], &[1]);
    let mut device = Device::new(&broker, "S1");
    let feed = device.feed;
    let body = r#"{"datastreams":[{"id":"temperature","current_value":"1"}]}"#;
    let at = "2026-01-01T00:00:00.000000Z";
    let cases = [
        (
            ".json".to_owned(),
            body.to_owned(),
            format!("feeds/{feed}/data"),
            body.to_owned(),
        ),
        (
            ".csv".to_owned(),
            "temperature,2".to_owned(),
            format!("feeds/{feed}/data"),
            "temperature,2".to_owned(),
        ),
        (
            "/datastreams/a.csv".to_owned(),
            "3".to_owned(),
            format!("feeds/{feed}/data/a"),
            "3".to_owned(),
        ),
        (
            "/datastreams/a.csv".to_owned(),
            format!("{at},4"),
            format!("feeds/{feed}/data/a"),
            format!("{at},4"),
        ),
        (
            "/datastreams/a".to_owned(),
            r#"{"current_value":5}"#.to_owned(),
            format!("feeds/{feed}/data/a"),
            "5".to_owned(),
        ),
    ];
    for (rest, sent, topic, payload) in cases {
        device.ask("PUT", &rest, &sent).text_of(200);
        let message = watcher.message();
        assert_eq!((&message.topic, message.qos()), (&topic, 1));
        assert_eq!(message.payload, payload.as_bytes(), "{rest}");
    }
}

#[test]
fn what_comes_over_mqtt_is_the_current_value_too() {
    for version in Version::ALL {
        let mut broker = TestBroker::with_xively();
        broker.fleet(&["S1"]);
        let mut device = Device::new(&broker, "S1");
        let feed = device.feed;
        let key = device.key.split(' ').nth(1).expect("a key").to_owned();
        let mut peer = broker.login(version, "S1", &key);
        let topics = [
            (
                format!("feeds/{feed}/data/temperature"),
                "1",
                ["temperature=1"].as_slice(),
            ),
            (
                format!("feeds/{feed}/data"),
                "temperature,2",
                &["temperature=2"],
            ),
            (
                format!("/v2/feeds/{feed}.json"),
                r#"{"datastreams":[{"id":"a","current_value":3}]}"#,
                &["temperature=2", "a=3"],
            ),
            (
                format!("{key}/v2/feeds/{feed}.csv"),
                "a,4",
                &["temperature=2", "a=4"],
            ),
            (
                format!("/v2/feeds/{feed}/datastreams/a.csv"),
                "5\r\n",
                &["temperature=2", "a=5"],
            ),
            // What is no value is carried on, and not kept.
            (
                format!("feeds/{feed}/data/a"),
                "two\nlines",
                &["temperature=2", "a=5"],
            ),
            (
                format!("feeds/{feed}/data"),
                "no values",
                &["temperature=2", "a=5"],
            ),
            (
                format!("feeds/{feed}/status"),
                "a,6",
                &["temperature=2", "a=5"],
            ),
        ];
        for (topic, payload, expected) in topics {
            // MQTT 5 is told of what is no value.
            let qos = u8::from(!["two\nlines", "no values"].contains(&payload));
            peer.deliver(&topic, qos, payload.as_bytes());
            // It is read at once, long before it is written.
            assert_eq!(device.values(), expected, "{topic}");
        }
        // A clean stop writes what waits.
        peer.deliver(&format!("feeds/{feed}/data/a"), 1, b"last");
        broker.terminate();
        assert!(broker.wait().success());
        broker.restart();
        device.peer = broker.xively();
        assert_eq!(device.values(), ["temperature=2", "a=last"]);
        // What HTTP has answered survives a kill.
        device.ask("PUT", ".csv", "a,http").text_of(200);
        broker.kill_and_restart();
        device.peer = broker.xively();
        assert_eq!(device.values(), ["temperature=2", "a=http"]);
    }
}

#[test]
fn names_inside_a_message_count_as_datastreams() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    broker
        .cli(&["product", "set", &product, "--new-datastreams", "2"])
        .ok();
    let mut device = Device::new(&broker, "S1");
    let feed = device.feed;
    let key = device.key.split(' ').nth(1).expect("a key").to_owned();
    let version = Version::V5;
    let mut peer = broker.login(version, "S1", &key);
    let topic = format!("feeds/{feed}/data");
    peer.deliver(&topic, 1, b"a,1\ntemperature,1");
    peer.send(&version.publish(&topic, 1, 12, b"b,1\nc,1"));
    peer.expect(&version.acknowledgement(crate::support::wire::PUBACK, 12, 0x97));
    peer.deliver(&topic, 1, b"b,2");
    assert_eq!(device.values(), ["temperature=1", "a=1", "b=2"]);
    device.ask("PUT", ".csv", "c,1").denied(403, "Forbidden");
}

#[test]
fn a_device_that_writes_too_often_is_told_so() {
    let limits = ["device_publish_rate = 1", "device_publish_burst = 2"];
    let broker = TestBroker::with_xively_and(&limits);
    broker.fleet(&["S1", "S2"]);
    let (mut device, mut other) = (Device::new(&broker, "S1"), Device::new(&broker, "S2"));
    let refused = (0..100).find_map(|n| {
        let answer = device.ask("PUT", ".csv", &format!("a,{n}"));
        (answer.status != 200).then_some(answer)
    });
    let told = refused.expect("too many").denied(403, "Forbidden");
    assert!(told.contains("too many requests"), "{told}");
    // It may still read, and nobody else is kept waiting.
    assert_eq!(device.values().len(), 1);
    other.ask("PUT", ".csv", "a,1").text_of(200);
}

#[test]
fn a_will_is_an_ordinary_update() {
    let version = Version::V311;
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut device = Device::new(&broker, "S1");
    let key = device.key.split(' ').nth(1).expect("a key").to_owned();
    let topic = format!("/v2/feeds/{}.csv", device.feed);
    let connect = crate::support::Connect {
        will: Some((0, &topic, b"online,no")),
        ..crate::support::Connect::new("S1", &key)
    };
    broker.admitted(version, &connect).vanish();
    eventually("the will is kept", || {
        (device.values() == ["online=no"]).then_some(())
    });
}

#[test]
fn what_is_not_offered_says_so() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut device = Device::new(&broker, "S1");
    let mut peer = broker.xively();
    for line in [
        "GET /v2/feeds",
        "POST /v2/feeds",
        "GET /v2/triggers.json",
        "POST /v2/keys",
        "GET /v2/users/me",
    ] {
        peer.ask(line, &[], b"").denied(501, "Not implemented");
    }
    for rest in [
        "?start=2026-01-01T00:00:00Z",
        "?duration=1day",
        "/datastreams/temperature?interval=0",
    ] {
        device.ask("GET", rest, "").denied(501, "Not implemented");
    }
    let points = "/datastreams/temperature/datapoints/2026-01-01T00:00:00Z";
    device
        .ask("DELETE", points, "")
        .denied(501, "Not implemented");
    let deleted = device.ask("DELETE", "", "");
    deleted.denied(405, "Method not allowed");
    let allow: Vec<&str> = deleted
        .head
        .lines()
        .filter_map(|line| line.strip_prefix("Allow: "))
        .collect();
    assert_eq!(allow, ["GET", "HEAD", "PUT"]);
}

#[test]
fn a_feed_knows_what_its_product_says_of_it() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("boss", "admin", &[]);
    let change = br#"{"product":{"feed_defaults":{"title":"A lamp","private":false,"tags":"red, green","datastreams":[{"id":"temperature","tags":["in"],"unit":{"label":"Celsius","symbol":"C","type":"derivedSI"}}]}}}"#;
    let put = format!("PUT /v2/products/{product}");
    let changed = broker.xively().ask(&put, &[&basic("boss")], change);
    changed.text_of(200);
    let answer = broker.activation(&code("S1"), &[]);
    let key = answer.json()["apikey"].as_str().expect("a key").to_owned();
    let mut device = Device {
        peer: broker.xively(),
        key: format!("X-ApiKey: {key}"),
        feed: answer.json()["feed_id"].as_u64().expect("a number"),
    };
    let read: Value = device.ask("GET", "", "").json();
    assert_eq!(read["title"], "A lamp");
    assert_eq!(read["private"], "false");
    assert_eq!(read["tags"], serde_json::json!(["red", "green"]));
    let expected = serde_json::json!([{
        "id": "temperature",
        "tags": ["in"],
        "unit": {"label": "Celsius", "symbol": "C", "type": "derivedSI"},
    }]);
    assert_eq!(read["datastreams"], expected);
}
