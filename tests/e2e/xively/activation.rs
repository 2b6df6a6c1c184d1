//! Codes for credentials, to the byte.

use crate::support::http::{basic, request};
use crate::support::wire::Version;
use crate::support::{Connect, Credentials, TestBroker, code};

/// An answer whose headers are exactly these beside the date.
fn check_headers(said: &str, expected: &[&str]) -> String {
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.starts_with("Date: "))
        .collect();
    lines[1..].sort_unstable();
    assert_eq!(lines, expected, "{said}");
    body.to_owned()
}

#[test]
fn plain_http_1_0_with_a_host_is_enough() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let ask = |ending: &str| {
        let code = code("S1");
        let request =
            format!("GET /v2/devices/{code}/activate{ending} HTTP/1.0\r\nHost: api\r\n\r\n");
        broker.says(&request)
    };
    let said = ask("");
    let (_, body) = said.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}", body.len());
    let json = "Content-Type: application/json; charset=utf-8";
    let body = check_headers(
        &said,
        &["HTTP/1.0 200 OK", "Cache-Control: no-store", &length, json],
    );
    let first = Credentials::read(body.as_bytes());
    assert!(body.len() < 256, "it fits the buffer of a client");

    // In CSV: one line without an end.
    let said = ask(".csv");
    let (_, body) = said.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}", body.len());
    let csv = "Content-Type: text/csv; charset=utf-8";
    let body = check_headers(
        &said,
        &["HTTP/1.0 200 OK", "Cache-Control: no-store", &length, csv],
    );
    let fields: Vec<&str> = body.split(',').collect();
    let feed = first.feed.to_string();
    assert_eq!(&fields[1..], [&feed, "2", "temperature", "humidity"]);
    assert_eq!(fields[0].len(), 48);

    // Once the key was used: 403, and the same two fields as every error.
    assert!(broker.works("S1", fields[0]));
    let said = ask("");
    let json = "Content-Type: application/json; charset=utf-8";
    let length = "Content-Length: 71";
    let forbidden = [
        "HTTP/1.0 403 Forbidden",
        "Cache-Control: no-store",
        length,
        json,
    ];
    let body = check_headers(&said, &forbidden);
    assert_eq!(
        body,
        r#"{"title":"Forbidden","errors":"This device has already been activated"}"#
    );
    let unknown = format!(
        "GET /v2/devices/{}/activate HTTP/1.0\r\nHost: api\r\n\r\n",
        "0".repeat(40)
    );
    let said = broker.says(&unknown);
    let not_found = [
        "HTTP/1.0 404 Not Found",
        "Cache-Control: no-store",
        "Content-Length: 67",
        json,
    ];
    let body = check_headers(&said, &not_found);
    assert_eq!(
        body,
        r#"{"title":"Not found","errors":"no device has this activation code"}"#
    );
}

/// What the firmware that shipped does: split the whole answer, head included,
/// at `: , " newline`, and take what follows two words.
#[test]
fn the_tokeniser_of_shipped_firmware_finds_its_words() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let code = code("S1");
    for request in [
        format!("GET /v2/devices/{code}/activate HTTP/1.0\r\nHost: api\r\n\r\n"),
        format!(
            "GET /v2/devices/{code}/activate HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /v2/devices/{code}/activate.json HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"
        ),
    ] {
        let said = broker.says(&request);
        let tokens: Vec<&str> = said
            .split([':', ',', '"', '\n'])
            .filter(|token| !token.is_empty())
            .collect();
        let after = |word| {
            let at = tokens.iter().position(|token| *token == word);
            tokens[at.expect("the word") + 1]
        };
        let (key, feed) = (after("apikey"), after("feed_id"));
        assert_eq!(key.len(), 48);
        assert!(feed.parse::<i32>().is_ok_and(|feed| feed > 0), "{feed}");
        assert!(!said.to_ascii_lowercase().contains("chunked"), "{said}");
        assert!(broker.works("S1", key));
        broker.cli(&["device", "reset", "S1"]).ok();
    }
}

