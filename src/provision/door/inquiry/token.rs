//! What is wrong with a password that was meant to be a signed login.
//!
//! Nobody is let in by what is read here: it is looked at with more leniency
//! than a login, after that was refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::spelling::describe;
use crate::cause::{Cause, Detail, bounded};
use crate::clock::Timestamp;
use crate::code::{ActivationCode, DeviceKey};
use crate::device::{Device, Key};
use crate::hardware::Facts;
use crate::provision::OpenProduct;
use crate::provision::door::attempts::Finding;
use crate::provision::door::decide;
use crate::signed::{LEEWAY, LONGEST};

/// From here on a number of seconds is one of milliseconds: the year 5138.
const MILLISECONDS: f64 = 100_000_000_000.0;
/// Characters of a header that are read.
const HEADER: usize = 512;

/// A token as it came, its parts decoded with leniency.
struct Loose<'a> {
    extras: Option<&'static str>,
    /// What was signed, as it was sent and without padding.
    messages: [String; 2],
    encoding: Option<&'static str>,
    header: &'a str,
    head: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Loose<'a> {
    fn read(password: &'a [u8]) -> Option<Self> {
        let whole = std::str::from_utf8(password).ok()?;
        let trimmed = whole
            .trim_matches(|it: char| it.is_whitespace() || it.is_control() || "\"'`".contains(it));
        let trimmed = trimmed.strip_prefix("Bearer ").unwrap_or(trimmed);
        let mut parts = trimmed.split('.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || payload.is_empty() {
            return None;
        }
        let object = |part| serde_json::from_slice::<Map<String, Value>>(&decode(part)?).ok();
        let (before, after) = whole.split_once(trimmed)?;
        let strip = |part: &str| part.trim_end_matches('=').to_owned();
        Some(Self {
            extras: describe(before.as_bytes(), after.as_bytes()),
            messages: [
                format!("{header}.{payload}"),
                format!("{}.{}", strip(header), strip(payload)),
            ],
            encoding: match trimmed {
                it if it.contains('=') => Some("it is padded with `=`"),
                it if it.contains(['+', '/']) => Some("it has `+` or `/` in it"),
                _ => None,
            },
            header,
            head: object(header)?,
            claims: object(payload)?,
            signature: decode(signature)?,
        })
    }

    fn is_mac_of(&self, key: &[u8]) -> bool {
        self.messages.iter().any(|message| {
            let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else {
                return false;
            };
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().ct_eq(&self.signature).into()
        })
    }

    fn is_signed_with(&self, key: &Key, device: &Device, product: &OpenProduct) -> bool {
        match key {
            Key::Api(_) => false,
            Key::Public(key) => self
                .messages
                .iter()
                .any(|message| key.has_signed(message.as_bytes(), &self.signature)),
            Key::Derived(generation) => product.of_generation(*generation).is_some_and(|secret| {
                self.is_mac_of(DeviceKey::derive(secret, &device.serial).expose_bytes())
            }),
        }
    }
}

