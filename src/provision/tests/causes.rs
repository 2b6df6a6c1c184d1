//! The exact mistakes of devices that are refused, as operators see them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::cause::Cause;
use crate::code::DeviceKey;
use crate::provision::DeviceError;

const SERIAL: &str = "SN-0001";

/// A world with a serial that has letters, and the code of it.
async fn world() -> (World, String) {
    let world = World::new(Reactivation::Never).await;
    world.register(&[SERIAL]).await;
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let serial = Serial::parse(SERIAL).expect("valid");
    let code = ActivationCode::compute(&secret, &serial).expose_hex();
    (world, code)
}

impl World {
    /// The cause that is kept after this login, with the clause behind it.
    async fn cause(&self, username: &str, password: &str) -> Option<(Cause, String)> {
        let refused = self.admit(username, password).await;
        assert!(refused.is_err(), "{username:?} {password:?}");
        let name = DeviceName::parse(SERIAL).expect("valid");
        let explained = self.door.explain(&name, NOW).await.expect("known");
        let last = explained.attempts.last()?;
        let cause = last.cause?;
        assert_eq!(explained.advice, format!("{}.", cause.advice()));
        let detail = last.detail.clone().unwrap_or_default();
        Some((cause, detail.into_owned()))
    }
}

#[tokio::test]
async fn a_code_that_is_nearly_right() {
    let (world, code) = world().await;
    let check = async |password: &str, cause, words: &str| {
        let (found, detail) = world.cause(SERIAL, password).await.expect(words);
        assert_eq!(found, cause, "{password:?}: {detail}");
        assert!(detail.contains(words), "{password:?}: {detail}");
        assert!(!detail.contains(&code) && !detail.contains(SECRET));
    };
    let extras = Cause::CodeWithExtras;
    check(&format!("{code} "), extras, "followed by a space").await;
    check(&format!("{code}\n"), extras, "followed by a line feed").await;
    let crlf = "a carriage return and a line feed";
    check(&format!("{code}\r\n"), extras, crlf).await;
    check(&format!("{code}\0"), extras, "followed by NUL").await;
    check(&format!("\"{code}\""), extras, "quotes").await;
    check(&format!("0x{code}"), extras, "it follows other").await;
    check(
        &format!("{}:{}", &code[..20], &code[20..]),
        extras,
        "between",
    )
    .await;
    check(&format!("{}\n", code.to_uppercase()), extras, "line feed").await;
    check(&code[..39], Cause::CodeCutShort, "39 of 40").await;
    let raw = hex::decode(&code).expect("hex");
    check(&STANDARD.encode(raw), Cause::CodeInOtherEncoding, "base64").await;
    check(SECRET, Cause::SecretAsCode, "").await;
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let made = |text: &str| ActivationCode::of_text(&secret, text).expose_hex();
    let spelling = Cause::CodeOfOtherSpelling;
    check(&made("SN-0001\n"), spelling, "line feed").await;
    check(&made("sn-0001"), spelling, "lower case").await;
    check("", Cause::NoPassword, "").await;
    check("hello", Cause::PasswordWithoutShape, "5 bytes").await;
    let short = &"zz".repeat(20);
    check(short, Cause::PasswordWithoutShape, "40 are no hex digits").await;
}

#[tokio::test]
async fn a_serial_that_is_nearly_right() {
    let (world, code) = world().await;
    let check = async |username: &str, cause, words: &str| {
        let (found, detail) = world.cause(username, &code).await.expect(words);
        assert_eq!(found, cause, "{username:?}: {detail}");
        assert!(detail.contains(words), "{username:?}: {detail}");
        assert!(detail.contains("the code is right"), "{detail}");
    };
    check("SN-0001 ", Cause::SerialWithExtras, "a space").await;
    check("SN-0001\n", Cause::SerialWithExtras, "a line feed").await;
    check("sn-0001", Cause::SerialInOtherCase, "as SN-0001").await;
    check("lamp/SN-0001", Cause::SerialOfOtherProduct, "registered in").await;
    let swapped = world.cause(&code, SERIAL).await.expect("swapped");
    assert_eq!(swapped.0, Cause::UsernameAndPasswordSwapped);
}

