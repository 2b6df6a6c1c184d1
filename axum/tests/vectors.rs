//! The worked example of `docs/requests.md`, to the byte.

use std::time::Duration;

use firstwake::hardware::Facts;
use firstwake::signed::{Audience, LoginClaims, RequestClaims, RequestDigest, Signer};
use firstwake::{DeviceKey, ProductId, ProductSecret, Serial, Timestamp};
use serde_json::Value;

#[test]
fn a_request_is_signed_as_the_page_says() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../tests/vectors/signed-requests.json"))
            .expect("JSON");
    let page = include_str!("../../docs/requests.md");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let secret = ProductSecret::parse(&text(&vectors["product_secret"])).expect("a secret");
    let serial = Serial::parse(&text(&vectors["claims"]["sub"])).expect("a serial");
    let key = DeviceKey::derive(&secret, &serial);
    assert_eq!(*key.expose_hex(), text(&vectors["device_key"]));
    let signer = Signer::DeviceKey(key);
    let product = ProductId::parse(&text(&vectors["claims"]["product_id"])).expect("a product");
    let audience: Audience = text(&vectors["claims"]["aud"])
        .parse()
        .expect("a server's name");
    let requests = vectors["requests"].as_array().expect("a list");
    for one in requests {
        let (method, target) = (text(&one["method"]), text(&one["target"]));
        let request = RequestDigest::of(&method, &target, text(&one["body"]).as_bytes());
        assert_eq!(request.to_string(), text(&one["req"]));
        let login = LoginClaims {
            serial: &serial,
            product: &product,
            issued_at: Timestamp::from_millis(1_767_225_600_123),
            span: Duration::from_secs(60),
            jti: "n-1",
            hardware: &Facts::default(),
        };
        let claims = RequestClaims {
            login,
            counter: one["ctr"].as_u64().expect("a number"),
            audience: &audience,
            request,
        };
        assert_eq!(signer.request(&claims), text(&one["token"]));
    }
    // What the page shows is the last of them.
    let shown = requests.last().expect("at least one");
    for part in [&shown["req"], &shown["token"], &vectors["device_key"]] {
        assert!(page.contains(&text(part)), "{part} is not on the page");
    }
}
