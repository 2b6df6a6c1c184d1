//! Which call of `/api/v1` each request is, and how its answer is read.
//!
//! One `match`: a request that is not in it does not compile.

use anyhow::{Context, Result, bail};
use firstwake::{DeviceName, Qos, Serial, Timestamp};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::control::request::{Act, Note, Reply, Request, Wanted};
use crate::control::view::{ProductView, TokenView};
use crate::control::wish::{BlockWish, LabelWish, OperatorWish};

/// One call.
pub(super) struct Call {
    pub(super) asked: Asked,
    /// Reads the answer to it.
    pub(super) read: fn(&[u8]) -> Result<Reply>,
}

/// What is sent.
pub(super) struct Asked {
    pub(super) method: Method,
    /// Behind `/api/v1`, with its query.
    pub(super) path: String,
    pub(super) body: Body,
    pub(super) repeat: Repeat,
}

/// A body, which may hold a password or a secret.
pub(super) enum Body {
    Nothing,
    Json(Zeroizing<Vec<u8>>),
    /// A message, byte for byte.
    Bytes(Vec<u8>),
}

/// Whether the call may be made again when nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Freely,
    /// With a key by which the server knows it again.
    WithKey,
    /// The second answer would be another.
    Never,
}

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The call that a request is.
pub(super) fn of(request: Request) -> Result<Call> {
    Ok(match request {
        Request::CreateProduct(wish) => Asked::new(Method::POST, &["products"])
            .json(&wish)?
            .repeated(Repeat::WithKey)
            .then(|body| {
                let Created { product, secret } = parse(body)?;
                Ok(Reply::ProductCreated { product, secret })
            }),
        Request::ChangeProduct { product, change } => {
            Asked::new(Method::PATCH, &["products", product.as_str()])
                .json(&change)?
                .then(|body| Ok(Reply::Product(parse(body)?)))
        }
        Request::RemoveProduct { product } => {
            Asked::new(Method::DELETE, &["products", product.as_str()])
                .repeated(Repeat::Never)
                .then(|body| {
                    let Removed { devices } = parse(body)?;
                    Ok(Reply::ProductRemoved { devices })
                })
        }
        Request::Secret { product } => {
            Asked::new(Method::GET, &["products", product.as_str(), "secret"]).then(|body| {
                let Secret { secret } = parse(body)?;
                Ok(Reply::Shown(secret))
            })
        }
        Request::RotateSecret { product, wish } => {
            Asked::new(Method::POST, &["products", product.as_str(), "secrets"])
                .json(&wish)?
                .repeated(Repeat::WithKey)
                .then(|body| {
                    let RotatedSecret {
                        generation,
                        until,
                        secret,
                    } = parse(body)?;
                    Ok(Reply::SecretRotated {
                        generation,
                        until,
                        secret,
                    })
                })
        }
        Request::EndSecret {
            product,
            generation,
        } => {
            let generation = generation.to_string();
            let path = ["products", product.as_str(), "secrets", &generation];
            Asked::new(Method::DELETE, &path).then(|body| Ok(Reply::Product(parse(body)?)))
        }
        Request::Pepper { product } => {
            Asked::new(Method::GET, &["products", product.as_str(), "pepper"]).then(|body| {
                let Pepper { pepper } = parse(body)?;
                Ok(Reply::Shown(pepper))
            })
        }
        Request::Census { product } => {
            Asked::new(Method::GET, &["products", product.as_str(), "census"])
                .then(|body| Ok(Reply::Census(parse(body)?)))
        }
        Request::Product { product } => Asked::new(Method::GET, &["products", product.as_str()])
            .then(|body| Ok(Reply::Product(parse(body)?))),
        Request::Products => {
            Asked::new(Method::GET, &["products"]).then(|body| Ok(Reply::Products(parse(body)?)))
        }
        Request::BlockProduct { product, except } => {
            Asked::new(Method::PUT, &["products", product.as_str(), "block"])
                .json(&BlockWish { except })?
                .then(|body| Ok(Reply::Product(parse(body)?)))
        }
        Request::UnblockProduct { product } => {
            Asked::new(Method::DELETE, &["products", product.as_str(), "block"])
                .then(|body| Ok(Reply::Product(parse(body)?)))
        }
        Request::Register(wish) => Asked::new(Method::POST, &["devices"])
            .json(&wish)?
            .repeated(Repeat::WithKey)
            .then(|body| Ok(Reply::Registered(parse(body)?))),
        Request::FinishImport(wish) => Asked::new(Method::POST, &["imports"])
            .json(&wish)?
            .repeated(Repeat::WithKey)
            .then(|_| Ok(Reply::Done)),
        Request::Codes {
            product,
            after,
            limit,
        } => Asked::new(Method::GET, &["products", product.as_str(), "codes"])
            .query(&[
                ("after", after.as_ref().map(Serial::as_str)),
                ("limit", Some(&limit.to_string())),
            ])
            .then(|body| Ok(Reply::Codes(parse(body)?))),
        Request::Device { name } => {
            Asked::device(Method::GET, &name, &[]).then(|body| Ok(Reply::Device(parse(body)?)))
        }
        Request::Devices {
            product,
            after,
            serial,
            activated,
            limit,
        } => {
            let after = after.map(|name| name.to_string());
            let activated = activated.map(|yes| yes.to_string());
            Asked::new(Method::GET, &["devices"])
                .query(&[
                    ("product_id", product.as_ref().map(|it| it.as_str())),
                    ("after", after.as_deref()),
                    ("serial", serial.as_deref()),
                    ("activated", activated.as_deref()),
                    ("limit", Some(&limit.to_string())),
                ])
                .then(|body| Ok(Reply::Devices(parse(body)?)))
        }
        Request::Rename { name, serial } => Asked::device(Method::PATCH, &name, &[])
            .json(&json!({ "serial": serial }))?
            .repeated(Repeat::Never)
            .then(|body| Ok(Reply::Device(parse(body)?))),
        Request::Label { name, label } => Asked::device(Method::PUT, &name, &["label"])
            .json(&LabelWish { label })?
            .then(|body| Ok(Reply::Device(parse(body)?))),
        Request::RemoveDevice { name } => Asked::device(Method::DELETE, &name, &[])
            .repeated(Repeat::Never)
            .then(|body| Ok(Reply::Device(parse(body)?))),
        Request::Code { name } => Asked::device(Method::GET, &name, &["code"]).then(|body| {
            let Code { code } = parse(body)?;
            Ok(Reply::Shown(code))
        }),
        Request::DeviceKey { name } => Asked::device(Method::GET, &name, &["key"]).then(|body| {
            let DeviceKey { device_key } = parse(body)?;
            Ok(Reply::Shown(device_key))
        }),
        Request::Change { name, act } => {
            let (word, seconds) = told(act);
            let seconds = seconds.map(|seconds| seconds.to_string());
            Asked::device(Method::POST, &name, &[word])
                .query(&[("seconds", seconds.as_deref())])
                .then(|body| Ok(Reply::Device(parse(body)?)))
        }
        Request::ChangeMany { names, act } => {
            let (word, seconds) = told(act);
            Asked::new(Method::POST, &["acts"])
                .json(&json!({ "act": word, "seconds": seconds, "devices": names }))?
                .then(|body| Ok(Reply::Changed(parse(body)?)))
        }
        Request::Explain { name } => Asked::device(Method::GET, &name, &["explain"])
            .then(|body| Ok(Reply::Explanation(parse(body)?))),
        Request::Send { feed, note } => send(&feed.to_string(), note),
        Request::Feed { feed } => Asked::new(Method::GET, &["feeds", &feed.to_string()])
            .then(|body| Ok(Reply::Feed(parse(body)?))),
        Request::PutValues { feed, values } => {
            Asked::new(Method::PUT, &["feeds", &feed.to_string(), "values"])
                .json(&json!({ "values": values }))?
                .then(|_| Ok(Reply::Done))
        }
        Request::Ban(wish) => Asked::new(Method::POST, &["bans"])
            .json(&wish)?
            .repeated(Repeat::WithKey)
            .then(|body| Ok(Reply::Ban(parse(body)?))),
        Request::Unban { network } => Asked::new(Method::DELETE, &["bans", &network.to_string()])
            .repeated(Repeat::Never)
            .then(|_| Ok(Reply::Done)),
        Request::Bans => {
            Asked::new(Method::GET, &["bans"]).then(|body| Ok(Reply::Bans(parse(body)?)))
        }
        Request::AddOperator {
            name,
            password,
            role,
            publish,
            subscribe,
        } => Asked::new(Method::PUT, &["operators", name.as_str()])
            .json(&OperatorWish {
                password,
                role,
                publish,
                subscribe,
            })?
            .then(|_| Ok(Reply::Done)),
        Request::RemoveOperator { name } => {
            Asked::new(Method::DELETE, &["operators", name.as_str()])
                .repeated(Repeat::Never)
                .then(|_| Ok(Reply::Done))
        }
        Request::Operators => {
            Asked::new(Method::GET, &["operators"]).then(|body| Ok(Reply::Operators(parse(body)?)))
        }
        Request::CreateToken(wish) => Asked::new(Method::POST, &["tokens"])
            .json(&wish)?
            .repeated(Repeat::WithKey)
            .then(|body| {
                let Shown { token, secret } = parse(body)?;
                Ok(Reply::TokenCreated { token, secret })
            }),
        Request::RemoveToken { token } => Asked::new(Method::DELETE, &["tokens", token.as_str()])
            .repeated(Repeat::Never)
            .then(|_| Ok(Reply::Done)),
        Request::Tokens => {
            Asked::new(Method::GET, &["tokens"]).then(|body| Ok(Reply::Tokens(parse(body)?)))
        }
        Request::LicenceKey => Asked::new(Method::GET, &["licence-key"])
            .then(|body| Ok(Reply::LicenceKey(parse(body)?))),
        Request::Fleet => {
            Asked::new(Method::GET, &["fleet"]).then(|body| Ok(Reply::Fleet(parse(body)?)))
        }
        Request::BackUp { .. } => bail!("a backup is made on the machine of the registry"),
        Request::Version => {
            Asked::new(Method::GET, &["version"]).then(|body| Ok(Reply::Version(parse(body)?)))
        }
        Request::Events { after, limit } => Asked::new(Method::GET, &["events"])
            .query(&[
                ("after", Some(&after.to_string())),
                ("limit", Some(&limit.to_string())),
            ])
            .then(|body| {
                let Events { events } = parse(body)?;
                Ok(Reply::Events(events))
            }),
    })
}