#[tokio::test]
async fn a_token_whose_signature_holds() {
    let (world, _) = world().await;
    let good = || {
        json!({
            "sub": SERIAL, "aud": world.product, "jti": "1",
            "iat": NOW.as_millis() / 1000, "exp": NOW.as_millis() / 1000 + 60,
        })
    };
    let sign = |header: &Value, claims: &Value| {
        let secret = ProductSecret::parse(SECRET).expect("valid");
        let key = DeviceKey::derive(&secret, &Serial::parse(SERIAL).expect("valid"));
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose_bytes());
        let mut mac = mac.expect("any length");
        mac.update(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{message}.{signature}")
    };
    let hs256 = json!({"alg": "HS256"});
    let check = async |token: &str, cause, words: &str| {
        let (found, detail) = world.cause(SERIAL, token).await.expect(words);
        assert_eq!(found, cause, "{words}: {detail}");
        assert!(detail.contains(words), "{words}: {detail}");
    };
    let check_claim = async |name: &str, value: Value, cause, words: &str| {
        let mut claims = good();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("object").remove(name)),
            value => claims[name] = value,
        }
        check(&sign(&hs256, &claims), cause, words).await;
    };
    let seconds = NOW.as_millis() / 1000;
    check_claim(
        "aud",
        json!([world.product]),
        Cause::TokenAudience,
        "a list",
    )
    .await;
    check_claim("aud", Value::Null, Cause::TokenAudience, "missing").await;
    check_claim("jti", Value::Null, Cause::TokenId, "missing").await;
    check_claim("jti", json!(7), Cause::TokenId, "number").await;
    check_claim("iat", Value::Null, Cause::TokenTime, "`iat` is missing").await;
    check_claim("exp", Value::Null, Cause::TokenTime, "`exp` is missing").await;
    let millis = NOW.as_millis();
    check_claim("iat", json!(millis), Cause::TokenTime, "milliseconds").await;
    check_claim(
        "iat",
        json!(seconds.to_string()),
        Cause::TokenTime,
        "a text",
    )
    .await;
    check_claim("nbf", json!(seconds + 3600), Cause::TokenTime, "nbf").await;
    check_claim(
        "exp",
        json!(seconds + 3600),
        Cause::TokenTime,
        "good for 3600",
    )
    .await;
    let sub = format!("{}/{SERIAL}", world.product);
    check_claim("sub", json!(sub), Cause::TokenSubject, "has to be").await;
    check_claim("sub", json!(1), Cause::TokenSubject, "number").await;
    check_claim("hw", json!("x"), Cause::TokenClaim, "hw").await;
    check_claim("ctr", json!(1), Cause::TokenClaim, "ctr").await;
    let header = json!({"alg": "hs256"});
    check(&sign(&header, &good()), Cause::TokenHeader, "hs256").await;
    let header = json!({"alg": "HS256", "kid": 1});
    check(&sign(&header, &good()), Cause::TokenHeader, "kid").await;
    let token = sign(&hs256, &good());
    check(&format!("{token}\n"), Cause::TokenWithExtras, "line feed").await;
    check(&format!("{token}="), Cause::TokenEncoding, "padded").await;
    let rs256 = json!({"alg": "RS256"});
    let other = format!("{}A", &sign(&rs256, &good()));
    check(&other, Cause::TokenAlgorithm, "RS256").await;
}

#[tokio::test]
async fn a_serial_that_is_not_registered() {
    let (world, code) = world().await;
    for _ in 0..3 {
        assert!(world.admit("SN-OO01", &code).await.is_err());
    }
    let name = DeviceName::parse("SN-OO01").expect("valid");
    let Err(DeviceError::Tried { tried, .. }) = world.door.explain(&name, NOW).await else {
        panic!("it was tried");
    };
    assert!(tried.contains("3 times"), "{tried}");
    assert!(tried.contains("127.0.0.1"), "{tried}");
    assert!(tried.contains("near: SN-0001 is registered"), "{tried}");
    let tally = world.door.take_refusals();
    assert_eq!(tally.near.len(), 1, "once for a source");
    assert_eq!(tally.near[0].registered.as_str(), SERIAL);
}

#[tokio::test]
async fn what_waits_is_bounded_and_one_source_hides_its_own_only() {
    let (world, code) = world().await;
    let spoilt = format!("{code}\n");
    for n in 0..2000 {
        let username = format!("STRANGER-{n}");
        assert!(world.admit(&username, &code).await.is_err());
    }
    let attempt = Attempt {
        username: Some(SERIAL),
        password: Some(spoilt.as_bytes()),
        source: IpAddr::from([10, 0, 0, 7]),
        hardware: None,
    };
    assert!(world.door.admit(attempt, NOW).await.is_err());
    let name = DeviceName::parse(SERIAL).expect("valid");
    let explained = world.door.explain(&name, NOW).await.expect("known");
    assert_eq!(explained.attempts[0].cause, Some(Cause::CodeWithExtras));
}
