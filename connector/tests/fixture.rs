//! A device in a directory of its own, in a hurry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use firstwake::{ActivationCode, Serial};
use firstwake_connector::{
    ActivateError, Activated, Backoff, Broker, CredentialsFile, Device, Machine, Pace, Signing,
    activate,
};

use crate::fake::{ACCEPTED, FakeBroker, Login, NOT_AUTHORISED, Peer};

pub(crate) const SERIAL: &str = "S+1";
pub(crate) const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
pub(crate) const RESPONSE: &str = "provision/S%2B1/response";

/// No step of a test takes longer, unless it hangs.
pub(crate) const HUNG: Duration = Duration::from_secs(30);

pub(crate) struct Fixture {
    pub(crate) broker: FakeBroker,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) device: Device,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let broker = FakeBroker::start().await;
        let directory = tempfile::tempdir().expect("directory");
        let device = Device {
            broker: Broker::loopback(&broker.address()).expect("address"),
            serial: Serial::parse(SERIAL).expect("serial"),
            credentials: CredentialsFile::at(directory.path().join("device.json")),
            machine: Machine::under(directory.path().join("no such board")),
            signing: Signing::Off,
            pace: Pace {
                backoff: Backoff {
                    base: Duration::from_millis(1),
                    cap: Duration::from_millis(4),
                },
                ..Pace::default()
            },
        };
        Self {
            broker,
            directory,
            device,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.device.credentials.path().to_owned()
    }

    /// The names of all files there are, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("listing");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort_unstable();
        names
    }

    /// Leaves the device with the key made of this character.
    pub(crate) fn stores(&self, character: char, confirmed: bool) {
        let json = format!(
            r#"{{"version":1,"serial":"{SERIAL}","feed_id":7,"api_key":"{}","datastreams":[],"confirmed":{confirmed}}}"#,
            key(character)
        );
        fs::write(self.path(), json).expect("written");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).expect("mode");
    }

    /// What is in the file now: the key, and whether it is marked confirmed.
    pub(crate) fn stored(&self) -> Option<(String, bool)> {
        let text = fs::read_to_string(self.path()).ok()?;
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let key = json["api_key"].as_str().expect("key").to_owned();
        Some((key, json["confirmed"].as_bool().expect("mark")))
    }

    /// Activates against this script.
    pub(crate) async fn activate(
        &self,
        script: impl Future<Output = ()>,
    ) -> Result<Activated, ActivateError> {
        together(activate(&self.device, Some(&code()), HUNG), script).await
    }

    /// The script of one activation that goes well, up to the key's login.
    pub(crate) async fn issues(&self, character: char) {
        let (mut peer, login) = self.broker.connack(ACCEPTED).await;
        assert_eq!(login, with_password(CODE));
        peer.asks_for_a_challenge().await;
        peer.message(RESPONSE, &answer(character)).await;
        peer.acknowledgement().await;
        peer.disconnect().await;
    }

    /// The script of one login with a key, and the answer to it. Whenever a
    /// key arrives, the file has it.
    pub(crate) async fn takes_key(&self, character: char, connack: u8) {
        let (mut peer, login) = self.broker.login().await;
        assert_eq!(login, with_password(&key(character)));
        assert_eq!(self.stored().map(|(key, _)| key), Some(key(character)));
        peer.connack(connack).await;
        match connack {
            ACCEPTED => peer.disconnect().await,
            NOT_AUTHORISED => drop(self.broker.is_asked_why().await),
            _ => {}
        }
    }
}

impl Peer {
    /// The script's part of every activation's beginning, up to the answer.
    pub(crate) async fn asks_for_a_challenge(&mut self) {
        let question = self.question().await;
        assert_eq!(question, serde_json::json!({"ask": "challenge"}));
        assert_eq!(self.subscription().await, RESPONSE);
    }
}

/// Both, or a panic where one of them hangs.
pub(crate) async fn together<T>(
    device: impl Future<Output = T>,
    script: impl Future<Output = ()>,
) -> T {
    let both = async { tokio::join!(device, script) };
    tokio::time::timeout(HUNG, both).await.expect("hangs").0
}

pub(crate) fn code() -> ActivationCode {
    ActivationCode::parse(CODE).expect("code")
}

pub(crate) fn key(character: char) -> String {
    character.to_string().repeat(48)
}

pub(crate) fn answer(character: char) -> String {
    format!(
        r#"{{"apikey":"{}","feed_id":123456,"datastreams":["temperature"]}}"#,
        key(character)
    )
}

pub(crate) fn with_password(password: &str) -> Login {
    Login {
        client_id: SERIAL.to_owned(),
        user: SERIAL.to_owned(),
        password: password.to_owned(),
        is_kept: password != CODE,
    }
}
