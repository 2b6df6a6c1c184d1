//! Whether a device signed a request that it sent to somebody else's server.
//!
//! The server that was asked tells what came, and hears who it was. An answer
//! is never given again: what is verified is used up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use firstwake::signed::{Audience, RequestDigest};
use firstwake::{FeedId, NotAdmitted, ProductId, Proof, Serial, Timestamp};
use http::header::CACHE_CONTROL;
use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::http::caller::Verifier;
use crate::http::problem::{Kind, Problem};
use crate::http::{Source, body};

/// Characters of a target at most.
const LONGEST: usize = 8192;

/// What came to somebody's server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Came {
    /// What stood behind `Authorization: Bearer`.
    token: String,
    /// The name of the server that was asked, which its devices sign for.
    #[schema(example = "https://api.example.com", pattern = "^[!-~]{1,255}$")]
    audience: String,
    #[schema(example = "POST")]
    method: String,
    /// Path and query as they were sent.
    #[schema(example = "/reports?unit=%C2%B0C", pattern = "^[/*]")]
    target: String,
    /// SHA-256 of the body, 64 hex characters. This or `body`.
    #[serde(default)]
    body_sha256: Option<String>,
    /// The body, if it is text.
    #[serde(default)]
    body: Option<String>,
    /// The address that it came from, for bans and for the operator's view;
    /// the asking server's own unless said otherwise.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "192.0.2.7")]
    source: Option<IpAddr>,
}

/// Who asked, or why that cannot be said.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Verdict {
    /// This very device, this very request, for the first time.
    Verified(Verified),
    /// Not to be served.
    Refused(Refused),
}

/// A request that its device signed.
#[derive(Serialize, ToSchema)]
pub(super) struct Verified {
    /// `true`.
    #[schema(example = true)]
    verified: bool,
    #[schema(value_type = String)]
    serial: Serial,
    #[schema(value_type = String)]
    product_id: ProductId,
    #[schema(value_type = u32)]
    feed_id: FeedId,
}

/// A request that is not to be served.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    /// `false`.
    #[schema(example = false)]
    verified: bool,
    /// Why, as one word: docs/requests.md has the list.
    #[schema(example = "token_replayed")]
    refusal: &'static str,
    /// The same as a sentence.
    meaning: &'static str,
    /// Whether it was signed with the device's key: only then it may be told
    /// why.
    proved: bool,
    /// What time it is here, for a device whose clock is off.
    #[schema(value_type = String, format = DateTime)]
    server_time: Timestamp,
}

impl Came {
    /// The server that was asked.
    fn audience(&self) -> Result<Audience, Problem> {
        let audience = self.audience.parse::<Audience>();
        audience.map_err(|error| Problem::new(Kind::Invalid, error.to_string()))
    }

    /// What was asked.
    fn asked(&self) -> Result<RequestDigest, Problem> {
        let method = self.method.parse::<Method>();
        // A method is compared as it was sent, and no other text is one.
        let method = method.map_err(|_| invalid("method is that of a request, such as GET"))?;
        let visible = self.target.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.target.starts_with(['/', '*']) || !visible || self.target.len() > LONGEST {
            return Err(invalid(
                "target is path and query as they were sent, from the first slash on",
            ));
        }
        let body = match (&self.body_sha256, &self.body) {
            (Some(hash), None) => hash_of(hash)?,
            (None, Some(text)) => Sha256::digest(text).into(),
            _ => return Err(invalid("send body_sha256, or body with the text itself")),
        };
        Ok(RequestDigest::of_hashed(
            method.as_str(),
            &self.target,
            &body,
        ))
    }
}

/// Whether a device signed a request that it sent to your server
///
/// What is verified is used up: the same token is refused the next time.
#[utoipa::path(post, path = "/api/v1/verify", tag = "devices", operation_id = "verify_request",
    request_body = Came, responses((status = OK, body = Verdict)))]
pub(super) async fn verify(
    _: Verifier,
    State(broker): State<Arc<Broker>>,
    asker: Option<Extension<Source>>,
    body::Json(came): body::Json<Came>,
) -> Result<([(HeaderName, &'static str); 1], Json<Verdict>), Problem> {
    let (asked, audience) = (came.asked()?, came.audience()?);
    let asker = asker.map(|Extension(Source(asker))| asker);
    let source = came.source.or(asker);
    let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let now = broker.clock.now();
    let provisioner = &broker.provisioner;
    let verdict = match provisioner
        .verify_request(&came.token, &asked, &audience, source, now)
        .await
    {
        Ok(login) => Verdict::Verified(Verified {
            verified: true,
            serial: login.serial().clone(),
            product_id: login.product().clone(),
            feed_id: login.feed(),
        }),
        Err(NotAdmitted::Refused(refusal)) => Verdict::Refused(Refused {
            verified: false,
            refusal: refusal.as_str(),
            meaning: refusal.meaning(),
            proved: refusal.proof() == Proof::Proved,
            server_time: now,
        }),
        Err(not) => return Err(Problem::refused(&not, now)),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(verdict)))
}

fn hash_of(text: &str) -> Result<[u8; 32], Problem> {
    let mut bytes = [0; 32];
    let hash = hex::decode_to_slice(text, &mut bytes);
    hash.map_err(|_| invalid("body_sha256 is 64 hex characters"))?;
    Ok(bytes)
}

fn invalid(sentence: &'static str) -> Problem {
    Problem::new(Kind::Invalid, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(edit: impl FnOnce(&mut Came)) -> Option<RequestDigest> {
        let mut came = Came {
            token: String::new(),
            audience: "shop".to_owned(),
            method: "PUT".to_owned(),
            target: "/v1/x?a=1".to_owned(),
            body_sha256: None,
            body: Some("hello".to_owned()),
            source: None,
        };
        edit(&mut came);
        came.asked().ok()
    }

    #[test]
    fn a_body_and_its_hash_are_the_same() {
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let plain = came(|_| {});
        assert_eq!(plain, Some(RequestDigest::of("PUT", "/v1/x?a=1", b"hello")));
        let hashed = came(|it| (it.body, it.body_sha256) = (None, Some(hash.to_owned())));
        assert_eq!(hashed, plain);
        assert_ne!(came(|it| it.method = "put".to_owned()), plain);
    }

    #[test]
    fn what_is_no_request() {
        let hash = || Some("00".repeat(32));
        for odd in [
            came(|it| it.body_sha256 = hash()),
            came(|it| it.body = None),
            came(|it| (it.body, it.body_sha256) = (None, Some("00".repeat(31)))),
            came(|it| it.method = String::new()),
            came(|it| it.method = "PUT\n/v1".to_owned()),
            came(|it| it.target = String::new()),
            came(|it| it.target = "v1".to_owned()),
            came(|it| it.target = "/v1\n".to_owned()),
            came(|it| it.target = "/v1 x".to_owned()),
            came(|it| it.target = "/°".to_owned()),
            came(|it| it.target = format!("/{}", "x".repeat(LONGEST))),
        ] {
            assert_eq!(odd, None);
        }
    }
}
