//! What a fleet knows after its activation, in a file, for the next run.
//!
//! One JSON object a line: `{"serial":"…","feed_id":1,"apikey":"…"}`. The keys
//! in it are all that is needed to be those devices, so the file is for its
//! owner alone, and nothing that is said about it quotes from it.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use firstwake::Serial;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::{Credentials, IssuedKey};
use crate::record::DeviceResult;

/// A device that has its key.
#[derive(Clone, Debug)]
pub struct Keyholder {
    /// Who it is.
    pub serial: Serial,
    /// What it was given.
    pub credentials: Credentials,
}

/// A file that is there and empty, and will hold keys.
pub struct CredentialsFile {
    file: File,
    path: PathBuf,
}

/// Why credentials cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There is such a file: its mode might not be ours to trust, and its keys
    /// might be the only copy.
    #[error("{0} is there already: keys are only written to a new file")]
    Exists(PathBuf),
    /// The system said no.
    #[error("cannot use {path} for credentials: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is not what [`CredentialsFile::save`] writes.
    #[error(
        "{path}, line {line}: this is no device's credentials: a line is \
         {{\"serial\":\"…\",\"feed_id\":1,\"apikey\":\"…\"}}"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    serial: Cow<'a, str>,
    feed_id: u64,
    #[serde(borrow)]
    apikey: Cow<'a, str>,
}

impl CredentialsFile {
    /// Makes the file, for its owner alone (mode 0600). Before the fleet
    /// activates: a key that cannot be written down is lost.
    pub fn create(path: PathBuf) -> Result<Self, CredentialsError> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                Err(CredentialsError::Exists(path))
            }
            Err(cause) => Err(CredentialsError::File { path, cause }),
        }
    }

    /// Writes a line for each device that was given a key.
    pub fn save(self, devices: &[DeviceResult]) -> Result<(), CredentialsError> {
        let Self { file, path } = self;
        write_lines(file, devices).map_err(|cause| CredentialsError::File { path, cause })
    }
}

fn write_lines(file: File, devices: &[DeviceResult]) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    for device in devices {
        let Some(credentials) = &device.credentials else {
            continue;
        };
        let line = Line {
            serial: device.serial.as_str().into(),
            feed_id: credentials.feed_id,
            apikey: credentials.key.expose().into(),
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads the file that a storm saved; blank lines are skipped.
pub fn load(path: &Path) -> Result<Vec<Keyholder>, CredentialsError> {
    let refuse = |cause| CredentialsError::File {
        path: path.to_owned(),
        cause,
    };
    let file = BufReader::new(File::open(path).map_err(refuse)?);
    let mut devices = Vec::new();
    for (index, line) in file.lines().enumerate() {
        let line = Zeroizing::new(line.map_err(refuse)?);
        if line.trim().is_empty() {
            continue;
        }
        devices.push(parse_line(&line).ok_or_else(|| CredentialsError::Line {
            path: path.to_owned(),
            line: index + 1,
        })?);
    }
    Ok(devices)
}

/// The cause is not told: it would quote the line.
fn parse_line(line: &str) -> Option<Keyholder> {
    let Line {
        serial,
        feed_id,
        apikey,
    } = serde_json::from_str(line).ok()?;
    Some(Keyholder {
        serial: Serial::parse(&serial).ok()?,
        credentials: Credentials {
            feed_id,
            key: IssuedKey::new(Zeroizing::new(apikey.into_owned())),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::answer::parse_answer;
    use crate::outcome::Outcome;
    use crate::record::Timings;

    fn device(serial: &str, answer: Option<&str>) -> DeviceResult {
        DeviceResult {
            serial: Serial::parse(serial).expect("a serial"),
            outcome: Outcome::Activated,
            credentials: answer.map(|answer| parse_answer(answer.as_bytes()).expect("an answer")),
            timings: Timings::default(),
        }
    }

    #[test]
    fn what_is_saved_can_be_loaded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        let file = CredentialsFile::create(path.clone()).expect("it is new");
        let devices = [
            device(
                "a+b",
                Some(r#"{"apikey":"k\"1","feed_id":7,"datastreams":[]}"#),
            ),
            device("none", None),
            device("c", Some(r#"{"apikey":"k2","feed_id":8,"datastreams":[]}"#)),
        ];
        file.save(&devices).expect("written");

        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = load(&path).expect("well-formed");
        let loaded: Vec<_> = loaded
            .iter()
            .map(|one| {
                let Credentials { feed_id, key } = &one.credentials;
                (one.serial.as_str(), *feed_id, key.expose())
            })
            .collect();
        assert_eq!(loaded, [("a+b", 7, "k\"1"), ("c", 8, "k2")]);

        let again = CredentialsFile::create(path);
        assert!(matches!(again, Err(CredentialsError::Exists(_))));
    }

    #[test]
    fn a_wrong_line_is_named_and_not_quoted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        let right = r#"{"serial":"a","feed_id":1,"apikey":"sesame"}"#;
        for wrong in [
            r#"{"serial":"a b","feed_id":1,"apikey":"sesame"}"#,
            r#"{"serial":"a","feed_id":-1,"apikey":"sesame"}"#,
            r#"{"serial":"a","feed_id":1,"apikey":"sesame","x":1}"#,
            "sesame",
        ] {
            std::fs::write(&path, format!("{right}\n\n{wrong}\n")).expect("written");
            let sentence = load(&path).expect_err(wrong).to_string();
            assert!(sentence.contains("line 3"), "{sentence}");
            assert!(!sentence.contains("sesame"), "{sentence}");
        }
    }
}
