//! Where a server elsewhere is reached.

use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`, and a path before `/api/v1`
/// if there is a proxy that wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without a slash at the end.
    base: String,
    encrypted: bool,
    loopback: bool,
}

/// Why a text is no address, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAddress {
    #[error("use a URL such as https://HOST:8443 or http://127.0.0.1:8080")]
    Unreadable,
    #[error("a URL holds no name or password: show a token with --token-file")]
    Credentials,
    #[error("use a URL without ? and #: commands add the path themselves")]
    Query,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.contains(['?', '#']) {
            return Err(InvalidAddress::Query);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidAddress::Unreadable)?;
        let encrypted = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(InvalidAddress::Unreadable),
        };
        let authority = uri.authority().ok_or(InvalidAddress::Unreadable)?;
        if authority.as_str().contains('@') {
            return Err(InvalidAddress::Credentials);
        }
        Ok(Self {
            base: text.trim_end_matches('/').to_owned(),
            encrypted,
            loopback: is_loopback(authority.host()),
        })
    }
}

impl Address {
    /// Whether somebody on the way can read a token that is sent there.
    pub(crate) fn is_exposed(&self) -> bool {
        !self.encrypted && !self.loopback
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.base
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_told_apart() {
        let check = |text: &str, exposed: bool, base: &str| {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.is_exposed(), exposed, "{text}");
            assert_eq!(address.as_str(), base);
        };
        check("http://127.0.0.1:8080", false, "http://127.0.0.1:8080");
        check("http://localhost/", false, "http://localhost");
        check("http://[::1]:8080", false, "http://[::1]:8080");
        check(
            "http://[::ffff:127.0.0.1]",
            false,
            "http://[::ffff:127.0.0.1]",
        );
        check("http://192.0.2.7:8080", true, "http://192.0.2.7:8080");
        check("http://localhost.example", true, "http://localhost.example");
        check("http://127.0.0.1.example", true, "http://127.0.0.1.example");
        check("https://a.example/fw/", false, "https://a.example/fw");
    }

    #[test]
    fn what_is_none_is_refused() {
        let check = |text: &str, why: InvalidAddress| {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        };
        for text in [
            "",
            "a.example",
            "a.example:8443",
            "ftp://a",
            "https://",
            "/a",
        ] {
            check(text, InvalidAddress::Unreadable);
        }
        check("https://u:p@a.example", InvalidAddress::Credentials);
        check("https://a.example?x=1", InvalidAddress::Query);
        check("https://a.example/#x", InvalidAddress::Query);
    }
}
