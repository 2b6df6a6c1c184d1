//! What a device signs: its logins, and requests to others' servers.
//!
//! Both are JWTs (RFC 7519) that name the device (`sub`) and its product,
//! live for five minutes at most, and show the board they were made on (`hw`).
//! A login is for the product's front door (`aud`), and is used once and in
//! order. A request is for one server (`aud`; the product is in `product_id`),
//! and carries a counter and the hash of what is asked, so that it is good for
//! nothing else.

pub(crate) mod date;
mod request;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hardware::Facts;
use crate::identity::{DeviceName, ProductId, Serial};
use crate::jws;

pub use self::request::{Audience, InvalidAudience, InvalidDigest, RequestDigest};
pub use crate::jws::Signer;

/// How long a token may be good for.
pub const LONGEST: Duration = Duration::from_secs(300);
/// How far a device's clock may be off.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// What a request's counter may be: what every JSON reader can tell apart.
const COUNTERS: std::ops::RangeInclusive<u64> = 1..=(1 << 53) - 1;

/// What a device says when it logs in.
#[derive(Clone, Copy, Debug)]
pub struct LoginClaims<'a> {
    /// Who it is.
    pub serial: &'a Serial,
    /// Of which product.
    pub product: &'a ProductId,
    /// When it signs. Later than at its last login.
    pub issued_at: Timestamp,
    /// For how long, up to [`LONGEST`].
    pub span: Duration,
    /// Tells tokens of one moment apart: 1 to 64 of `[A-Za-z0-9_.:-]`; the
    /// greater one is the later one.
    pub jti: &'a str,
    /// The board it runs on.
    pub hardware: &'a Facts,
}

/// What it says when it asks something of somebody's server.
#[derive(Clone, Copy, Debug)]
pub struct RequestClaims<'a> {
    /// Who asks, and when.
    pub login: LoginClaims<'a>,
    /// From 1 up to 2⁵³ − 1; each is used once.
    pub counter: u64,
    /// The server that is asked, by the name it has for itself.
    pub audience: &'a Audience,
    /// What it asks.
    pub request: RequestDigest,
}

impl Signer {
    /// A token to log in with, once.
    pub fn login(&self, claims: &LoginClaims<'_>) -> String {
        self.sign(&Claims::of(claims), None)
    }

    /// A token for one request.
    pub fn request(&self, claims: &RequestClaims<'_>) -> String {
        let claims = Claims {
            aud: claims.audience.as_str().to_owned(),
            product_id: Some(claims.login.product.clone()),
            ctr: Some(claims.counter),
            req: Some(claims.request),
            ..Claims::of(&claims.login)
        };
        self.sign(&claims, None)
    }
}

/// The claims as they stand in a token. Others are left out of account.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    sub: Serial,
    /// The product of a login, the server of a request.
    aud: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product_id: Option<ProductId>,
    #[serde(with = "date")]
    iat: Timestamp,
    #[serde(with = "date")]
    exp: Timestamp,
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    nbf: Option<Timestamp>,
    jti: Jti,
    #[serde(default, with = "facts", skip_serializing_if = "Facts::is_empty")]
    hw: Facts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ctr: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    req: Option<RequestDigest>,
}

/// A token that says who sent it; nobody has looked yet whether it is so.
pub(crate) struct Unproved<'a> {
    token: &'a str,
    name: DeviceName,
}

impl<'a> Unproved<'a> {
    /// Reads whom a token names. Everything in it must have its shape: what is
    /// found then is read in the same way once the signature holds.
    pub(crate) fn read(token: &'a str) -> Option<Self> {
        let claims: Claims = jws::dangerous_read_unproved(token)?;
        let product = match claims.product_id {
            Some(product) => product,
            None => ProductId::parse(&claims.aud).ok()?,
        };
        let name = DeviceName {
            product: Some(product),
            serial: claims.sub,
        };
        Some(Self { token, name })
    }

    /// Whom it names, product included.
    pub(crate) fn name(&self) -> &DeviceName {
        &self.name
    }

    /// The claims, if that device signed them.
    pub(crate) fn prove(&self, verifier: jws::Verifier<'_>) -> Option<Claims> {
        jws::read(self.token, verifier)
    }
}