/// A message to a device.
fn send(feed: &str, note: Note) -> Call {
    let sent = |body: &[u8]| {
        let Sent { became } = parse(body)?;
        Ok(Reply::Sent(became))
    };
    match note {
        Note::Command {
            name,
            payload,
            qos,
            expiry,
        } => Asked::new(Method::POST, &["feeds", feed, "commands", &name])
            .query(&[
                ("qos", Some(number(qos))),
                ("expires_in", expiry.map(|it| it.to_string()).as_deref()),
            ])
            .bytes(payload)
            .repeated(Repeat::Never)
            .then(sent),
        Note::Configuration { payload } if payload.is_empty() => {
            Asked::new(Method::DELETE, &["feeds", feed, "config"])
                .then(|_| Ok(Reply::Sent(Wanted::Kept)))
        }
        Note::Configuration { payload } => Asked::new(Method::PUT, &["feeds", feed, "config"])
            .bytes(payload)
            .then(sent),
    }
}

fn number(qos: Qos) -> &'static str {
    match qos {
        Qos::AtMostOnce => "0",
        Qos::AtLeastOnce => "1",
        Qos::ExactlyOnce => "2",
    }
}

/// An act's word, and for how long it is.
fn told(act: Act) -> (&'static str, Option<u64>) {
    match act {
        Act::Suspend => ("suspend", None),
        Act::Resume => ("resume", None),
        Act::Quarantine => ("quarantine", None),
        Act::Release => ("release", None),
        Act::Revoke => ("revoke", None),
        Act::Reset => ("reset", None),
        Act::ResetFromRevoked => ("reset-from-revoked", None),
        Act::Reopen { seconds } => ("reopen", Some(seconds)),
        Act::ForgetHardware => ("forget-hardware", None),
        Act::Renew => ("renew", None),
    }
}

