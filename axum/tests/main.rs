//! A server of somebody's own over the memory registry: what gets to its
//! handler, and what is said to everything else.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod vectors;
mod world;

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::world::{NOW, Signed, World, asked};

/// The problem that is sent.
fn problem(answer: &(StatusCode, Value)) -> (u16, Option<&str>) {
    let (status, body) = answer;
    assert_eq!(body["status"], status.as_u16(), "{body}");
    (status.as_u16(), body["code"].as_str())
}

#[tokio::test]
async fn a_signed_request_gets_to_its_handler() {
    let world = World::new().await;
    for (method, target, body) in [
        (Method::POST, "/reports", "21.5"),
        (Method::POST, "/reports?unit=%C2%B0C&x=%20+", ""),
        (Method::GET, "/reports", ""),
        // A router takes the first part off; the device signed all of it.
        (Method::POST, "/shop/reports?a=1", "x"),
        (Method::POST, "/%72eports", "as it is written"),
    ] {
        let token = world.token(&Signed::new(method.as_str(), target, body.as_bytes()));
        let (status, told) = world.send(asked(method, target, &token, body)).await;
        assert_eq!(status, StatusCode::OK, "{target}: {told}");
        assert_eq!(told["serial"], "S1");
        assert_eq!(told["body"], body);
    }
}

#[tokio::test]
async fn a_request_holds_once_and_as_it_was_signed() {
    let world = World::new().await;
    let right = ("POST", "/reports?a=1", "21.5");
    let token = world.token(&Signed::new(right.0, right.1, right.2.as_bytes()));
    for (method, target, body) in [
        ("PUT", right.1, right.2),
        ("POST", "/reports?a=2", right.2),
        ("POST", "/reports", right.2),
        ("POST", "/%72eports?a=1", right.2),
        ("POST", right.1, "99.9"),
        ("POST", right.1, ""),
    ] {
        let method = method.parse().expect("a method");
        let answer = world.send(asked(method, target, &token, body)).await;
        assert_eq!(problem(&answer), (401, Some("request_altered")), "{target}");
    }
    let elsewhere = Signed {
        audience: "https://another.example".parse().expect("a name"),
        ..Signed::new(right.0, right.1, right.2.as_bytes())
    };
    let passed_on = asked(Method::POST, right.1, &world.token(&elsewhere), right.2);
    let answer = world.send(passed_on).await;
    assert_eq!(problem(&answer), (401, Some("request_altered")));
    let again = || world.send(asked(Method::POST, right.1, &token, right.2));
    // What was altered has not used it up.
    assert_eq!(again().await.0, StatusCode::OK);
    assert_eq!(problem(&again().await), (401, Some("token_replayed")));
}

#[tokio::test]
async fn who_proved_its_key_is_told_why_and_nobody_else() {
    let world = World::new().await;
    let right = Signed::new("GET", "/reports", b"");
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let late = Signed {
        issued_at: NOW.plus(hours(2)),
        ..right.clone()
    };
    let answer = world.get("/reports", &world.token(&late)).await;
    assert_eq!(problem(&answer), (401, Some("token_expired")));
    assert_eq!(answer.1["server_time"], NOW.to_string());

    let no = "the token is nobody's, or not for this request";
    let strangers = [
        world.stranger(&right),
        world.login(),
        "no.token.atall".to_owned(),
        "x".repeat(5000),
    ];
    for token in &strangers {
        let answer = world.get("/reports", token).await;
        assert_eq!(problem(&answer), (401, None), "{token}");
        assert_eq!(answer.1["detail"], no);
        assert_eq!(answer.1["server_time"], Value::Null);
    }
    let bare = Request::get("/reports").body(Body::empty());
    let answer = world.send(bare.expect("a request")).await;
    assert_eq!(problem(&answer), (401, None));

    world.suspend().await;
    let answer = world.get("/reports", &world.token(&right)).await;
    assert_eq!(problem(&answer), (403, Some("suspended")));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound() {
    let world = World::new().await;
    for (length, status) in [(64, 200), (65, 413)] {
        let body = "x".repeat(length);
        let token = world.token(&Signed::new("POST", "/reports", body.as_bytes()));
        let request = asked(Method::POST, "/reports", &token, &body);
        assert_eq!(world.send(request).await.0.as_u16(), status, "{length}");
    }
}

#[tokio::test]
async fn a_registry_in_trouble_lets_nobody_through() {
    let world = World::new().await;
    let right = Signed::new("GET", "/reports", b"");
    world.registry.fail_after(0);
    let token = world.token(&right);
    let answer = world.get("/reports", &token).await;
    assert_eq!(problem(&answer), (503, None));
    world.registry.recover();
    assert_eq!(world.get("/reports", &token).await.0, StatusCode::OK);
}

#[tokio::test]
async fn requests_overtake_each_other() {
    let world = World::new().await;
    let right = Signed::new("GET", "/reports", b"");
    let tokens: Vec<String> = (0..129).map(|_| world.token(&right)).collect();
    let mut order: Vec<&String> = tokens.iter().rev().collect();
    let oldest = order.pop().expect("129");
    for token in order {
        assert_eq!(world.get("/reports", token).await.0, StatusCode::OK);
    }
    let answer = world.get("/reports", oldest).await;
    assert_eq!(problem(&answer), (401, Some("token_replayed")), "too old");
}