impl Claims {
    fn of(login: &LoginClaims<'_>) -> Self {
        Self {
            sub: login.serial.clone(),
            aud: login.product.as_str().to_owned(),
            product_id: None,
            iat: login.issued_at,
            exp: login.issued_at.plus(login.span),
            nbf: None,
            jti: Jti(login.jti.to_owned()),
            hw: login.hardware.clone(),
            ctr: None,
            req: None,
        }
    }

    /// Whether it is good now, by the server's clock.
    pub(crate) fn is_timely(&self, now: Timestamp) -> bool {
        let span = self.exp.as_millis().checked_sub(self.iat.as_millis());
        let short = span.is_some_and(|span| (1..=LONGEST.as_millis()).contains(&u128::from(span)));
        let begun = self.nbf.is_none_or(|begin| begin <= now.plus(LEEWAY));
        short && begun && self.iat <= now.plus(LEEWAY) && now <= self.exp.plus(LEEWAY)
    }

    /// The board it was made on, as far as it says.
    pub(crate) fn hardware(&self) -> &Facts {
        &self.hw
    }

    /// Its place among the device's logins; `None` for a request.
    pub(crate) fn login(&self) -> Option<LoginMark> {
        match (self.ctr, self.req, &self.product_id) {
            (None, None, None) => Some(LoginMark {
                issued_at: self.iat,
                jti: self.jti.clone(),
            }),
            _ => None,
        }
    }

    /// The counter and what is asked; `None` for a login, for a counter out of
    /// range, and for a request that names no server.
    pub(crate) fn request(&self) -> Option<(u64, RequestDigest)> {
        self.product_id.as_ref()?;
        let counter = self.ctr.filter(|counter| COUNTERS.contains(counter));
        counter.zip(self.req)
    }

    /// Whether it was signed for this server.
    pub(crate) fn is_for(&self, audience: &Audience) -> bool {
        self.aud == audience.as_str()
    }

    /// When it was signed, by the device's clock.
    pub(crate) fn issued_at(&self) -> Timestamp {
        self.iat
    }
}

/// Which login was a device's last: each must be greater than the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoginMark {
    /// When it was signed, by the device's clock.
    pub issued_at: Timestamp,
    /// Tells logins of one millisecond apart.
    jti: Jti,
}

impl LoginMark {
    /// The mark of a device whose last login is dated later than now, because a
    /// clock was wrong, and was forgotten: no login from before is good, in the
    /// whole seconds that devices count in.
    pub(crate) fn floor(now: Timestamp) -> Self {
        let second = now.as_millis() / 1000 * 1000;
        Self {
            issued_at: Timestamp::from_millis(second),
            jti: Jti(FLOOR.to_owned()),
        }
    }

    /// The mark of a device that is registered at `now` while a token of a device
    /// that was removed or renamed may still be about: it signed until then. The
    /// two may have one serial, and one device key. `None` once every such token
    /// is older than the registration.
    pub(crate) fn behind(signed_until: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        // Devices may count in whole seconds.
        let second = Duration::from_secs(1);
        let until = signed_until.filter(|until| until.plus(second) > now)?;
        Some(Self::after(until))
    }

    /// The mark that every login up to `until` is not later than, and any later
    /// one is.
    pub(crate) fn after(until: Timestamp) -> Self {
        Self {
            issued_at: until.plus(Duration::from_millis(1)),
            jti: Jti(FLOOR.to_owned()),
        }
    }

    /// The time of this login, if a device that is registered at `now` or later
    /// could be taken for the one that made it. Where it is dated later than any
    /// good login, a clock was wrong, and the token is not good now.
    pub(crate) fn still_about(&self, now: Timestamp) -> Option<Timestamp> {
        let recent = self.issued_at.plus(LONGEST + LEEWAY) > now;
        (recent && !self.is_ahead_of(now)).then_some(self.issued_at)
    }

    /// Whether it stands for no login of the device's.
    pub(crate) fn is_floor(&self) -> bool {
        self.jti.0 == FLOOR
    }

    /// Whether it is dated later than any login that is good now.
    pub(crate) fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.issued_at > now.plus(LEEWAY)
    }
}

/// A `jti` that comes before nearly any other, and that no device uses.
const FLOOR: &str = "----------------------------------------------------------------";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Jti(String);

impl TryFrom<String> for Jti {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        match (1..=64).contains(&text.len()) && text.bytes().all(in_alphabet) {
            true => Ok(Self(text)),
            false => Err("a jti is 1 to 64 of A-Z a-z 0-9 _ . : -"),
        }
    }
}