impl Asked {
    fn new(method: Method, path: &[&str]) -> Self {
        let encoded = path.iter().map(|part| utf8_percent_encode(part, PLAIN));
        let path = encoded.map(|part| format!("/{part}")).collect();
        Self {
            method,
            path,
            body: Body::Nothing,
            repeat: Repeat::Freely,
        }
    }

    /// Something of a device, whose product is named where that is needed.
    fn device(method: Method, name: &DeviceName, more: &[&str]) -> Self {
        let path = [&["devices", name.serial.as_str()], more].concat();
        let product = name.product.as_ref().map(|product| product.as_str());
        Self::new(method, &path).query(&[("product_id", product)])
    }

    /// Adds what there is of a query.
    fn query(mut self, fields: &[(&str, Option<&str>)]) -> Self {
        for (name, value) in fields {
            let Some(value) = value else { continue };
            let between = if self.path.contains('?') { '&' } else { '?' };
            let value = utf8_percent_encode(value, PLAIN);
            self.path.push_str(&format!("{between}{name}={value}"));
        }
        self
    }

    fn json(mut self, body: &impl Serialize) -> Result<Self> {
        self.body = Body::Json(Zeroizing::new(serde_json::to_vec(body)?));
        Ok(self)
    }

    fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Body::Bytes(body);
        self
    }

    fn repeated(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    fn then(self, read: fn(&[u8]) -> Result<Reply>) -> Call {
        Call { asked: self, read }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .context("the server's answer is not understood: is it another version?")
}

#[derive(Deserialize)]
struct Created {
    product: ProductView,
    secret: String,
}

#[derive(Deserialize)]
struct Removed {
    devices: u64,
}

#[derive(Deserialize)]
struct Secret {
    secret: String,
}

#[derive(Deserialize)]
struct RotatedSecret {
    generation: u32,
    until: Timestamp,
    secret: String,
}

#[derive(Deserialize)]
struct Pepper {
    pepper: String,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct DeviceKey {
    device_key: String,
}

#[derive(Deserialize)]
struct Shown {
    token: TokenView,
    secret: String,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Value>,
}

#[derive(Deserialize)]
struct Sent {
    became: Wanted,
}
