//! Who may ask what: every route there is, in a table.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::http::{HttpPeer, JSON, basic};
use crate::support::{SECRET, TestBroker};

/// What it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Takes {
    Nothing,
    Verifier,
    Viewer,
    Operator,
    Admin,
    Device,
}
use Takes::{Admin, Device, Nothing, Operator, Verifier, Viewer};

/// Each route, what it takes, a request that is understood, and how that is
/// answered where it is carried out: for things that are not there, mostly.
const ROUTES: &[(&str, &str, Takes, &str, u16)] = &[
    ("GET", "/api/v1/products", Viewer, "", 200),
    ("POST", "/api/v1/products", Admin, r#"{"name":"x"}"#, 201),
    ("GET", "/api/v1/products/{product_id}", Viewer, "", 404),
    ("PATCH", "/api/v1/products/{product_id}", Admin, "{}", 404),
    ("DELETE", "/api/v1/products/{product_id}", Admin, "", 404),
    (
        "GET",
        "/api/v1/products/{product_id}/secret",
        Admin,
        "",
        404,
    ),
    (
        "POST",
        "/api/v1/products/{product_id}/secrets",
        Admin,
        "{}",
        404,
    ),
    (
        "DELETE",
        "/api/v1/products/{product_id}/secrets/{generation}",
        Admin,
        "",
        404,
    ),
    (
        "GET",
        "/api/v1/products/{product_id}/pepper",
        Admin,
        "",
        404,
    ),
    (
        "GET",
        "/api/v1/products/{product_id}/census",
        Viewer,
        "",
        404,
    ),
    (
        "PUT",
        "/api/v1/products/{product_id}/block",
        Admin,
        "{}",
        404,
    ),
    (
        "DELETE",
        "/api/v1/products/{product_id}/block",
        Admin,
        "",
        404,
    ),
    ("GET", "/api/v1/products/{product_id}/codes", Admin, "", 404),
    ("GET", "/api/v1/devices", Viewer, "", 200),
    ("POST", "/api/v1/imports", Operator, IMPORT, 404),
    ("POST", "/api/v1/devices", Operator, DEVICES, 404),
    ("GET", "/api/v1/devices/{serial}", Viewer, "", 404),
    (
        "PATCH",
        "/api/v1/devices/{serial}",
        Admin,
        r#"{"serial":"b"}"#,
        404,
    ),
    ("DELETE", "/api/v1/devices/{serial}", Admin, "", 404),
    (
        "PUT",
        "/api/v1/devices/{serial}/label",
        Operator,
        r#"{"label":"x"}"#,
        404,
    ),
    ("POST", "/api/v1/devices/{serial}/{act}", Operator, "", 404),
    ("GET", "/api/v1/devices/{serial}/code", Admin, "", 404),
    ("GET", "/api/v1/devices/{serial}/key", Admin, "", 404),
    ("GET", "/api/v1/devices/{serial}/explain", Viewer, "", 404),
    (
        "POST",
        "/api/v1/acts",
        Operator,
        r#"{"act":"suspend","devices":[]}"#,
        200,
    ),
    ("GET", "/api/v1/feeds/{feed_id}", Viewer, "", 404),
    (
        "PUT",
        "/api/v1/feeds/{feed_id}/values",
        Operator,
        r#"{"values":[]}"#,
        404,
    ),
    (
        "POST",
        "/api/v1/feeds/{feed_id}/commands/{name}",
        Operator,
        "on",
        404,
    ),
    (
        "PUT",
        "/api/v1/feeds/{feed_id}/config",
        Operator,
        "x=1",
        404,
    ),
    (
        "DELETE",
        "/api/v1/feeds/{feed_id}/config",
        Operator,
        "",
        404,
    ),
    ("GET", "/api/v1/events", Viewer, "", 200),
    ("GET", "/api/v1/operators", Admin, "", 200),
    ("PUT", "/api/v1/operators/{name}", Admin, OPERATOR, 204),
    ("DELETE", "/api/v1/operators/{name}", Admin, "", 204),
    ("GET", "/api/v1/tokens", Viewer, "", 200),
    ("POST", "/api/v1/tokens", Viewer, "{}", 201),
    ("DELETE", "/api/v1/tokens/{id}", Viewer, "", 404),
    ("GET", "/api/v1/bans", Viewer, "", 200),
    (
        "POST",
        "/api/v1/bans",
        Operator,
        r#"{"network":"192.0.2.1"}"#,
        201,
    ),
    ("DELETE", "/api/v1/bans/{network}", Operator, "", 404),
    ("GET", "/api/v1/fleet", Viewer, "", 200),
    ("GET", "/api/v1/version", Viewer, "", 200),
    ("GET", "/api/v1/licence-key", Nothing, "", 200),
    ("GET", "/api/v1/time", Nothing, "", 200),
    ("POST", "/api/v1/verify", Verifier, REQUEST, 200),
    ("POST", "/api/v1/provision", Device, "{}", 200),
];

const DEVICES: &str = r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa","serials":["S1"]}"#;
const IMPORT: &str = r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa","new":1,"known":0,"rejected":0}"#;
const REQUEST: &str =
    r#"{"token":"a.b.c","audience":"shop","method":"GET","target":"/","body":""}"#;
const OPERATOR: &str = r#"{"password":"a long enough one","role":"viewer"}"#;

/// An address with something in the place of each part.
fn filled(route: &str) -> String {
    [
        ("{product_id}", "aaaaaaaaaaaaaaaaaaaa"),
        ("{generation}", "1"),
        ("{serial}", "nobody"),
        ("{act}", "suspend"),
        ("{feed_id}", "77"),
        ("operators/{name}", "operators/someone"),
        ("{name}", "switch"),
        ("{id}", "aaaaaaaaaa"),
        ("{network}", "198.51.100.0%2F24"),
    ]
    .iter()
    .fold(route.to_owned(), |path, (part, value)| {
        path.replace(part, value)
    })
}

/// Asks as somebody, and returns the status.
fn ask(peer: &mut HttpPeer, method: &str, route: &str, body: &str, who: Option<&str>) -> u16 {
    let mut headers: Vec<&str> = who.into_iter().collect();
    if body.starts_with('{') {
        headers.push(JSON);
    }
    let line = format!("{method} {}", filled(route));
    peer.ask(&line, &headers, body.as_bytes()).status
}

#[test]
fn each_route_takes_what_the_table_says() {
    let broker = TestBroker::with_http();
    broker
        .cli(&["product", "create", "lamp", "--secret", SECRET])
        .ok();
    let roles = [
        ("shop", Verifier),
        ("eyes", Viewer),
        ("hands", Operator),
        ("boss", Admin),
    ];
    let mut peer = broker.http();
    let tokens = roles.map(|(name, role)| {
        let role = format!("{role:?}").to_lowercase();
        broker.add_operator(name, &role, &[]);
        // The machine's owner makes them: a verifier may not make its own.
        let made = broker.json(&["token", "create", name]);
        let secret = made["token"].as_str().expect("text").to_owned();
        format!("Authorization: Bearer {secret}")
    });
    for &(method, route, takes, body, done) in ROUTES {
        let nobody = ask(&mut peer, method, route, body, None);
        let expected = if takes == Nothing { done } else { 401 };
        assert_eq!(nobody, expected, "{method} {route}");
        for ((name, role), token) in roles.iter().zip(&tokens) {
            let status = ask(&mut peer, method, route, body, Some(token));
            let expected = if *role >= takes { done } else { 403 };
            assert_eq!(status, expected, "{method} {route} by {name}");
        }
    }
}

#[test]
fn no_route_is_missing_in_the_table() {
    let broker = TestBroker::with_http();
    let page = broker
        .http()
        .ask("GET /api/v1/openapi.json", &[], b"")
        .of(200);
    let paths = page["paths"].as_object().expect("paths");
    let there: BTreeSet<(String, &str)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| (method.to_uppercase(), path.as_str()))
        })
        .collect();
    let table: BTreeSet<(String, &str)> = ROUTES
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), *path))
        .collect();
    assert_eq!(there, table);
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let anybody = operation["security"] == serde_json::json!([{}]);
            let takes = ROUTES
                .iter()
                .find(|(known, route, ..)| known.to_lowercase() == *method && route == path);
            let takes = takes.expect("in the table").2;
            assert_eq!(anybody, takes == Nothing, "{method} {path}");
            let told = operation["summary"].as_str().expect("a summary");
            let word = match takes {
                Operator => "operator",
                Admin => "(admin)",
                Device => "(device)",
                Verifier | Viewer | Nothing => "",
            };
            assert!(told.contains(word), "{method} {path}: {told}");
        }
    }
}

