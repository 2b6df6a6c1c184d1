//! Web pages of elsewhere, which have no business here.
//!
//! A browser sends passwords along that it has seen before, whoever wrote the
//! page that has it ask. It says whose page that is, so that it can be refused.

use http::HeaderMap;
use http::header::ORIGIN;

use crate::origins::is_host;

/// Whether a page of another origin has a browser ask this.
pub(super) fn is_of_elsewhere(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.any(|origin| !is_host(origin, headers))
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn who_asks_for_a_page_of_elsewhere() {
        let check = |host: Option<&str>, origins: &[&str], elsewhere| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().expect("a header"));
            }
            for origin in origins {
                headers.append(ORIGIN, origin.parse().expect("a header"));
            }
            assert_eq!(is_of_elsewhere(&headers), elsewhere, "{host:?} {origins:?}");
        };
        let own = Some("fleet.example:8443");
        check(own, &[], false);
        check(None, &[], false);
        check(own, &["https://fleet.example:8443"], false);
        for origin in [
            "null",
            "",
            "https://fleet.example",
            "https://evil.example",
            "https://fleet.example:8443.evil.example",
            "https://fleet.example:8443@evil.example",
            "fleet.example:8443/",
        ] {
            check(own, &[origin], true);
        }
        check(own, &["https://fleet.example:8443", "https://evil"], true);
        check(None, &["https://fleet.example:8443"], true);
    }
}
