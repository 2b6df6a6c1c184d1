//! A device in a directory of its own, in a hurry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use firstwake::{ActivationCode, Serial};
use firstwake_connector::{
    ActivateError, Activated, Backoff, Broker, CredentialsFile, Device, Pace, activate,
};

use crate::fake::{ACCEPTED, FakeBroker, Login};

pub(crate) const SERIAL: &str = "S+1";
pub(crate) const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
pub(crate) const RESPONSE: &str = "provision/S%2B1/response";

/// No step of a test takes longer, unless it hangs.
const HUNG: Duration = Duration::from_secs(30);

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
        together(activate(&self.device, &code(), HUNG), script).await
    }

    /// The script of one activation that goes well, up to the key's login.
    pub(crate) async fn issues(&self, character: char) {
        let (mut peer, login) = self.broker.connack(ACCEPTED).await;
        assert_eq!(login, with_password(CODE));
        assert_eq!(peer.subscription().await, RESPONSE);
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
        if connack == ACCEPTED {
            peer.disconnect().await;
        }
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
    }
}