/// The client that reads CSV takes the text after the last line break.
#[test]
fn the_text_after_the_last_line_break_is_the_answer() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    for wanted in [
        format!(
            "GET /v2/devices/{}/activate.csv HTTP/1.1\r\nHost: api\r\n",
            code("S1")
        ),
        format!(
            "GET /v2/devices/{}/activate HTTP/1.1\r\nHost: api\r\nAccept: text/csv\r\n",
            code("S1").to_uppercase()
        ),
    ] {
        let said = broker.says(&format!("{wanted}Connection: close\r\n\r\n"));
        let last = said.rsplit('\n').next().expect("text");
        let (key, rest) = last.split_once(',').expect("fields");
        assert!(key.len() > 32, "{last}");
        assert!(rest.ends_with(",2,temperature,humidity"), "{last}");
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    }
}

#[test]
fn formats_come_by_the_path_or_by_what_is_accepted() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let path = format!("/v2/devices/{}/activate", code("S1"));
    let mut peer = broker.xively();
    let mut check = |path: &str, accept: &[&str], expected: Option<&str>| {
        let answer = peer.ask(&format!("GET {path}"), accept, b"");
        match expected {
            Some(kind) => {
                answer.text_of(200);
                let expected = format!("{kind}; charset=utf-8");
                assert_eq!(answer.header("content-type"), Some(expected.as_str()));
            }
            None => {
                answer.denied(406, "Not acceptable");
            }
        }
    };
    let (json, csv) = (Some("application/json"), Some("text/csv"));
    check(&path, &[], json);
    check(&path, &["Accept: */*"], json);
    check(&path, &["Accept: text/csv"], csv);
    check(&path, &["Accept: application/xml"], None);
    check(&format!("{path}.csv"), &["Accept: application/json"], csv);
    check(&format!("{path}.json"), &["Accept: text/csv"], json);
    check(&format!("{path}.xml"), &[], None);
    check(&format!("{path}/"), &[], json);
}

#[test]
fn other_methods_and_paths() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let code = code("S1");
    let mut peer = broker.xively();
    let post = peer.ask(&format!("POST /v2/devices/{code}/activate"), &[], b"");
    post.denied(405, "Method not allowed");
    assert_eq!(post.header("allow"), Some("GET"));
    // HEAD would issue a key that nobody sees.
    let head = format!("HEAD /v2/devices/{code}/activate HTTP/1.0\r\n\r\n");
    let said = broker.says(&head);
    assert!(said.starts_with("HTTP/1.0 405 "), "{said}");
    assert_eq!(broker.lifecycle("S1"), "registered");
    for nothing in [
        format!("/v2/devices//{code}/activate"),
        format!("/v2/devices/{code}"),
        "/v2".to_owned(),
        "/v2/".to_owned(),
        "/v2/feed/1".to_owned(),
    ] {
        let answer = peer.ask(&format!("GET {nothing}"), &[], b"");
        answer.denied(404, "Not found");
    }
}

#[test]
fn a_lost_answer_costs_nothing() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let code = code("S1");
    let lost = Credentials::read(&broker.activation(&code, &[]).body);
    let heard = Credentials::read(&broker.activation(&code, &[]).body);
    assert_eq!(lost.feed, heard.feed);
    assert_ne!(lost.key, heard.key, "a key is told once");
    assert!(!broker.works("S1", &lost.key));
    assert!(broker.works("S1", &heard.key));
    broker.activation(&code, &[]).denied(403, "Forbidden");
}

#[test]
fn a_device_activates_on_one_door_and_confirms_on_the_other() {
    for version in Version::ALL {
        let broker = TestBroker::with_xively();
        broker.fleet(&["S1", "S2"]);
        let first = Credentials::read(&broker.activation(&code("S1"), &[]).body);
        assert_eq!(broker.lifecycle("S1"), "issued");
        broker.login(version, "S1", &first.key).expect_alive();
        assert_eq!(broker.lifecycle("S1"), "active");
        broker.activation(&code("S1"), &[]).denied(403, "Forbidden");

        let second = broker.activate(version, "S2");
        assert_eq!(broker.lifecycle("S2"), "issued");
        let key = format!("X-ApiKey: {}", second.key);
        let feed = format!("GET /v2/feeds/{}", second.feed);
        broker.xively().ask(&feed, &[&key], b"").text_of(200);
        assert_eq!(broker.lifecycle("S2"), "active");
        let spent = broker.told(version, &Connect::new("S2", &code("S2")));
        let reason =
            "the device is already active: its code was used, and the key made with it too";
        let no = if version.is_5() { 0x87 } else { 5 };
        assert_eq!(spent, Some(version.connack_because(no, reason)));
    }
}

