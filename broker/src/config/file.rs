//! The configuration file: TOML, every key of which is optional.
//!
//! `packaging/firstwake.toml` shows all of them with their defaults, and
//! `docs/configuration.md` says what each is for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::Where;
use crate::certificate::Files;
use crate::database::Database;
use crate::limits::Limits;
use crate::misread;
use crate::origins::Origins;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(super) mqtt: Option<Mqtt>,
    pub(super) mqtts: Option<Mqtts>,
    pub(super) websocket: Option<WebSocket>,
    pub(super) websockets: Option<WebSockets>,
    pub(super) http: Option<Http>,
    pub(super) https: Option<Https>,
    pub(super) xively: Option<Xively>,
    pub(super) registry: Option<Database>,
    pub(super) limits: Limits,
}

/// `[mqtt]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mqtt {
    pub(super) listen: Option<Where>,
    pub(super) dangerous_plaintext: bool,
}

/// `[mqtts]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mqtts {
    pub(super) listen: Option<Where>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// `[websocket]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebSocket {
    pub(super) listen: Option<Where>,
    pub(super) origins: Origins,
    pub(super) dangerous_plaintext: bool,
}

/// `[websockets]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebSockets {
    pub(super) listen: Option<Where>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    pub(super) origins: Origins,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<Where>,
}

/// `[https]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Https {
    pub(super) listen: Option<Where>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// `[xively]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Xively {
    pub(super) listen: Option<Where>,
    pub(super) dangerous_plaintext: bool,
}

impl Mqtts {
    pub(super) fn files(self) -> Option<Files> {
        files(self.certificate, self.key)
    }
}

impl WebSockets {
    pub(super) fn files(self) -> Option<Files> {
        files(self.certificate, self.key)
    }
}

impl Https {
    pub(super) fn files(self) -> Option<Files> {
        files(self.certificate, self.key)
    }
}

fn files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<Files> {
    let files = certificate.zip(key);
    files.map(|(certificate, key)| Files { certificate, key })
}

impl File {
    /// Reads a file. Paths in it start from where it lies.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path)
            .with_context(|| format!("the configuration file {name} cannot be read"))?;
        let mut file = Self::parse(&text).map_err(|wrong| anyhow!("{name}, {wrong}"))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        for path in file.paths() {
            *path = directory.join(&*path);
        }
        Ok(file)
    }

    /// Parses the text of a file; an error names the line and the key.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.unwrap_or_default().matches('\n').count() + 1;
            anyhow!("line {line}: {}", misread::toml(error.message()))
        })?;
        file.limits.check()?;
        for (section, certificate, key) in file.pairs() {
            if certificate.is_some() != key.is_some() {
                bail!("[{section}]: certificate and key go together, and one of them is missing");
            }
        }
        Ok(file)
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, &Option<PathBuf>, &Option<PathBuf>)> {
        let mqtts = self.mqtts.as_ref();
        let websockets = self.websockets.as_ref();
        let https = self.https.as_ref();
        let pairs = [
            mqtts.map(|it| ("mqtts", &it.certificate, &it.key)),
            websockets.map(|it| ("websockets", &it.certificate, &it.key)),
            https.map(|it| ("https", &it.certificate, &it.key)),
        ];
        pairs.into_iter().flatten()
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let mqtts = self.mqtts.as_mut();
        let websockets = self.websockets.as_mut();
        let https = self.https.as_mut();
        let database = self.registry.as_mut();
        let pairs = [
            mqtts.map(|it| [&mut it.certificate, &mut it.key]),
            websockets.map(|it| [&mut it.certificate, &mut it.key]),
            https.map(|it| [&mut it.certificate, &mut it.key]),
            database.map(|it| [&mut it.password_file, &mut it.certificate_authority]),
        ];
        pairs.into_iter().flatten().flatten().flatten()
    }
}

impl Limits {
    /// Some limits cannot be as low as that: nobody would get in, or nothing
    /// through.
    fn check(&self) -> Result<()> {
        let needed = [
            ("handshakes", self.handshakes == 0),
            ("handshakes_per_source", self.handshakes_per_source == 0),
            ("http_device_connections", self.http_device_connections == 0),
            (
                "http_operator_connections",
                self.http_operator_connections == 0,
            ),
            ("http_body_bytes", self.http_body_bytes < 64 * 1024),
            ("http_answer_bytes", self.http_answer_bytes < 64 * 1024),
            ("first_byte_seconds", self.first_byte_seconds == 0),
            ("connect_seconds", self.connect_seconds == 0),
            ("device_packet_bytes", self.device_packet_bytes < 1024),
            ("operator_packet_bytes", self.operator_packet_bytes < 1024),
            ("mailbox_messages", self.mailbox_messages == 0),
            ("operator_queue_messages", self.operator_queue_messages == 0),
        ];
        match needed.into_iter().find(|(_, none)| *none) {
            Some((key, _)) => {
                bail!(
                    "[limits] {key} is too low to serve anybody: leave it out, or set a larger number"
                )
            }
            None => Ok(()),
        }
    }
}
