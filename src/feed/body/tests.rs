//! What bodies say.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn id(text: &str) -> DatastreamId {
    DatastreamId::parse(text).expect("valid")
}

/// What was read, each as `id=value`, with its time where that is not now.
fn shown(read: Result<Vec<CurrentValue>, NotRead>) -> Result<String, NotRead> {
    let one = |one: CurrentValue| match one.at {
        NOW => format!("{}={}", one.datastream, one.value),
        at => format!("{}={}@{at}", one.datastream, one.value),
    };
    read.map(|values| values.into_iter().map(one).collect::<Vec<_>>().join(" "))
}

fn check(body: Body<'_>, format: Format, bytes: &str, expected: Result<&str, &str>) {
    let read = shown(body.read(bytes.as_bytes(), format, NOW));
    match (&read, expected) {
        (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{bytes}"),
        (Err(NotRead::Malformed(said)), Err(expected)) => {
            let expected = expected.strip_prefix("400 ");
            assert!(
                expected.is_some_and(|part| said.contains(part)),
                "{bytes}: {said}"
            );
        }
        (Err(NotRead::Invalid(said)), Err(expected)) => {
            let expected = expected.strip_prefix("422 ");
            assert!(
                expected.is_some_and(|part| said.contains(part)),
                "{bytes}: {said}"
            );
        }
        _ => panic!("{bytes}: {read:?}, not {expected:?}"),
    }
}

#[test]
fn a_feed_in_json() {
    let check = |bytes, expected| check(Body::Feed, Format::Json, bytes, expected);
    check(
        r#"{"version":"1.0.0","datastreams":[{"id":"0","current_value":"21.50"},{"id":"b","current_value":-1e2}]}"#,
        Ok("0=21.50 b=-1e2"),
    );
    check(
        "\u{feff} {\"datastreams\":[{\"id\":7,\"current_value\":1234567890123456789012345678901234567890.10}]}",
        Ok("7=1234567890123456789012345678901234567890.10"),
    );
    check(
        r#"{"title":"x","location":{"lat":1},"datastreams":[{"id":"a","current_value":"é\"","at":"2025-12-31T00:00:00Z","unit":{},"max_value":"9"}]}"#,
        Ok("a=é\"@2025-12-31T00:00:00.000Z"),
    );
    check(
        r#"{"datastreams":[{"id":"a","datapoints":[{"at":"2025-12-31T00:00:02Z","value":2},{"at":"2025-12-31T00:00:01Z","value":"1"}]}]}"#,
        Ok("a=2@2025-12-31T00:00:02.000Z"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"9","datapoints":[{"at":"2025-12-31T00:00:02Z","value":2}]},{"id":"b","current_value":null}]}"#,
        Ok("a=9"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":""}]}"#,
        Ok("a="),
    );

    check("", Err("400 the body is not JSON: EOF"));
    check("{", Err("400 line 1 column 1"));
    check("0,21.5", Err("400 the body is not JSON"));
    check("[]", Err("422 the body is not an object"));
    check(
        r#"[[{"id":"a","current_value":"1"}]]"#,
        Err("422 the body is not an object"),
    );
    check(
        "{}",
        Err(r#"422 there is no value: write {"version":"1.0.0""#),
    );
    check(r#"{"title":"x"}"#, Err("422 there is no value"));
    check(
        r#"{"datastreams":{}}"#,
        Err("422 invalid type: map, expected a sequence"),
    );
    check(
        r#"{"datastreams":[["a","1"]]}"#,
        Err("422 datastream 1 is not an object"),
    );
    check(
        r#"{"datastreams":[{"id":"a"}]}"#,
        Err("422 there is no value"),
    );
    check(
        r#"{"datastreams":[{"current_value":"1"}]}"#,
        Err(r#"422 datastream 1 has no "id""#),
    );
    check(
        r#"{"datastreams":[{"id":"a b","current_value":"1"}]}"#,
        Err(r#"422 datastream 1: "a b" is no id"#),
    );
    check(
        r#"{"datastreams":[{"id":true,"current_value":"1"}]}"#,
        Err("422 datastream 1: id is neither"),
    );
    check(
        r#"{"datastreams":[{"id":"a","value":"1"}]}"#,
        Err(r#"422 datastream 1 (a): a datastream has no "value"; call it "current_value""#),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":true}]}"#,
        Err("422 datastream 1 (a): the value is neither a text nor a number"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":{}}]}"#,
        Err("422 the value is neither"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"a\nb"}]}"#,
        Err("422 datastream 1 (a): a value is at most 1024 bytes"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"1","at":"noon"}]}"#,
        Err(r#"422 datastream 1 (a): "noon": a time is written"#),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"1","at":"2026-02-01T00:00:00Z"}]}"#,
        Err("422 ahead of the server's clock"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"1"},{"id":"a","current_value":"2"}]}"#,
        Err("422 datastream 2 (a) is named twice"),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"1"},{"id":"a"}]}"#,
        Err("422 datastream 2 (a) is named twice"),
    );
    check(
        r#"{"datastreams":[{"id":"a","datapoints":[{"value":"1"}]}]}"#,
        Err(r#"422 datastream 1 (a), datapoint 1 needs both "at" and "value""#),
    );
    check(
        r#"{"datastreams":[{"id":"a","current_value":"1","current_value":"2"}]}"#,
        Err("422 duplicate field"),
    );
}

