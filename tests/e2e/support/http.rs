//! One HTTP client, as bytes over a socket: what is sent and what comes is
//! exactly what a test says.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use serde_json::Value;

use super::peer::{Carrier, dial};
use super::{PASSWORD, TestBroker};

/// A connection on which requests are answered one after the other.
pub(crate) struct HttpPeer {
    stream: Box<dyn Carrier + Send>,
    /// Came already, not asked for yet.
    ahead: Vec<u8>,
}

/// What came: the head in lines, the body as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header, whatever its case; `None` if it is not there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The body, of an answer with this status.
    pub(crate) fn of(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        match self.body.is_empty() {
            true => Value::Null,
            false => self.json(),
        }
    }

    /// The sentence of a problem with this status and anchor.
    pub(crate) fn problem(&self, status: u16, anchor: &str) -> String {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["type"], format!("/api/v1/problems#{anchor}"));
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().expect("a sentence").to_owned()
    }
}

impl HttpPeer {
    /// A connection on which nothing was said.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(dial(address))
    }

    /// Whatever carries its bytes.
    pub(crate) fn over(carrier: impl Carrier + Send + 'static) -> Self {
        let stream = Box::new(carrier);
        let ahead = Vec::new();
        Self { stream, ahead }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
        self.stream.flush().expect("the server reads");
    }

    /// Sends as much as the server takes; it may have closed.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next answer, whole.
    pub(crate) fn response(&mut self) -> Response {
        let head = loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let head = self.ahead.drain(..end + 4).collect();
                break String::from_utf8(head).expect("text");
            }
            assert!(self.read_more() > 0, "the server closed: {:?}", self.ahead);
        };
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        let mut response = Response {
            status: status.unwrap_or_else(|| panic!("no status: {head}")),
            head,
            body: Vec::new(),
        };
        let length = response.header("content-length").map(str::to_owned);
        response.body = match length {
            Some(length) => self.take(length.parse().expect("a number")),
            None if response.status < 200 || response.status == 204 => Vec::new(),
            None => self.rest(),
        };
        response
    }

    /// Reads so many bytes.
    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(self.read_more() > 0, "the server closed: {:?}", self.ahead);
        }
        self.ahead.drain(..length).collect()
    }

    /// Reads until this has come, and returns all before it.
    pub(crate) fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.ahead, mark) {
                let mut taken: Vec<u8> = self.ahead.drain(..at + mark.len()).collect();
                taken.truncate(at);
                return taken;
            }
            assert!(self.read_more() > 0, "the server closed: {:?}", self.ahead);
        }
    }

    /// Reads until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// 0 at the end, of whatever kind.
    fn read_more(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => 0,
        };
        self.ahead.extend(&buffer[..count]);
        count
    }

    /// Sends a request and reads its answer. Each header is a whole line.
    pub(crate) fn ask(&mut self, line: &str, headers: &[&str], body: &[u8]) -> Response {
        self.send(&request(line, headers, body));
        self.response()
    }
}

/// `METHOD /path`, headers and a body as HTTP/1.1 has them.
pub(crate) fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
    for header in headers {
        bytes.push_str(header);
        bytes.push_str("\r\n");
    }
    if !body.is_empty() {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// What is sent with a body of JSON.
pub(crate) const JSON: &str = "Content-Type: application/json";

/// The header of an operator whose password is everybody's here.
pub(crate) fn basic(name: &str) -> String {
    let pair = format!("{name}:{PASSWORD}");
    format!("Authorization: Basic {}", base64(pair.as_bytes()))
}

/// Base64, for the one header that needs it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextet = |group: &[u8], index: usize| {
        let byte = |at| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        char::from(ALPHABET[(bits >> (18 - 6 * index) & 63) as usize])
    };
    let groups = bytes.chunks(3).flat_map(|group| {
        (0..4).map(move |index| match index <= group.len() {
            true => sextet(group, index),
            false => '=',
        })
    });
    groups.collect()
}

impl TestBroker {
    /// Starts with HTTP for operators on a free port, and MQTT.
    pub(crate) fn with_http() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        Self::launch(directory, "data", &["mqtt", "http"], &arguments)
    }

    /// A connection to what operators ask.
    pub(crate) fn http(&self) -> HttpPeer {
        HttpPeer::open(self.listens("http"))
    }
}
