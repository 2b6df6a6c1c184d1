//! Products and devices, asked with a master key.

use serde_json::{Value, json};

use crate::support::http::{HttpPeer, basic};
use crate::support::wire::Version;
use crate::support::{TestBroker, code};

struct Master {
    peer: HttpPeer,
    key: String,
}

impl Master {
    fn new(broker: &TestBroker, name: &str, role: &str) -> Self {
        broker.add_operator(name, role, &[]);
        Self {
            peer: broker.xively(),
            key: basic(name),
        }
    }

    fn ask(&mut self, line: &str, body: &str) -> crate::support::http::Response {
        self.peer.ask(line, &[&self.key], body.as_bytes())
    }

    fn get(&mut self, path: &str) -> Value {
        self.ask(&format!("GET {path}"), "").of(200)
    }
}

#[test]
fn a_product_is_made_read_changed_and_removed() {
    let broker = TestBroker::with_xively();
    let mut boss = Master::new(&broker, "boss", "admin");
    let body = r#"{"product":{"name":"lamp","description":"It shines","feed_defaults":{"title":"A lamp","tags":["red"],"private":true,"datastreams":[{"id":"light","tags":["t"],"unit":{"label":"Lux","symbol":"lx"}}]}}}"#;
    let made = boss.ask("POST /v2/products", body);
    assert_eq!(made.text_of(201), "");
    let place = made.header("location").expect("a place").to_owned();
    let id = place
        .strip_prefix("/v2/products/")
        .expect("its path")
        .to_owned();
    assert_eq!(id.len(), 20);
    let shown = boss.ask(&format!("GET {place}"), "");
    let secret = shown.json()["product"]["secret"]
        .as_str()
        .expect("hex")
        .to_owned();
    assert_eq!(secret.len(), 40);
    assert_eq!(
        shown.text_of(200),
        format!(
            r#"{{"product":{{"name":"lamp","description":"It shines","product_id":"{id}","secret":"{secret}","state":"develop","devices_count":0,"activated_devices_count":0,"feed_defaults":{{"title":"A lamp","tags":["red"],"private":true,"datastreams":[{{"id":"light","tags":["t"],"unit":{{"label":"Lux","symbol":"lx"}}}}]}}}}}}"#
        )
    );
    let list = boss.get("/v2/products.json");
    assert_eq!(list["totalResults"], 1);
    assert_eq!(list["products"][0], shown.json()["product"]);

    let changed = boss.ask(
        &format!("PUT {place}"),
        r#"{"product":{"state":"deploy","name":"Lamp"}}"#,
    );
    assert_eq!(changed.text_of(200), "");
    let product = &boss.get(&place)["product"];
    assert_eq!(product["state"], "deploy");
    assert_eq!(product["name"], "Lamp");
    assert_eq!(
        product["feed_defaults"],
        shown.json()["product"]["feed_defaults"]
    );

    let devices = r#"{"devices":[{"serial":"S1"},{"serial":"S2"}]}"#;
    boss.ask(&format!("POST {place}/devices"), devices)
        .text_of(201);
    assert_eq!(boss.get(&place)["product"]["devices_count"], 2);
    assert_eq!(boss.ask(&format!("DELETE {place}"), "").text_of(200), "");
    boss.ask(&format!("GET {place}"), "")
        .denied(404, "Not found");
    boss.ask(&format!("GET {place}/devices"), "")
        .denied(404, "Not found");
    assert_eq!(
        boss.get("/v2/products"),
        json!({"totalResults": 0, "products": []})
    );
}

