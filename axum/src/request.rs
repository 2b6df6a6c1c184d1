//! A request that a device signed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequest, OriginalUri, Request};
use axum_extra::headers::HeaderMapExt;
use axum_extra::headers::authorization::{Authorization, Bearer};
use bytes::Bytes;
use firstwake::DeviceLogin;
use firstwake::signed::RequestDigest;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::Rejection;
use crate::verifier::Verifier;

/// What a device asks, proved: this device has signed this method, target and
/// body, and it was asked never before.
///
/// A device is found by its token. Where the server says so
/// (`into_make_service_with_connect_info::<SocketAddr>`), its address stands in
/// the operator's view and bans by address hold; otherwise it is 0.0.0.0.
#[derive(Debug)]
pub struct SignedRequest {
    /// Who asks.
    pub device: DeviceLogin,
    /// The body, as it was signed.
    pub body: Bytes,
}

impl<S> FromRequest<S> for SignedRequest
where
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let verifier = Verifier::from_ref(state);
        let (parts, body) = request.into_parts();
        let bearer = parts.headers.typed_get::<Authorization<Bearer>>();
        let bearer = bearer.ok_or(Rejection::NoToken)?;
        let body = match Limited::new(body, verifier.largest_body()).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Rejection::TooLarge),
            Err(_) => return Err(Rejection::CutOff),
        };
        let asked = RequestDigest::of(parts.method.as_str(), &target(&parts), &body);
        let device = verifier.verify(bearer.token(), &asked, source(&parts));
        Ok(Self {
            device: device.await?,
            body,
        })
    }
}

/// Path and query as they came, whatever a router has taken off the path.
fn target(parts: &Parts) -> String {
    let original = parts.extensions.get::<OriginalUri>();
    let uri = original.map_or(&parts.uri, |OriginalUri(uri)| uri);
    let target = uri.path_and_query();
    target.map_or_else(String::new, |target| target.as_str().to_owned())
}

fn source(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip())
}
