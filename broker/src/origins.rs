//! Which web pages may open a WebSocket.
//!
//! A browser sends the origin of the page with every WebSocket, and no page can
//! keep it from doing so; other clients send none. So an `Origin` that is not
//! listed is refused, and a request without one is let through: what stands
//! against strangers is the login behind it.

use http::HeaderMap;
use http::header::ORIGIN;
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
            self.0.iter().any(|allowed| match allowed {
                Origin::Any => true,
                Origin::One(one) => origin.as_bytes().eq_ignore_ascii_case(one.as_bytes()),
            })
        })
    }
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