#[test]
fn a_key_that_comes_along_is_told_again_if_it_is_the_devices_own() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1", "S2"]);
    let issued = broker.activation(&code("S1"), &[]);
    let own = Credentials::read(&issued.body);
    let other = broker.activate(Version::V5, "S2");
    assert!(broker.works("S2", &other.key));
    let header = |key: &str| format!("X-ApiKey: {key}");
    // Its own, which this confirms, under both names of the header and in the query.
    for headers in [header(&own.key), format!("X-PachubeApiKey: {}", own.key)] {
        let again = broker.activation(&code("S1"), &[&headers]);
        assert_eq!(again.text_of(200), issued.text());
    }
    let line = format!("GET /v2/devices/{}/activate?key={}", code("S1"), own.key);
    assert_eq!(
        broker.xively().ask(&line, &[], b"").text_of(200),
        issued.text()
    );
    assert_eq!(broker.lifecycle("S1"), "active");
    // Another's, one that nobody has, and what is no key count for nothing.
    for key in [&other.key, &"A".repeat(48), &"x".to_owned(), &String::new()] {
        let answer = broker.activation(&code("S1"), &[&header(key)]);
        answer.denied(403, "Forbidden");
    }
    assert!(broker.works("S1", &own.key));
    assert!(broker.works("S2", &other.key));
}

#[test]
fn a_master_key_has_a_new_key_issued_and_the_old_one_stays_until_it_is_used() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("ops", "admin", &[]);
    broker.add_operator("hands", "operator", &[]);
    broker.add_operator("eyes", "viewer", &[]);
    let old = broker.activate(Version::V5, "S1");
    assert!(broker.works("S1", &old.key));
    let by_code = broker.activation(&code("S1"), &[&basic("ops")]);
    let new = Credentials::read(by_code.text_of(200).as_bytes());
    assert_eq!(new.feed, old.feed);
    assert!(
        broker.works("S1", &old.key),
        "a working device is left alone"
    );
    let path = format!("GET /v2/products/{product}/devices/S1/activate");
    let mut peer = broker.xively();
    let by_name = peer.ask(&path, &[&basic("ops")], b"");
    let newer = Credentials::read(by_name.text_of(200).as_bytes());
    assert!(!broker.works("S1", &new.key), "it was replaced");
    assert!(broker.works("S1", &newer.key));
    assert!(!broker.works("S1", &old.key), "the newer one was used");

    // The role operator takes no active device over, by code or by name.
    broker
        .activation(&code("S1"), &[&basic("hands")])
        .denied(403, "Forbidden");
    peer.ask(&path, &[&basic("hands")], b"")
        .denied(403, "Forbidden");
    // A viewer has a code's rights and no more; nobody has none.
    broker
        .activation(&code("S1"), &[&basic("eyes")])
        .denied(403, "Forbidden");
    peer.ask(&path, &[&basic("eyes")], b"")
        .denied(403, "Forbidden");
    peer.ask(&path, &[], b"").denied(401, "Unauthorized");
    let key = format!("X-ApiKey: {}", newer.key);
    peer.ask(&path, &[&key], b"").denied(403, "Forbidden");
    let wrong = format!("GET /v2/products/{product}/devices/s1/activate");
    let told = peer
        .ask(&wrong, &[&basic("ops")], b"")
        .denied(404, "Not found");
    assert!(told.ends_with("case matters: did you mean S1?"), "{told}");
}

