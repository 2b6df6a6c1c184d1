//! What a device says and hears over HTTP.
//!
//! Pure: one request out, one reply in. A request is as poor as firmware's:
//! the line and Host. A reply is whole when its Content-Length is there; none
//! is taken that would have to be pieced together.

use std::net::SocketAddr;

use firstwake::ActivationCode;
use zeroize::Zeroizing;

use crate::answer::{Credentials, parse_answer};
use crate::outcome::{HttpStatus, Mishap, Refusal};

/// Replies have fewer headers.
const MOST_HEADERS: usize = 24;

/// Writes the request that shows the code.
pub(crate) fn ask(code: &ActivationCode, host: SocketAddr, out: &mut Vec<u8>) {
    let code = Zeroizing::new(code.expose_hex());
    for part in ["GET /v2/devices/", &code, "/activate HTTP/1.1\r\nHost: "] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(host.to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Reads a reply; `None` while it is not whole.
pub(crate) fn hear(heard: &[u8]) -> Result<Option<Credentials>, Mishap> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(heard).map_err(|_| Mishap::Malformed)? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial => return Ok(None),
    };
    if let Some(status) = head.code.and_then(HttpStatus::new) {
        return Err(Mishap::Refused(Refusal::Status(status)));
    }
    let length = length(head.headers).ok_or(Mishap::Malformed)?;
    let end = start.checked_add(length).ok_or(Mishap::Malformed)?;
    heard.get(start..end).map(parse_answer).transpose()
}

fn length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let found = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(found.value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use firstwake::{ProductSecret, Serial};

    use super::*;

    const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
        Content-Length: 43\r\n\r\n{\"apikey\":\"k\",\"feed_id\":7,\"datastreams\":[]}";

    #[test]
    fn the_request_is_as_poor_as_firmwares() {
        let secret = ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef");
        let serial = Serial::parse("0123456789").expect("a serial");
        let code = ActivationCode::compute(&secret.expect("a secret"), &serial);
        let mut out = Vec::new();
        ask(&code, ([127, 0, 0, 1], 80).into(), &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "GET /v2/devices/b8b6aacc855a97a92eaa2d2201b5d04a06f204b7/activate HTTP/1.1\r\n\
             Host: 127.0.0.1:80\r\n\r\n"
        );
    }

    #[test]
    fn a_reply_is_read_once_it_is_whole() {
        for length in 0..REPLY.len() {
            let heard = hear(&REPLY.as_bytes()[..length]);
            assert!(matches!(heard, Ok(None)), "{length}: {heard:?}");
        }
        let credentials = hear(REPLY.as_bytes()).expect("well-formed").expect("whole");
        assert_eq!(credentials.feed_id, 7);
        assert_eq!(credentials.key.expose(), "k");
    }

    #[test]
    fn what_is_no_answer() {
        let check = |reply: &str, expected: Mishap| {
            assert_eq!(hear(reply.as_bytes()).err(), Some(expected), "{reply}");
        };
        let status = HttpStatus::new(403).expect("a refusal");
        check(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n",
            Mishap::Refused(Refusal::Status(status)),
        );
        check("HTTP/1.1 200 OK\r\n\r\n{}", Mishap::Malformed);
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            Mishap::Malformed,
        );
        let most = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        check(&most, Mishap::Malformed);
        check("\x20\x02\x00\x00", Mishap::Malformed);
    }
}
