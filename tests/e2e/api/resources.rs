//! What is made, changed and looked for.

use serde_json::{Value, json};

use crate::support::http::{HttpPeer, JSON, Response, basic};
use crate::support::{SECRET, TestBroker, Version, code};

struct Boss {
    peer: HttpPeer,
}

impl Boss {
    fn of(broker: &TestBroker) -> Self {
        broker.add_operator("boss", "admin", &[]);
        let peer = broker.http();
        Self { peer }
    }

    fn ask(&mut self, line: &str, body: Value) -> Response {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.peer.ask(line, &[&basic("boss"), JSON], &body)
    }

    fn read(&mut self, path: &str) -> Value {
        self.ask(&format!("GET /api/v1/{path}"), Value::Null)
            .of(200)
    }
}

#[test]
fn a_product_from_its_making_to_its_end() {
    let broker = TestBroker::with_http();
    let mut boss = Boss::of(&broker);
    let wish = json!({
        "name": "lamp", "secret": SECRET, "description": "a lamp", "stage": "deploy",
        "datastreams": [
            {"id": "temperature", "tags": ["a"], "unit": {"label": "Celsius", "symbol": "C"}},
            {"id": "humidity"},
        ],
        "feed_defaults": {"title": "Lamp", "visibility": "public"},
        "reactivation": "always", "new_datastreams": 3,
    });
    let created = boss.ask("POST /api/v1/products", wish);
    let place = created.header("location").expect("a place").to_owned();
    let created = created.of(201);
    assert_eq!(created["secret"], SECRET);
    let product = boss.ask(&format!("GET {place}"), Value::Null).of(200);
    assert_eq!(product, created["product"]);
    assert_eq!(product["datastreams"][0]["unit"]["symbol"], "C");
    assert_eq!(product["datastreams"][1]["tags"], json!([]));
    assert_eq!(product["feed_defaults"]["visibility"], "public");
    assert_eq!(boss.read("products"), json!([product]));

    let change = json!({"stage": "develop", "datastreams": [{"id": "temperature"}]});
    let changed = boss.ask(&format!("PATCH {place}"), change).of(200);
    // What is not named stays, and so does what is known of what is.
    let mut expected = product.clone();
    expected["stage"] = json!("develop");
    expected["datastreams"]
        .as_array_mut()
        .expect("a list")
        .pop();
    assert_eq!(changed, expected);
    let twice = json!({"datastreams": [{"id": "a"}, {"id": "a"}]});
    boss.ask(&format!("PATCH {place}"), twice)
        .problem(400, "invalid");

    let secret = boss.ask(&format!("GET {place}/secret"), Value::Null);
    assert_eq!(secret.header("cache-control"), Some("no-store"));
    assert_eq!(secret.of(200)["secret"], SECRET);
    let id = &product["product_id"];
    let devices = json!({"product_id": id, "serials": ["S1", "S2", "S1"]});
    let registered = boss.ask("POST /api/v1/devices", devices).of(201);
    assert_eq!(registered, json!({"new": 2, "known": 0, "repeated": 1}));
    // What cannot be an address is refused as a whole, written or not.
    for dry_run in [true, false] {
        let board = json!({"serial": "S3", "hardware": {"mac": "dc:a6:32:zz:00:01"}});
        let devices = json!({"product_id": id, "serials": [board], "dry_run": dry_run});
        let refused = boss.ask("POST /api/v1/devices", devices);
        let sentence = refused.problem(400, "invalid");
        assert!(sentence.contains("this is no mac"), "{sentence}");
    }
    let census = boss
        .ask(&format!("GET {place}/census"), Value::Null)
        .of(200);
    assert_eq!(census["registered"], 2);
    let removed = boss.ask(&format!("DELETE {place}"), Value::Null).of(200);
    assert_eq!(removed["devices"], 2);
    boss.ask(&format!("GET {place}"), Value::Null)
        .problem(404, "not-found");
    assert_eq!(boss.read("devices")["devices"], json!([]));
}