#[test]
fn a_token_is_a_master_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let listeners = ["--mqtt", "--http", "--xively"].map(|name| [name, "127.0.0.1:0"]);
    let names = ["mqtt", "http", "xively"];
    let broker = TestBroker::launch(directory, "data", &names, listeners.as_flattened());
    let product = broker.fleet(&["S1"]);
    broker.add_operator("ops", "admin", &[]);
    let wanted = [&basic("ops"), crate::support::http::JSON];
    let made = broker
        .http()
        .ask("POST /api/v1/tokens", &wanted, b"{}")
        .of(201);
    let token = made["secret"].as_str().expect("text").to_owned();
    assert_eq!(token.len(), 48);
    let key = format!("X-ApiKey: {token}");
    let old = broker.activate(Version::V5, "S1");
    assert!(broker.works("S1", &old.key));
    let new = broker.activation(&code("S1"), &[&key]).text_of(200);
    assert!(broker.works("S1", &Credentials::read(new.as_bytes()).key));
    for line in [
        "GET /v2/products".to_owned(),
        format!("GET /v2/products?key={token}"),
        format!("GET /v2/products/{product}/devices/S1/activate"),
    ] {
        let headers: &[&str] = if line.contains('?') { &[] } else { &[&key] };
        broker.xively().ask(&line, headers, b"").text_of(200);
    }
    // A token that nobody has is no key that counts for nothing.
    let nobodys = format!("X-ApiKey: fwo_{}", "A".repeat(44));
    broker
        .activation(&code("S1"), &[&nobodys])
        .denied(401, "Unauthorized");
}

#[test]
fn a_reset_has_the_code_work_again() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let old = Credentials::read(&broker.activation(&code("S1"), &[]).body);
    assert!(broker.works("S1", &old.key));
    broker.cli(&["device", "reset", "S1"]).ok();
    let new = Credentials::read(&broker.activation(&code("S1"), &[]).body);
    assert_eq!(old.feed, new.feed);
    let feed = format!("GET /v2/feeds/{}", new.feed);
    let ask = |key: &str| {
        broker
            .xively()
            .ask(&feed, &[&format!("X-ApiKey: {key}")], b"")
    };
    ask(&old.key).denied(401, "Unauthorized");
    ask(&new.key).text_of(200);
    broker.cli(&["device", "suspend", "S1"]).ok();
    let told = ask(&new.key).denied(403, "Forbidden");
    assert_eq!(told, "an operator suspended this device");
    let told = broker.activation(&code("S1"), &[]).denied(403, "Forbidden");
    assert_eq!(told, "an operator suspended this device");
}

#[test]
fn operators_see_it_as_they_see_mqtt() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let credentials = Credentials::read(&broker.activation(&code("S1"), &[]).body);
    let key = format!("X-ApiKey: {}", credentials.key);
    let feed = format!("GET /v2/feeds/{}", credentials.feed);
    broker.xively().ask(&feed, &[&key], b"").text_of(200);
    broker.activation(&code("S1"), &[]).denied(403, "Forbidden");
    let events = broker.events();
    let kinds: Vec<&str> = events
        .iter()
        .filter(|event| event["serial"] == "S1")
        .map(|event| event["event"].as_str().expect("a word"))
        .collect();
    let expected = [
        "device_registered",
        "activation_issued",
        "activation_confirmed",
        "activation_refused",
    ];
    assert_eq!(kinds, expected, "{events:?}");
    let explained = broker.cli(&["device", "explain", "S1"]).ok();
    assert!(explained.contains("code_spent"), "{explained}");
}

#[test]
fn a_source_that_fails_too_often_waits_and_a_right_code_never_does() {
    let broker = TestBroker::with_xively_and(&["failures_per_minute = 1", "failures_burst = 1"]);
    broker.fleet(&["S1"]);
    let begun = std::time::Instant::now();
    let mut quick = 0;
    for n in 0..3 {
        let before = begun.elapsed();
        broker
            .activation(&format!("{n:040x}"), &[])
            .denied(404, "Not found");
        quick += u32::from((begun.elapsed() - before).as_secs() < 2);
    }
    assert!(
        (1..3).contains(&quick),
        "{quick} failures were answered at once"
    );
    let before = begun.elapsed();
    broker.activation(&code("S1"), &[]).text_of(200);
    assert!((begun.elapsed() - before).as_secs() < 2);
}

#[test]
fn a_ban_ends_a_connection_that_is_open() {
    let broker = TestBroker::with_xively();
    broker.fleet(&["S1"]);
    let mut peer = broker.xively();
    let ask = format!("GET /v2/devices/{}/activate", code("S1"));
    peer.ask("GET /v2/devices/0/activate", &[], b"")
        .denied(404, "Not found");
    broker.cli(&["ban", "add", "127.0.0.1", "--force"]).ok();
    assert_eq!(peer.rest(), b"");
    let mut peer = broker.xively();
    drop(peer.offer(&request(&ask, &[], b"")));
    assert_eq!(peer.rest(), b"");
    assert_eq!(broker.lifecycle("S1"), "registered");
}