#[test]
fn what_is_between_the_roles() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1"]);
    broker.cli(&["device", "revoke", "S1"]).ok();
    broker.add_operator("eyes", "viewer", &["--publish", "feeds/+/commands/light"]);
    broker.add_operator("hands", "operator", &[]);
    broker.add_operator("boss", "admin", &[]);
    let mut peer = broker.http();
    let mut post = |who: &str, path: &str, body: &[u8]| {
        let who = basic(who);
        peer.ask(&format!("POST {path}"), &[&who, JSON], body)
    };
    // Revoked for good, but for an admin; one by one and in a list.
    let undo = "/api/v1/devices/S1/reset-from-revoked";
    let many = br#"{"act":"reset-from-revoked","devices":["S1"]}"#;
    post("hands", undo, b"").problem(403, "forbidden");
    post("hands", "/api/v1/acts", many).problem(403, "forbidden");
    assert_eq!(post("boss", undo, b"").of(200)["lifecycle"], "registered");
    // A filter of its own is as good as a role.
    let feed = broker.json(&["device", "show", "S1"]);
    let commands = format!("/api/v1/feeds/{}/commands", feed["feed_id"]);
    let sent = post("eyes", &format!("{commands}/light"), b"on").of(202);
    assert_eq!(sent["became"], "nobody");
    post("eyes", &format!("{commands}/heat"), b"on").problem(403, "forbidden");
    // Tokens: of others for an admin, and nobody else learns of them.
    let others = br#"{"operator":"boss"}"#;
    post("hands", "/api/v1/tokens", others).problem(403, "forbidden");
    let of_boss = post("boss", "/api/v1/tokens", others).of(201);
    let own = post("hands", "/api/v1/tokens", br#"{"label":"mine"}"#).of(201);
    let path = |made: &Value| {
        let id = made["token"]["id"].as_str().expect("text");
        format!("/api/v1/tokens/{id}")
    };
    let hands = basic("hands");
    let listed = peer.ask("GET /api/v1/tokens", &[&hands], b"").of(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert!(!listed.to_string().contains("fwo_"), "{listed}");
    let delete = format!("DELETE {}", path(&of_boss));
    peer.ask(&delete, &[&hands], b"").problem(404, "not-found");
    let delete = format!("DELETE {}", path(&own));
    peer.ask(&delete, &[&basic("boss")], b"").of(204);
    let secret = own["secret"].as_str().expect("text");
    let ended = format!("Authorization: Bearer {secret}");
    peer.ask("GET /api/v1/version", &[&ended], b"")
        .problem(401, "unauthenticated");
}