#[test]
fn a_device_from_its_serial_to_its_end() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1"]);
    let mut boss = Boss::of(&broker);
    let device = boss.read("devices/S1");
    assert_eq!(device["lifecycle"], "registered");
    let shown = boss.ask("GET /api/v1/devices/S1/code", Value::Null);
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.of(200)["code"], code("S1"));
    broker.activate(Version::V311, "S1");
    for (act, lifecycle) in [
        ("suspend", "suspended"),
        ("suspend", "suspended"),
        ("resume", "issued"),
        ("quarantine", "quarantined"),
        ("release", "issued"),
        ("reset", "registered"),
        ("revoke", "revoked"),
        ("reset-from-revoked", "registered"),
    ] {
        let line = format!("POST /api/v1/devices/S1/{act}");
        let device = boss.ask(&line, Value::Null).of(200);
        assert_eq!(device["lifecycle"], lifecycle, "{act}");
    }
    boss.ask("POST /api/v1/devices/S1/resume", Value::Null)
        .problem(409, "conflict");
    for wrong in ["dance", "suspend?seconds=3", "reopen?seconds=0"] {
        let line = format!("POST /api/v1/devices/S1/{wrong}");
        boss.ask(&line, Value::Null).problem(400, "invalid");
    }
    let explained = boss.read("devices/S1/explain");
    assert_eq!(explained["product"], "lamp");
    assert_eq!(explained["device"]["serial"], "S1");
    assert!(explained["advice"].as_str().is_some_and(|it| it.len() > 10));

    let renamed = boss.ask("PATCH /api/v1/devices/S1", json!({"serial": "T+1"}));
    assert_eq!(renamed.of(200)["feed_id"], device["feed_id"]);
    boss.ask("GET /api/v1/devices/S1", Value::Null)
        .problem(404, "not-found");
    let removed = boss.ask("DELETE /api/v1/devices/T+1", Value::Null).of(200);
    assert_eq!(removed["serial"], "T+1");
    let feed = format!("GET /api/v1/feeds/{}", device["feed_id"]);
    boss.ask(&feed, Value::Null).problem(404, "not-found");
}

#[test]
fn a_serial_of_two_products_is_said_whose_it_is() {
    let broker = TestBroker::with_http();
    let products = [broker.fleet(&["S1"]), broker.other_fleet(&["S1"])];
    let mut boss = Boss::of(&broker);
    let sentence = boss
        .ask("POST /api/v1/devices/S1/suspend", Value::Null)
        .problem(409, "conflict");
    for product in &products {
        assert!(sentence.contains(product), "{sentence}");
        let line = format!("POST /api/v1/devices/S1/suspend?product_id={product}");
        assert_eq!(&boss.ask(&line, Value::Null).of(200)["product_id"], product);
    }
}

#[test]
fn devices_are_looked_for_page_by_page() {
    let broker = TestBroker::with_http();
    let serials: Vec<String> = (0..25).map(|n| format!("Lamp-{n:02}")).collect();
    let refs: Vec<&str> = serials.iter().map(String::as_str).collect();
    let mut products = [
        broker.fleet(&refs),
        broker.other_fleet(&["other-00", "LAMP-99"]),
    ];
    broker.activate(Version::V5, "Lamp-07");
    let mut boss = Boss::of(&broker);
    let mut all = |filter: &str| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = boss.read(&format!("devices?limit=3{filter}{after}"));
            let devices = page["devices"].as_array().expect("a list");
            assert!(devices.len() <= 3);
            found.extend(devices.iter().map(|device| {
                let text = |name: &str| device[name].as_str().expect("text").to_owned();
                (text("product_id"), text("serial"))
            }));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    let everything = all("");
    assert_eq!(everything.len(), 27);
    assert!(everything.is_sorted(), "{everything:?}");
    assert_eq!(all("&serial=lamp").len(), 26);
    assert_eq!(all("&serial=-00").len(), 2);
    assert_eq!(all("&activated=true")[0].1, "Lamp-07");
    assert_eq!(all("&activated=false").len(), 26);
    let first = products[0].clone();
    assert_eq!(all(&format!("&product_id={first}")).len(), 25);
    products.sort();
    let odd = format!("devices?after={}/zzz", products[1]);
    assert_eq!(boss.read(&odd)["devices"], json!([]));
    for wrong in [
        "limit=0",
        "limit=1001",
        "activated=maybe",
        "after=S1",
        "sort=x",
    ] {
        let line = format!("GET /api/v1/devices?{wrong}");
        boss.ask(&line, Value::Null).problem(400, "invalid");
    }
}

