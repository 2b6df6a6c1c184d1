//! Which web pages may open a WebSocket.
//!
//! A browser sends the origin of the page with every WebSocket, and no page can
//! keep it from doing so. Other clients send none, or one that they make of the
//! server's own address. So an `Origin` that is neither listed nor the host that
//! the request itself names is refused, and a request without one is let
//! through: what stands against strangers is the login behind it.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use thiserror::Error;

/// The origins that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Origins(Vec<Origin>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Any,
    One(String),
}

/// Not an origin.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is no origin: write scheme://host or scheme://host:port without a path, or \"*\"")]
pub(crate) struct NotAnOrigin(String);

impl Origins {
    /// Whether a request with these headers comes from where it may.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(ORIGIN).iter();
        sent.all(|origin| {
            let listed = self.0.iter().any(|allowed| match allowed {
                Origin::Any => true,
                Origin::One(one) => origin.as_bytes().eq_ignore_ascii_case(one.as_bytes()),
            });
            listed || is_host(origin, headers)
        })
    }
}

/// Whether an origin is the host that the request itself names. A port that
/// either leaves out is the usual one of the origin's scheme: a proxy in front
/// may have ended TLS, so the listener's own scheme says nothing.
pub(crate) fn is_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    // Of two hosts, another server in front may have looked at the other.
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let origin = origin.to_str().ok().and_then(|it| it.split_once("://"));
    let Some((scheme, authority)) = origin else {
        return false;
    };
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return false,
    };
    let place = |text: &str| {
        let authority: Authority = text.parse().ok().filter(|_| !text.contains('@'))?;
        // A port that is no number is another host's trick.
        let port = match text.strip_prefix(authority.host())? {
            "" => usual,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some((authority.host().to_ascii_lowercase(), port))
    };
    let named: Option<(String, u16)> = host.to_str().ok().and_then(place);
    named.is_some() && named == place(authority)
}

impl TryFrom<Vec<String>> for Origins {
    type Error = NotAnOrigin;

    fn try_from(texts: Vec<String>) -> Result<Self, NotAnOrigin> {
        let origins = texts.into_iter().map(Origin::parse);
        origins.collect::<Result<_, _>>().map(Self)
    }
}

impl Origin {
    fn parse(text: String) -> Result<Self, NotAnOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let rest = text.split_once("://").map(|(scheme, rest)| {
            let named = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
            named.then_some(rest)
        });
        match rest.flatten() {
            Some(rest) if rest.parse::<http::uri::Authority>().is_ok() && !rest.contains('@') => {
                Ok(Self::One(text))
            }
            _ => Err(NotAnOrigin(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Origins, NotAnOrigin> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Origins::try_from(texts)
    }

    fn allowed(listed: &[&str], sent: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in sent {
            headers.append(ORIGIN, origin.parse().expect("a header"));
        }
        origins(listed).expect("origins").allow(&headers)
    }

    #[test]
    fn who_is_let_in() {
        let page = "https://panel.example";
        assert!(allowed(&[], &[]), "not a browser");
        assert!(!allowed(&[], &[page]));
        assert!(allowed(&[page], &[page]));
        assert!(allowed(&[page], &["https://PANEL.example"]));
        assert!(allowed(&["http://other.example:8080", page], &[page]));
        assert!(allowed(&["*"], &["null"]));
        for other in [
            "null",
            "http://panel.example",
            "https://panel.example:444",
            "https://panel.example.evil",
            "https://evil.panel.example",
            "https://panel.example/",
            "*",
        ] {
            assert!(!allowed(&[page], &[other]), "{other}");
        }
        assert!(!allowed(&[page], &[page, "https://evil.example"]), "two");
    }

    #[test]
    fn the_host_of_the_request_itself_need_not_be_listed() {
        let check = |host: &str, origin: &str, own: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a header"));
            headers.insert(ORIGIN, origin.parse().expect("a header"));
            let allowed = Origins::default().allow(&headers);
            assert_eq!(allowed, own, "{host} {origin}");
        };
        for (host, origin) in [
            ("hub.example:9001", "http://hub.example:9001"),
            // Some clients name another scheme than they use.
            ("hub.example:9001", "https://hub.example:9001"),
            ("hub.example:9001", "ws://HUB.example:9001"),
            ("Hub.example", "http://hub.example"),
            ("hub.example", "https://hub.example"),
            ("hub.example", "http://hub.example:80"),
            ("hub.example:443", "https://hub.example"),
            ("hub.example:443", "wss://hub.example:443"),
            ("[::1]:9001", "http://[::1]:9001"),
            ("10.0.0.7", "http://10.0.0.7"),
        ] {
            check(host, origin, true);
        }
        for (host, origin) in [
            ("hub.example:9001", "http://hub.example"),
            ("hub.example:9001", "http://hub.example:9002"),
            ("hub.example:80", "https://hub.example"),
            ("hub.example", "https://hub.example:80"),
            ("hub.example", "http://evil.example"),
            ("hub.example", "http://hub.example.evil"),
            ("hub.example", "http://hub.example@evil.example"),
            ("hub.example", "http://evil.example@hub.example"),
            ("hub.example", "http://hub.example/"),
            ("hub.example", "http://hub.example:80evil"),
            ("hub.example:", "http://hub.example:"),
            ("hub.example", "file://hub.example"),
            ("hub.example", "hub.example"),
            ("hub.example", "null"),
            ("hub.example", ""),
            ("", ""),
            ("", "http://"),
            ("null", "null"),
        ] {
            check(host, origin, false);
        }
        let mut two = HeaderMap::new();
        two.append(HOST, HeaderValue::from_static("hub.example"));
        two.append(HOST, HeaderValue::from_static("hub.example"));
        assert!(!is_host(
            &HeaderValue::from_static("http://hub.example"),
            &two
        ));
    }

    #[test]
    fn what_is_an_origin() {
        for right in ["https://a.example", "http://[::1]:8080", "app://x", "*"] {
            assert!(origins(&[right]).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a/b",
            "https://u@a",
            "://a",
            "**",
        ] {
            assert_eq!(origins(&[wrong]), Err(NotAnOrigin(wrong.to_owned())));
        }
    }
}
