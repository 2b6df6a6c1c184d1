//! A server elsewhere, over HTTP: each request is one call of its `/api/v1`.
//!
//! The token goes to that server and nowhere else: no redirect is followed,
//! and where nothing encrypts it no proxy is used. It stands in a header only,
//! so no error and no address that is told holds it.

mod answer;
mod call;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::OperatorToken;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error, Proxy};
use zeroize::Zeroizing;

use self::answer::Answer;
use self::call::{Asked, Body, Call, Repeat};
use super::Unreachable;
use super::address::Address;
use crate::control::request::{Reply, Request};
use crate::edge::OsEntropy;

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take for the whole of one call: thousands of devices may
/// be changed by it.
const CALL: Duration = Duration::from_secs(120);
/// Bytes of an answer at most.
const MOST: u64 = 64 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Remote {
    agent: Agent,
    address: Address,
    /// The header `Authorization`, which no `Debug` shows.
    authorization: HeaderValue,
}

impl Remote {
    pub(super) fn new(address: Address, token: &OperatorToken, ca: Option<&Path>) -> Result<Self> {
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        if let Some(path) = ca {
            tls = tls.root_certs(RootCerts::from(authorities(path)?));
        }
        let proxy = match address.is_encrypted() {
            true => Proxy::try_from_env(),
            false => None,
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(CALL))
            .tls_config(tls.build())
            .user_agent(concat!("firstwake/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut authorization = HeaderValue::from_str(&bearer)?;
        authorization.set_sensitive(true);
        Ok(Self {
            agent,
            address,
            authorization,
        })
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply> {
        let call = call::of(request)?;
        let remote = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = remote.make(&call)?;
            answer::read(&answer, &call, &remote.address)
        });
        answer.await?
    }

    /// Makes the call; once more if the connection was lost on the way and the
    /// server will not carry it out twice.
    fn make(&self, call: &Call) -> Result<Answer> {
        let repeat = call.asked.repeat;
        let key = (repeat == Repeat::WithKey).then(once_key);
        let once = || self.attempt(&call.asked, key.as_deref());
        let answer = match once() {
            Err(error) if repeat != Repeat::Never && is_lost(&error) => once(),
            answer => answer,
        };
        answer.map_err(|error| self.trouble(error))
    }

    fn attempt(&self, asked: &Asked, key: Option<&str>) -> Result<Answer, Error> {
        let uri = format!("{}/api/v1{}", self.address.as_str(), asked.path);
        let mut request = http::Request::builder()
            .method(&asked.method)
            .uri(uri)
            .header(AUTHORIZATION, &self.authorization);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let mut response = match &asked.body {
            Body::Json(body) => {
                let request = request.header(CONTENT_TYPE, "application/json");
                self.agent.run(request.body(&body[..])?)?
            }
            Body::Bytes(body) => {
                let request = request.header(CONTENT_TYPE, "application/octet-stream");
                self.agent.run(request.body(&body[..])?)?
            }
            Body::Nothing => self.agent.run(request.body(())?)?,
        };
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        let body = response.body_mut().with_config().limit(MOST).read_to_vec();
        Ok(Answer {
            status: response.status(),
            kind,
            body: Zeroizing::new(body?),
        })
    }

    /// What to say of a call that got no answer.
    fn trouble(&self, error: Error) -> anyhow::Error {
        let address = self.address.as_str();
        if let Error::Io(error) = &error
            && let Some(tls) = error.get_ref().and_then(|it| it.downcast_ref())
            && let rustls::Error::InvalidCertificate(why) = tls
        {
            return anyhow!(
                "the certificate of {address} is not trusted ({why:?}): if an authority of your \
                 own made it, name that one's certificate with --ca"
            );
        }
        let why = match error {
            Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        Unreachable(anyhow!("{address} does not answer: {why}")).into()
    }
}

/// Whether an answer may be on its way, or the request was never read: nobody
/// can tell which.
fn is_lost(error: &Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        Error::Protocol(_) | Error::BodyStalled => true,
        _ => false,
    }
}

/// What a call is known by when it is made again.
fn once_key() -> String {
    use firstwake::Entropy;
    let mut bytes = [0; 16];
    OsEntropy.fill(&mut bytes);
    format!("{:032x}", u128::from_ne_bytes(bytes))
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(one) = item.with_context(|| format!("{shown} is not PEM"))? {
            found.push(one);
        }
    }
    if found.is_empty() {
        bail!("{shown} holds no certificate");
    }
    Ok(found)
}
