//! `/v2`, as firmware and apps ask it.

use std::io::{Read, Write};

use super::http::{HttpPeer, Response};
use super::{TestBroker, dial};

impl TestBroker {
    /// Starts with `/v2` on a free port, and MQTT.
    pub(crate) fn with_xively() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["--mqtt", "127.0.0.1:0", "--xively", "127.0.0.1:0"];
        Self::launch(directory, "data", &["mqtt", "xively"], &arguments)
    }

    /// The same, logging so much.
    pub(crate) fn with_xively_that_says(level: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = [("FIRSTWAKE_LOG", level)];
        let arguments = ["--mqtt", "127.0.0.1:0", "--xively", "127.0.0.1:0"];
        Self::launch_in(
            directory,
            "data",
            &environment,
            &["mqtt", "xively"],
            &arguments,
        )
    }

    /// The same with limits of its own, each as KEY=N.
    pub(crate) fn with_xively_and(limits: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("firstwake.toml");
        let limits = limits.join("\n");
        std::fs::write(&config, format!("[limits]\n{limits}\n")).expect("written");
        let config = config.to_str().expect("UTF-8");
        let listeners = ["--mqtt", "127.0.0.1:0", "--xively", "127.0.0.1:0"];
        let arguments = [&["--config", config], &listeners[..]].concat();
        Self::launch(directory, "data", &["mqtt", "xively"], &arguments)
    }

    /// A connection to `/v2`.
    pub(crate) fn xively(&self) -> HttpPeer {
        HttpPeer::open(self.listens("xively"))
    }

    /// Everything that comes until the server closes.
    pub(crate) fn says(&self, request: &str) -> String {
        let mut stream = dial(self.listens("xively"));
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("it closes");
        said
    }

    /// What a device's code is answered, with these headers.
    pub(crate) fn activation(&self, code: &str, headers: &[&str]) -> Response {
        let line = format!("GET /v2/devices/{code}/activate");
        self.xively().ask(&line, headers, b"")
    }
}

impl Response {
    /// The sentence of an error with this status and title, whose body is
    /// Xively's two fields and nothing else.
    pub(crate) fn denied(&self, status: u16, title: &str) -> String {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        let body = self.json();
        let errors = body["errors"].as_str().expect("a sentence").to_owned();
        let text = serde_json::to_string(&errors).expect("text");
        let exact = format!(r#"{{"title":"{title}","errors":{text}}}"#);
        assert_eq!(self.text(), exact);
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/json; charset=utf-8"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        errors
    }

    /// The text of an answer with this status.
    pub(crate) fn text_of(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        self.text().to_owned()
    }
}