#[test]
fn a_feed_in_lines() {
    let check = |bytes, expected| check(Body::Feed, Format::Csv, bytes, expected);
    check("0,21.5", Ok("0=21.5"));
    check("1,123\r\n2,456\r\n", Ok("1=123 2=456"));
    check(
        "\u{feff}a, 1 \n\n  \nb,\"on, or \"\"off\"\"\"\n",
        Ok("a=1 b=on, or \"off\""),
    );
    check(
        "a,2025-12-31T00:00:00Z,1",
        Ok("a=1@2025-12-31T00:00:00.000Z"),
    );
    check(
        "a,2025-12-31T00:00:02Z,2\na,2025-12-31T00:00:01Z,1\nb,5",
        Ok("a=2@2025-12-31T00:00:02.000Z b=5"),
    );
    check("a,", Ok("a="));

    check("", Err("422 the body has no values: write id,value"));
    check("\r\n\r\n", Err("422 the body has no values"));
    check("21.5", Err("400 line 1 has 1 fields: write id,value"));
    check("a,1\nb,1,2,3", Err("400 line 2 has 4 fields"));
    check("a,1\n\na b,2", Err(r#"422 line 3: "a b" is no id"#));
    check("a,noon,1", Err(r#"422 line 1: "noon": a time"#));
    check("a,1\na,2", Err("422 line 2 names datastream a again"));
    check(
        "a,2025-12-31T00:00:00Z,1\na,2",
        Err("422 line 2 names datastream a again"),
    );
    check("a,\"1\n2\"", Err("422 line 1: a value is"));
    check(r#"{"datastreams":[]}"#, Err("400 line 1 has 1 fields"));
}

#[test]
fn one_datastream() {
    let temperature = id("temperature");
    let body = Body::Datastream(&temperature);
    let lines = |bytes, expected| check(body, Format::Csv, bytes, expected);
    lines("21.5", Ok("temperature=21.5"));
    lines("21.5\r\n", Ok("temperature=21.5"));
    lines(
        "2025-12-31T00:00:00Z,21.5",
        Ok("temperature=21.5@2025-12-31T00:00:00.000Z"),
    );
    lines("on,off", Err(r#"422 line 1: "on": a time"#));
    lines("1\n2", Err("422 line 2 is one value too many"));
    lines(
        "temperature,2025-12-31T00:00:00Z,1",
        Err("400 write value or timestamp,value"),
    );
    let object = |bytes, expected| check(body, Format::Json, bytes, expected);
    object(r#"{"current_value":21.5}"#, Ok("temperature=21.5"));
    object(
        r#"{"id":"temperature","version":"1.0.0","current_value":"x"}"#,
        Ok("temperature=x"),
    );
    object(
        r#"{"id":"other","current_value":"x"}"#,
        Err(r#"422 "id" is not temperature"#),
    );
    object(r#"{"tags":[]}"#, Err("422 there is no value"));
    object(r#"{"value":"1"}"#, Err(r#"422 call it "current_value""#));
    object("21.5", Err("422 the body is not"));
}

#[test]
fn datapoints() {
    let temperature = id("temperature");
    let body = Body::Datapoints(&temperature);
    check(
        body,
        Format::Csv,
        "2025-12-31T00:00:00Z,1\n2025-12-31T00:00:01Z,2",
        Ok("temperature=2@2025-12-31T00:00:01.000Z"),
    );
    check(
        body,
        Format::Csv,
        "1",
        Err("400 write timestamp,value on each line"),
    );
    check(
        body,
        Format::Json,
        r#"{"datapoints":[{"at":"2025-12-31T00:00:00Z","value":"1"}]}"#,
        Ok("temperature=1@2025-12-31T00:00:00.000Z"),
    );
    check(
        body,
        Format::Json,
        r#"{"datapoints":[]}"#,
        Err("422 there are no values"),
    );
}

#[test]
fn no_body_names_too_much() {
    let lines = |count| (0..count).map(|n| format!("s{n},1\n")).collect::<String>();
    assert!(
        Body::Feed
            .read(lines(MOST).as_bytes(), Format::Csv, NOW)
            .is_ok()
    );
    let long = lines(MOST + 1);
    check(
        Body::Feed,
        Format::Csv,
        &long,
        Err("422 more than 500 datastreams"),
    );
    let streams = |count: usize| {
        let one = |n| format!(r#"{{"id":"s{n}","current_value":1}}"#);
        let all: Vec<String> = (0..count).map(one).collect();
        format!(r#"{{"datastreams":[{}]}}"#, all.join(","))
    };
    assert!(
        Body::Feed
            .read(streams(MOST).as_bytes(), Format::Json, NOW)
            .is_ok()
    );
    check(
        Body::Feed,
        Format::Json,
        &streams(MOST + 1),
        Err("422 more than 500 datastreams"),
    );
}

#[test]
fn formats_are_told_apart() {
    assert_eq!(Format::guess(b" \r\n{\"a\":1}"), Format::Json);
    assert_eq!(Format::guess(b"\xef\xbb\xbf{}"), Format::Json);
    assert_eq!(Format::guess(b"a,1"), Format::Csv);
    assert_eq!(Format::guess(b""), Format::Csv);
}

#[test]
fn errors_quote_little() {
    let long = format!("{},1", "x y".repeat(1000));
    let Err(NotRead::Invalid(said)) = Body::Feed.read(long.as_bytes(), Format::Csv, NOW) else {
        panic!("no id");
    };
    assert!(said.len() < 200, "{said}");
}

proptest! {
    /// Whatever comes: something valid, or a sentence.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let name = id("x");
        for format in [Format::Json, Format::Csv] {
            for body in [Body::Feed, Body::Datastream(&name), Body::Datapoints(&name)] {
                match body.read(&bytes, format, NOW) {
                    Ok(values) => prop_assert!(!values.is_empty()),
                    Err(error) => prop_assert!((1..400).contains(&error.to_string().len())),
                }
            }
        }
    }

    /// Both formats say the same, and it reads back as it was meant.
    #[test]
    fn both_formats_agree(values in prop::collection::btree_map("[a-z+_é-][a-z+._é-]{0,7}", "[ -~é]{0,20}", 1..5)) {
        let object = serde_json::json!({
            "datastreams": values.iter()
                .map(|(id, value)| serde_json::json!({"id": id, "current_value": value.trim()}))
                .collect::<Vec<_>>(),
        });
        let line = |(id, value): (&String, &String)| format!("{id},\"{}\"\r\n", value.replace('"', "\"\""));
        let lines: String = values.iter().map(line).collect();
        let expected: Vec<CurrentValue> = values.iter()
            .map(|(name, value)| CurrentValue {
                datastream: id(name),
                value: Value::parse(value.trim()).expect("valid"),
                at: NOW,
            })
            .collect();
        let json = Body::Feed.read(object.to_string().as_bytes(), Format::Json, NOW);
        prop_assert_eq!(json.as_ref(), Ok(&expected));
        let csv = Body::Feed.read(lines.as_bytes(), Format::Csv, NOW);
        prop_assert_eq!(csv.as_ref(), Ok(&expected));
    }
}
