//! A request to somebody's server: the server that it is for, and what it asks,
//! in 32 bytes.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of `METHOD ‖ 0x0A ‖ target ‖ 0x0A ‖ hex(SHA-256(body))`, written as
/// 43 characters of base64url. The target is path and query as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestDigest([u8; 32]);

/// A text is not the digest of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request's digest is 43 characters of base64url without padding")]
pub struct InvalidDigest;

/// The name of a server that takes signed requests, as the server and its
/// devices agree on it: 1 to 255 visible ASCII characters, such as
/// `https://api.example.com`. A request that is signed for one server is refused
/// for every other, so that none can pass on what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Box<str>);

/// A text is not the name of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience is the name of the server that is asked, 1 to 255 visible ASCII characters, \
     such as https://api.example.com"
)]
pub struct InvalidAudience;

impl Audience {
    /// Characters at most.
    const LONGEST: usize = 255;

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        match (1..=Self::LONGEST).contains(&text.len()) && visible {
            true => Ok(Self(text.into())),
            false => Err(InvalidAudience),
        }
    }
}

impl RequestDigest {
    /// Of a request whose body is at hand.
    pub fn of(method: &str, target: &str, body: &[u8]) -> Self {
        Self::of_hashed(method, target, &Sha256::digest(body).into())
    }

    /// Of one whose body was hashed by somebody else.
    pub fn of_hashed(method: &str, target: &str, body: &[u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(method)
            .chain_update(b"\n")
            .chain_update(target)
            .chain_update(b"\n")
            .chain_update(hex::encode(body));
        Self(digest.finalize().into())
    }
}

impl fmt::Display for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl TryFrom<String> for RequestDigest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidDigest)?;
        <[u8; 32]>::try_from(bytes)
            .map(Self)
            .map_err(|_| InvalidDigest)
    }
}

impl From<RequestDigest> for String {
    fn from(digest: RequestDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_name() {
        let check = |text: &str, fits| {
            assert_eq!(text.parse::<Audience>().is_ok(), fits, "{text:?}");
        };
        check("https://api.example.com", true);
        check("shop", true);
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
        for odd in ["", " ", "a b", "shop\n", "sh\u{f6}p"] {
            check(odd, false);
        }
    }

    #[test]
    fn it_is_the_documented_hash() {
        // Computed with: printf 'PUT\n/v1/x?a=1\n%s' "$(printf hello | sha256sum | cut -c1-64)" |
        //   openssl dgst -sha256 -binary | basenc --base64url
        let digest = RequestDigest::of("PUT", "/v1/x?a=1", b"hello");
        assert_eq!(
            digest.to_string(),
            "dzR6o9s_qr4eFy7YHsWCFIhQEMWrwYSGaaKdar0sNmA"
        );
        assert_eq!(RequestDigest::try_from(digest.to_string()), Ok(digest));
        for other in [
            RequestDigest::of("GET", "/v1/x?a=1", b"hello"),
            RequestDigest::of("PUT", "/v1/x?a=2", b"hello"),
            RequestDigest::of("PUT", "/v1/x?a=1", b"hallo"),
        ] {
            assert_ne!(other, digest);
        }
    }
}