#[test]
fn devices_are_registered_shown_renamed_and_removed() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S0"]);
    let mut boss = Master::new(&broker, "boss", "admin");
    let path = format!("/v2/products/{product}/devices");
    let devices = r#"{"devices":[{"serial":"S1"},{"serial":"S+2"},{"serial":"S1"}]}"#;
    let made = boss.ask(&format!("POST {path}"), devices);
    assert_eq!(made.text_of(201), "");
    assert_eq!(made.header("location"), Some(path.as_str()));
    // Who is there already stays as it is.
    let answer = broker.activation(&code("S1"), &[]);
    let credentials = crate::support::Credentials::read(&answer.body);
    boss.ask(&format!("POST {path}"), devices).text_of(201);
    assert!(broker.works("S1", &credentials.key));

    let shown = boss.ask(&format!("GET {path}/S1"), "");
    let device = shown.json()["device"].clone();
    let time = |name: &str| device[name].as_str().expect("a time").to_owned();
    let exact = format!(
        r#"{{"device":{{"serial":"S1","activation_code":"{}","created_at":"{}","activated_at":"{}","feed_id":{}}}}}"#,
        code("S1"),
        time("created_at"),
        time("activated_at"),
        credentials.feed,
    );
    assert_eq!(shown.text_of(200), exact);
    assert_eq!(
        time("created_at").len(),
        "2026-01-01T00:00:00.000000Z".len()
    );
    let fresh = boss.get(&format!("{path}/S%2B2"));
    assert_eq!(fresh["device"]["activated_at"], Value::Null);
    assert_eq!(boss.get(&format!("{path}/S+2")), fresh);

    let told = boss
        .ask(&format!("GET {path}/s1"), "")
        .denied(404, "Not found");
    assert!(told.ends_with("case matters: did you mean S1?"), "{told}");

    let renamed = boss.ask(&format!("PUT {path}/S1"), r#"{"device":{"serial":"T1"}}"#);
    assert_eq!(renamed.text_of(200), "");
    boss.ask(&format!("GET {path}/S1"), "")
        .denied(404, "Not found");
    let device = &boss.get(&format!("{path}/T1"))["device"];
    assert_eq!(device["activation_code"], code("T1"));
    assert_eq!(device["feed_id"], credentials.feed);
    broker.activation(&code("S1"), &[]).denied(404, "Not found");
    let taken = boss.ask(&format!("PUT {path}/T1"), r#"{"device":{"serial":"S+2"}}"#);
    taken.denied(422, "Unprocessable entity");

    assert_eq!(boss.ask(&format!("DELETE {path}/T1"), "").text_of(200), "");
    boss.ask(&format!("DELETE {path}/T1"), "")
        .denied(404, "Not found");
    broker.activation(&code("T1"), &[]).denied(404, "Not found");
}

#[test]
fn paging_and_filters() {
    let broker = TestBroker::with_xively();
    let serials: Vec<String> = (0..65).map(|n| format!("Dev-{n:02}")).collect();
    let all: Vec<&str> = serials.iter().map(String::as_str).collect();
    let product = broker.fleet(&all);
    let other = broker
        .cli(&["product", "create", "other", "--output", "json"])
        .json();
    let other = other["product_id"].as_str().expect("an id").to_owned();
    for serial in ["Dev-07", "Dev-33"] {
        broker.activation(&code(serial), &[]).text_of(200);
    }
    let mut eyes = Master::new(&broker, "eyes", "viewer");
    let mut check = |query: &str, total: u64, per_page: u64, start: u64, expected: &[&str]| {
        let found = eyes.get(&format!("/v2/products/{product}/devices{query}"));
        let numbers =
            ["totalResults", "itemsPerPage", "startIndex"].map(|name| found[name].as_u64());
        assert_eq!(
            numbers,
            [Some(total), Some(per_page), Some(start)],
            "{query}"
        );
        let devices = found["devices"].as_array().expect("a list");
        let found: Vec<&str> = devices
            .iter()
            .filter_map(|one| one["serial"].as_str())
            .collect();
        assert_eq!(found, expected, "{query}");
        assert!(
            devices
                .iter()
                .all(|one| one.get("activation_code").is_none())
        );
    };
    check("", 65, 30, 0, &all[..30]);
    check("?page=1", 65, 30, 0, &all[..30]);
    check("?page=3", 65, 30, 60, &all[60..]);
    check("?page=4", 65, 30, 90, &[]);
    check("?page=2&per_page=20", 65, 20, 20, &all[20..40]);
    check("?per_page=1000", 65, 1000, 0, &all);
    check("?serial=dev-1", 10, 30, 0, &all[10..20]);
    check("?serial=DEV-1&page=2&per_page=4", 10, 4, 4, &all[14..18]);
    check("?serial=nothing", 0, 30, 0, &[]);
    check("?activated=true", 2, 30, 0, &["Dev-07", "Dev-33"]);
    check(
        "?activated=false&serial=3",
        15,
        30,
        0,
        &[
            "Dev-03", "Dev-13", "Dev-23", "Dev-30", "Dev-31", "Dev-32", "Dev-34", "Dev-35",
            "Dev-36", "Dev-37", "Dev-38", "Dev-39", "Dev-43", "Dev-53", "Dev-63",
        ][..],
    );
    check("?activated=all&per_page=2", 65, 2, 0, &all[..2]);
    for wrong in [
        "page=0",
        "page=x",
        "page=-1",
        "per_page=0",
        "per_page=1001",
        "activated=perhaps",
    ] {
        let line = format!("GET /v2/products/{product}/devices?{wrong}");
        eyes.ask(&line, "").denied(422, "Unprocessable entity");
    }
    assert_eq!(
        eyes.get(&format!("/v2/products/{other}/devices"))["totalResults"],
        0
    );
}

#[test]
fn rights_over_products_and_devices() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    let credentials = broker.activate(Version::V5, "S1");
    let path = format!("/v2/products/{product}");
    let mut masters: Vec<Master> = ["viewer", "operator", "admin"]
        .iter()
        .map(|role| Master::new(&broker, role, role))
        .collect();
    let mut device = Master {
        peer: broker.xively(),
        key: format!("X-ApiKey: {}", credentials.key),
    };
    let mut nobody = Master {
        peer: broker.xively(),
        key: "X-Nothing: 1".to_owned(),
    };
    let mut check = |line: &str, body: &str, expected: [u16; 3]| {
        let told = nobody.ask(line, body).denied(401, "Unauthorized");
        assert_eq!(told, "send a key in the header X-ApiKey");
        let told = device.ask(line, body).denied(403, "Forbidden");
        assert!(told.contains("master key"), "{told}");
        let told = masters
            .iter_mut()
            .map(|master| master.ask(line, body).status);
        assert_eq!(told.collect::<Vec<_>>(), expected, "{line}");
    };
    check("GET /v2/products", "", [200, 200, 200]);
    check(&format!("GET {path}"), "", [200, 200, 200]);
    check(&format!("GET {path}/devices"), "", [200, 200, 200]);
    check(&format!("GET {path}/devices/S1"), "", [200, 200, 200]);
    let new = r#"{"devices":[{"serial":"S2"}]}"#;
    check(&format!("POST {path}/devices"), new, [403, 201, 201]);
    check(
        "POST /v2/products",
        r#"{"product":{"name":"x"}}"#,
        [403, 403, 201],
    );
    check(
        &format!("PUT {path}"),
        r#"{"product":{"name":"x"}}"#,
        [403, 403, 200],
    );
    check(
        &format!("PUT {path}/devices/S2"),
        r#"{"device":{"serial":"S3"}}"#,
        [403, 403, 200],
    );
    check(&format!("DELETE {path}/devices/S3"), "", [403, 403, 200]);
    check(&format!("DELETE {path}"), "", [403, 403, 200]);
    // Secrets and codes are for administrators.
    let product = broker.fleet(&["S9"]);
    for master in &mut masters {
        let shown = master.get(&format!("/v2/products/{product}"));
        let device = master.get(&format!("/v2/products/{product}/devices/S9"));
        let secret = shown["product"].get("secret").is_some();
        let code = device["device"].get("activation_code").is_some();
        let admin = master.key == basic("admin");
        assert_eq!((secret, code), (admin, admin));
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let broker = TestBroker::with_xively();
    let product = broker.fleet(&["S1"]);
    let mut boss = Master::new(&broker, "boss", "admin");
    let mut check = |line: &str, body: &str, status: u16, said: &str| {
        let title = match status {
            400 => "Bad request",
            404 => "Not found",
            406 => "Not acceptable",
            _ => "Unprocessable entity",
        };
        let told = boss.ask(line, body).denied(status, title);
        assert!(told.contains(said), "{line} {body}: {told}");
    };
    let products = "POST /v2/products";
    check(products, "", 400, "the body is not JSON");
    check(products, "{}", 422, "\"product\" is missing");
    check(products, r#"{"product":{}}"#, 422, "a product needs a name");
    check(
        products,
        r#"{"product":{"name":""}}"#,
        422,
        "1 to 128 characters",
    );
    check(
        products,
        r#"{"product":{"name":"x","state":"gone"}}"#,
        422,
        "\"gone\"",
    );
    check(
        products,
        r#"{"product":{"name":"x","feed_defaults":{"datastreams":[{"id":"a"},{"id":"a b"}]}}}"#,
        422,
        "datastream 2",
    );
    check(
        products,
        r#"{"product":{"name":"x","feed_defaults":{"datastreams":[{"id":"a"},{"id":"a"}]}}}"#,
        422,
        "named twice",
    );
    let devices = format!("POST /v2/products/{product}/devices");
    check(&devices, r#"{"devices":[]}"#, 422, "there are no devices");
    check(
        &devices,
        r#"{"devices":[{"serial":"S2"},{"serial":"a b"}]}"#,
        422,
        "device 2: a serial is",
    );
    check(
        &devices,
        "[]",
        422,
        "the whole is a list: it has to be an object",
    );
    let unknown = "POST /v2/products/aaaaaaaaaaaaaaaaaaaa/devices";
    check(
        unknown,
        r#"{"devices":[{"serial":"S2"}]}"#,
        404,
        "no product has the id",
    );
    check("GET /v2/products.csv", "", 406, "JSON");
    check(
        &format!("GET /v2/products/{product}/devices/S2"),
        "",
        404,
        "no device is called",
    );
    let all = format!("/v2/products/{product}/devices");
    assert_eq!(boss.get(&all)["totalResults"], 1, "nothing was changed");
}