#[test]
fn many_are_changed_at_once_and_a_block_has_exceptions() {
    let broker = TestBroker::with_http();
    let product = broker.fleet(&["S1", "S2", "S3"]);
    let mut boss = Boss::of(&broker);
    let act = json!({"act": "suspend", "devices": ["S1", "S2", "nobody"]});
    let outcome = boss.ask("POST /api/v1/acts", act).of(200);
    assert_eq!(
        (&outcome["changed"], &outcome["already"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(outcome["failed"][0]["device"], "nobody");
    let block = format!("/api/v1/products/{product}/block");
    let wrong = json!({"except": ["S3", "nobody"]});
    let sentence = boss
        .ask(&format!("PUT {block}"), wrong)
        .problem(409, "conflict");
    assert!(sentence.contains("nothing is blocked") && sentence.contains("nobody"));
    let shown = boss.read(&format!("products/{product}"));
    assert_eq!(shown["blocked"], false);
    let right = json!({"except": ["S3"]});
    let blocked = boss.ask(&format!("PUT {block}"), right).of(200);
    assert_eq!(blocked["blocked"], true);
    broker.activate(Version::V5, "S3");
    let free = boss.ask(&format!("DELETE {block}"), Value::Null).of(200);
    assert_eq!(free["blocked"], false);
}

#[test]
fn lists_are_bounded() {
    let broker = TestBroker::with_http();
    let mut boss = Boss::of(&broker);
    let devices: Vec<String> = (0..10_001).map(|n| format!("s{n}")).collect();
    let acts = json!({"act": "suspend", "devices": devices});
    boss.ask("POST /api/v1/acts", acts)
        .problem(413, "too-large");
}

#[test]
fn what_a_token_makes_ends_with_it() {
    let broker = TestBroker::with_http();
    let mut boss = Boss::of(&broker);
    let hour = boss
        .ask("POST /api/v1/tokens", json!({"seconds": 3600}))
        .of(201);
    let bearer = format!(
        "Authorization: Bearer {}",
        hour["secret"].as_str().expect("a text")
    );
    for wish in [r#"{}"#, r#"{"seconds":7200}"#] {
        let made = broker
            .http()
            .ask("POST /api/v1/tokens", &[&bearer, JSON], wish.as_bytes());
        let made = made.of(201);
        let end = made["token"]["expires_at"].as_str().map(str::to_owned);
        assert!(
            end.as_deref() <= hour["token"]["expires_at"].as_str(),
            "{made}"
        );
        assert!(end.is_some(), "{made}");
    }
}

#[test]
fn a_token_that_ends_makes_no_operator() {
    let broker = TestBroker::with_http();
    let mut boss = Boss::of(&broker);
    let hour = boss
        .ask("POST /api/v1/tokens", json!({"seconds": 3600}))
        .of(201);
    let bearer = format!(
        "Authorization: Bearer {}",
        hour["secret"].as_str().expect("a text")
    );
    let admin = br#"{"password":"a long enough one","role":"admin"}"#;
    broker
        .http()
        .ask("PUT /api/v1/operators/lasting", &[&bearer, JSON], admin)
        .problem(403, "forbidden");
    let operators = boss.read("operators");
    assert!(!operators.to_string().contains("lasting"), "{operators}");
}

#[test]
fn values_are_kept_all_or_none() {
    let mut broker = TestBroker::with_http();
    broker.fleet(&["S1"]);
    let mut boss = Boss::of(&broker);
    let feed = boss.read("devices/S1")["feed_id"].clone();
    let put = format!("PUT /api/v1/feeds/{feed}/values");
    let values = json!({"values": [
        {"datastream": "temperature", "value": "21.5", "at": "2026-01-01T00:00:00Z"},
        {"datastream": "humidity", "value": "40"},
    ]});
    boss.ask(&put, values).of(204);
    // It would keep all later ones out.
    let ahead = json!({"values": [
        {"datastream": "temperature", "value": "0", "at": "2999-01-01T00:00:00Z"},
    ]});
    boss.ask(&put, ahead).problem(400, "invalid");
    let older = json!({"values": [
        {"datastream": "temperature", "value": "9", "at": "2025-01-01T00:00:00Z"},
    ]});
    boss.ask(&put, older).of(204);
    let wrong = json!({"values": [
        {"datastream": "humidity", "value": "41"},
        {"datastream": "no such name", "value": "1"},
    ]});
    boss.ask(&put, wrong).problem(400, "invalid");
    broker.kill_and_restart();
    boss.peer = broker.http();
    let shown = boss.read(&format!("feeds/{feed}"));
    let values = shown["values"].as_array().expect("a list");
    assert_eq!(values.len(), 2);
    let of = |name: &str| {
        values
            .iter()
            .find(|it| it["datastream"] == name)
            .expect("there")
    };
    assert_eq!(of("temperature")["value"], "21.5");
    assert_eq!(of("temperature")["at"], "2026-01-01T00:00:00.000Z");
    assert_eq!(of("humidity")["value"], "40");
}

#[test]
fn commands_and_configurations_reach_the_device() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1"]);
    let credentials = broker.activate(Version::V5, "S1");
    let (key, feed) = (&credentials.key, credentials.feed);
    let mut device = broker.admitted(Version::V5, &crate::support::Connect::new("S1", key));
    let command = format!("feeds/{feed}/commands/light");
    let config = format!("feeds/{feed}/config");
    device.subscribe(&[(&command, 1), (&config, 1)], &[1, 1]);
    let mut boss = Boss::of(&broker);
    let who = basic("boss");
    let post = format!("POST /api/v1/{command}?expires_in=60");
    let sent = boss.peer.ask(&post, &[&who], b"\x00on").of(202);
    assert_eq!(sent["became"], "waits");
    let got = device.message();
    assert_eq!((&*got.topic, &*got.payload), (&*command, &b"\x00on"[..]));
    let put = format!("PUT /api/v1/{config}");
    boss.peer.ask(&put, &[&who], b"").problem(400, "invalid");
    boss.peer.ask(&put, &[&who], b"rate=5").of(202);
    assert_eq!(&*device.message().payload, b"rate=5");
    let wrong = format!("POST /api/v1/{command}?qos=2");
    boss.peer.ask(&wrong, &[&who], b"x").problem(400, "invalid");
    let large = vec![b'x'; 256 * 1024 + 1];
    boss.peer
        .ask(&post, &[&who], &large)
        .problem(413, "too-large");
    boss.peer
        .ask(&format!("DELETE /api/v1/{config}"), &[&who], b"")
        .of(204);
    let level = format!("POST /api/v1/feeds/{feed}/commands/%23");
    boss.peer.ask(&level, &[&who], b"x").problem(400, "invalid");
}

#[test]
fn bans_operators_and_the_fleet() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1", "S2"]);
    broker.activate(Version::V5, "S1");
    let mut boss = Boss::of(&broker);
    let sentence = boss
        .ask("POST /api/v1/bans", json!({"network": "127.0.0.1"}))
        .problem(409, "conflict");
    assert!(sentence.contains("force"), "{sentence}");
    let wish = json!({"network": "192.0.2.0/24", "seconds": 60, "reason": "noise"});
    let ban = boss.ask("POST /api/v1/bans", wish).of(201);
    assert!(ban["until"].as_str() > ban["at"].as_str(), "{ban}");
    assert_eq!(boss.read("bans"), json!([ban]));
    boss.ask("DELETE /api/v1/bans/192.0.2.0%2F24", Value::Null)
        .of(204);
    assert_eq!(boss.read("bans"), json!([]));

    let panel = json!({"password": "a long enough one", "role": "viewer", "subscribe": ["app/#"]});
    boss.ask("PUT /api/v1/operators/panel", panel).of(204);
    let listed = boss.read("operators");
    let named = |name: &str| {
        let operators = listed.as_array().expect("a list");
        operators.iter().find(|it| it["name"] == name).cloned()
    };
    let panel = named("panel").expect("there");
    assert_eq!(panel["subscribe"], json!(["app/#"]));
    assert!(!listed.to_string().contains("argon2"), "{listed}");
    boss.ask("DELETE /api/v1/operators/panel", Value::Null)
        .of(204);
    let short = json!({"password": "x", "role": "viewer"});
    boss.ask("PUT /api/v1/operators/panel", short)
        .problem(400, "invalid");

    let fleet = boss.read("fleet");
    assert_eq!(fleet["devices"]["issued"], 1);
    assert_eq!(fleet["devices"]["registered"], 1);
    assert_eq!(fleet["connected"]["devices"], 0);
}