impl From<Jti> for String {
    fn from(jti: Jti) -> Self {
        jti.0
    }
}

mod facts {
    //! Facts as they stand in a claim.

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::hardware::Facts;

    pub(super) fn serialize<S: Serializer>(facts: &Facts, to: S) -> Result<S::Ok, S::Error> {
        facts.to_json().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Facts, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        Facts::from_json(&value).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;
    use crate::jws::Verifier;
    use crate::keypair::PrivateKey;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_250);

    fn signed(edit: impl FnOnce(&mut serde_json::Value)) -> Option<Claims> {
        let key = PrivateKey::generate(&Counting::default());
        let public = key.public();
        let (serial, product) = (
            Serial::parse("S+1").expect("serial"),
            ProductId::parse("abcdefghijklmnopqrst").expect("product"),
        );
        let login = LoginClaims {
            serial: &serial,
            product: &product,
            issued_at: NOW,
            span: LONGEST,
            jti: "1",
            hardware: &Facts::default(),
        };
        let mut claims = serde_json::to_value(Claims::of(&login)).expect("claims are an object");
        edit(&mut claims);
        let token = Signer::Ed25519(key).sign(&claims, None);
        let unproved = Unproved::read(&token)?;
        assert_eq!(unproved.name().serial, serial);
        unproved.prove(Verifier::Ed25519(&public))
    }

    #[test]
    fn claims_go_there_and_back() {
        let claims = signed(|_| {}).expect("claims");
        assert_eq!(claims.iat, NOW, "to the millisecond");
        assert!(claims.login().is_some() && claims.request().is_none());
    }

    #[test]
    fn a_token_is_good_for_five_minutes() {
        let check = |iat: f64, exp: f64, good| {
            let claims = signed(|claims| {
                claims["iat"] = iat.into();
                claims["exp"] = exp.into();
            });
            let claims = claims.expect("well formed");
            assert_eq!(claims.is_timely(NOW), good, "{iat} to {exp}");
        };
        let now = 1_700_000_000.25;
        check(now, now + 300.0, true);
        check(now, now + 300.001, false);
        check(now, now, false);
        check(now + 1.0, now, false);
        check(now + 60.0, now + 61.0, true);
        check(now + 60.001, now + 61.0, false);
        check(now - 300.0, now - 60.0, true);
        check(now - 300.0, now - 60.001, false);
        check(now + 7200.0, now + 7260.0, false);
    }

    #[test]
    fn a_token_that_is_not_good_yet_is_not_good() {
        let check = |ahead: u64, good| {
            let at = NOW.as_millis() / 1000 + ahead;
            let claims = signed(|claims| claims["nbf"] = at.into()).expect("well formed");
            assert_eq!(claims.is_timely(NOW), good, "{ahead}");
        };
        check(0, true);
        check(60, true);
        check(61, false);
        check(86_400, false);
    }

    #[test]
    fn claims_have_one_shape() {
        use serde_json::{Value, json};
        let check = |name: &str, value: Value, fits| {
            let claims = signed(|claims| claims[name] = value.clone());
            assert_eq!(claims.is_some(), fits, "{name} {value}");
        };
        check("iat", json!(1_700_000_000), true);
        check("iat", json!("1700000000"), false);
        check("iat", json!(-1), false);
        check("exp", json!(1e300), false);
        check("exp", Value::Null, false);
        check("nbf", json!("1700000000"), false);
        check("nbf", Value::Null, false);
        check("jti", json!(""), false);
        check("jti", json!("a b"), false);
        check("jti", json!("x".repeat(65)), false);
        check("aud", json!(["abcdefghijklmnopqrst"]), false);
        check("hw", json!({"mac": "no hash"}), false);
        check("hw", json!({"mac": "0b".repeat(16)}), true);
        check("req", json!("short"), false);
        check("later", json!([1]), true);
    }

    #[test]
    fn half_a_request_is_neither() {
        let claims = signed(|claims| claims["ctr"] = 7.into()).expect("claims");
        assert!(claims.login().is_none() && claims.request().is_none());
    }

    #[test]
    fn later_is_greater() {
        let mark = |millis, jti: &str| LoginMark {
            issued_at: Timestamp::from_millis(millis),
            jti: Jti(jti.to_owned()),
        };
        assert!(mark(2, "a") > mark(1, "b"));
        assert!(mark(1, "b") > mark(1, "a"));
        assert_eq!(mark(1, "a"), mark(1, "a"));
    }
}