/// Base64 in either alphabet, with or without padding.
fn decode(part: &str) -> Option<Vec<u8>> {
    let part = part
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The subject that a token names, whoever wrote it.
pub(super) fn subject(password: &[u8]) -> Option<String> {
    match Loose::read(password)?.claims.get("sub")? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The mistake in a password that is nearly a signed login of this device.
pub(super) fn examine(
    password: &[u8],
    device: &Device,
    product: &OpenProduct,
    now: Timestamp,
) -> Option<Finding> {
    let token = Loose::read(password)?;
    let keys = decide::signing_keys(device, product, now);
    let signed = keys
        .iter()
        .find(|key| token.is_signed_with(key, device, product));
    let Some(key) = signed else {
        return Some(wrong_key(&token, device, product, now));
    };
    if let Some(extras) = token.extras {
        return Some((Cause::TokenWithExtras, Some(extras.into())));
    }
    if let Some(encoding) = token.encoding {
        return Some((Cause::TokenEncoding, Some(encoding.into())));
    }
    header(&token, key)
        .or_else(|| names(&token.claims, device))
        .or_else(|| times(&token.claims, device, now))
        .or_else(|| others(&token.claims))
}

/// The key that was taken in place of the device's, as far as that can be told.
fn wrong_key(token: &Loose<'_>, device: &Device, product: &OpenProduct, now: Timestamp) -> Finding {
    let algorithm = token.head.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.unwrap_or_default();
    if !["HS256", "EdDSA"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(algorithm))
    {
        let text = format!("its header says {}", quoted(token.head.get("alg")));
        return (Cause::TokenAlgorithm, Some(bounded(&text)));
    }
    for (_, secret) in product.live(now) {
        let serial = &device.serial;
        let key = DeviceKey::derive(secret, serial).expose_hex();
        let code = ActivationCode::compute(secret, serial).expose_hex();
        let text = secret.expose_hex();
        let mistakes = [
            (
                key.as_bytes(),
                "the key's 64 hex characters were taken as text",
            ),
            (
                secret.expose_bytes().as_slice(),
                "the product's secret was taken as the key",
            ),
            (
                text.as_bytes(),
                "the text of the product's secret was taken as the key",
            ),
            (code.as_bytes(), "the activation code was taken as the key"),
        ];
        for (taken, words) in mistakes {
            if token.is_mac_of(taken) {
                return (Cause::TokenKey, Some(words.into()));
            }
        }
    }
    (Cause::TokenKey, None)
}

fn header(token: &Loose<'_>, key: &Key) -> Option<Finding> {
    let found = |text: String| Some((Cause::TokenHeader, Some(bounded(&text))));
    let expected = match key {
        Key::Public(_) => "EdDSA",
        _ => "HS256",
    };
    if token.head.get("alg").and_then(Value::as_str) != Some(expected) {
        let alg = quoted(token.head.get("alg"));
        return found(format!("`alg` is {alg}, and has to be \"{expected}\""));
    }
    if token.head.contains_key("crit") {
        return found("`crit` asks for something that has to be understood".to_owned());
    }
    if token.header.len() > HEADER {
        return found(format!("it has more than {HEADER} characters"));
    }
    for name in ["typ", "kid", "cty", "jku", "x5u", "x5t"] {
        if token
            .head
            .get(name)
            .is_some_and(|value| !value.is_string() && !value.is_null())
        {
            return found(format!(
                "`{name}` is {}, and has to be a text",
                kind(&token.head[name])
            ));
        }
    }
    None
}

fn names(claims: &Map<String, Value>, device: &Device) -> Option<Finding> {
    let serial = device.serial.as_str();
    if claims.get("sub").and_then(Value::as_str) != Some(serial) {
        let text = format!(
            "`sub` is {}, and has to be \"{serial}\"",
            quoted(claims.get("sub"))
        );
        return Some((Cause::TokenSubject, Some(bounded(&text))));
    }
    let product = device.product.as_str();
    if claims.get("aud").and_then(Value::as_str) != Some(product) {
        let text = format!(
            "`aud` is {}, and has to be \"{product}\"",
            quoted(claims.get("aud"))
        );
        return Some((Cause::TokenAudience, Some(bounded(&text))));
    }
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    match claims.get("jti") {
        Some(Value::String(text))
            if (1..=64).contains(&text.len()) && text.bytes().all(in_alphabet) =>
        {
            None
        }
        other => {
            let text = format!("`jti` is {}", quoted(other));
            Some((Cause::TokenId, Some(bounded(&text))))
        }
    }
}

fn times(claims: &Map<String, Value>, device: &Device, now: Timestamp) -> Option<Finding> {
    let found = |text: String| Some((Cause::TokenTime, Some(bounded(&text))));
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of this age fit into 53 bits"
    )]
    let seconds = |at: Timestamp| at.as_millis() as f64 / 1000.0;
    let now = seconds(now);
    let mut times = [0.0; 3];
    for (name, time) in ["iat", "exp", "nbf"].iter().zip(&mut times) {
        match claims.get(*name) {
            None if *name == "nbf" => {}
            None => return found(format!("`{name}` is missing")),
            Some(value) => match value.as_f64() {
                None => {
                    return found(format!(
                        "`{name}` is {}, and has to be a number",
                        kind(value)
                    ));
                }
                Some(at) if at >= MILLISECONDS => {
                    return found(format!("`{name}` is in milliseconds"));
                }
                Some(at) if at < 0.0 => return found(format!("`{name}` is negative")),
                Some(at) => *time = at,
            },
        }
    }
    let [iat, exp, nbf] = times;
    let leeway = LEEWAY.as_secs_f64();
    if exp <= iat {
        return found("`exp` is not later than `iat`".to_owned());
    }
    if exp - iat > LONGEST.as_secs_f64() {
        return found(format!("it is good for {:.0} seconds", exp - iat));
    }
    if iat > now + leeway {
        return found(format!("it was signed {:.0} seconds from now", iat - now));
    }
    if nbf > now + leeway {
        return found(format!(
            "by `nbf` it is good in {:.0} seconds only",
            nbf - now
        ));
    }
    if now > exp + leeway {
        return found(format!("it was good until {:.0} seconds ago", now - exp));
    }
    let registered = seconds(device.registered_at);
    let whole = iat.fract() == 0.0;
    if iat
        < if whole {
            registered.floor()
        } else {
            registered
        }
    {
        return found("it was signed before the device was registered".to_owned());
    }
    None
}

fn others(claims: &Map<String, Value>) -> Option<Finding> {
    let found = |text: &'static str| {
        let detail: Detail = Some(text.into());
        Some((Cause::TokenClaim, detail))
    };
    if claims
        .get("hw")
        .is_some_and(|facts| Facts::from_json(facts).is_err())
    {
        return found("`hw` is no object of hashes");
    }
    if claims.contains_key("ctr") || claims.contains_key("req") {
        return found("`ctr` and `req` belong to signed requests, not to a login");
    }
    None
}

/// A claim as it was sent, cut short.
fn quoted(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::String(text)) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Some(Value::Number(number)) => format!("the number {number}"),
        Some(other) => kind(other).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
