//! From an activation code to credentials that are on disk.
//!
//! A key pair is made and synced before any server hears of it, and it is the
//! same one however often this has to be begun anew: so an answer that is lost,
//! or a power cut at any step, costs nothing. Only where the server takes no
//! signatures, the device has never signed, and nobody insisted, is an API key
//! taken in its place; and that is said.

use firstwake::hardware::Facts;
use firstwake::{ActivationCode, PrivateKey};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::answer::{Answer, Challenge, Identity, Place};
use crate::ask::Desk;
use crate::client::{Connection, Login};
use crate::clock::Clock;
use crate::credentials::{Credentials, Secret, Stored};
use crate::decide::{self, Setback};
use crate::device::Device;
use crate::error::{CredentialsError, LoadError, Refusal, StoreError, Trouble};
use crate::private_file::Lock;
use crate::randomness;
use crate::signing::Signing;

/// Why there are no credentials at the end.
#[derive(Debug)]
pub(crate) enum NotEnrolled {
    Setback(Setback),
    Credentials(CredentialsError),
}

impl From<Setback> for NotEnrolled {
    fn from(setback: Setback) -> Self {
        Self::Setback(setback)
    }
}

impl From<LoadError> for NotEnrolled {
    fn from(error: LoadError) -> Self {
        Self::Credentials(error.into())
    }
}

impl From<StoreError> for NotEnrolled {
    fn from(error: StoreError) -> Self {
        Self::Credentials(error.into())
    }
}

/// Shows the code, and stores what it is worth.
pub(crate) async fn enrol(
    device: &Device,
    code: &ActivationCode,
    clock: &mut Clock,
) -> Result<Stored, NotEnrolled> {
    let _others_wait = keep_others_out(device)?;
    let pair = key_pair(device)?;
    let login = Login::Code(&device.serial, code);
    let mut connection = Connection::open(&device.broker, login).await?;
    let (desk, answer) = Desk::open(
        &mut connection,
        &device.serial,
        &json!({"ask": "challenge"}),
        device.pace.answer,
    )
    .await?;
    let mut enrolling = Enrolling {
        device,
        connection,
        desk,
    };
    let ended = enrolling.go_on(answer, pair, clock).await;
    enrolling.connection.close().await;
    ended
}

/// Two processes that make two key pairs would each replace the other's.
fn keep_others_out(device: &Device) -> Result<Lock, NotEnrolled> {
    let lock = device.credentials.lock()?;
    lock.ok_or(NotEnrolled::Setback(Setback::Trouble(Trouble::Elsewhere)))
}

/// The key pair to enrol: the one on disk, or a new one that is on disk now.
/// `None` where the device is to have an API key.
fn key_pair(device: &Device) -> Result<Option<Stored>, NotEnrolled> {
    match device.credentials.load(&device.serial)? {
        Some(stored) => Ok(Some(stored).filter(|stored| key_of(stored).is_some())),
        None if matches!(device.signing, Signing::Off) => Ok(None),
        None => {
            let key = randomness::key_pair().map_err(|cause| StoreError {
                step: "draw a key for",
                path: device.credentials.path().to_owned(),
                cause,
            })?;
            let fresh = Credentials::new(device.serial.clone(), Secret::KeyPair(key));
            Ok(Some(device.credentials.store(fresh)?))
        }
    }
}

fn key_of(stored: &Stored) -> Option<&PrivateKey> {
    match stored.credentials().secret() {
        Secret::KeyPair(key) => Some(key),
        Secret::ApiKey(_) | Secret::DeviceKey(_) => None,
    }
}

/// A device that has shown its code.
struct Enrolling<'a> {
    device: &'a Device,
    connection: Connection,
    desk: Desk,
}

impl Enrolling<'_> {
    async fn go_on(
        &mut self,
        answer: Answer,
        pair: Option<Stored>,
        clock: &mut Clock,
    ) -> Result<Stored, NotEnrolled> {
        let challenge = match (answer, pair) {
            (Answer::Challenge(challenge), Some(pair)) => {
                clock.set(challenge.server_time);
                return self.with_key_pair(pair, challenge).await;
            }
            (Answer::Challenge(challenge), None) => challenge,
            // A server that knows no challenges has sent the whole answer.
            (Answer::Issued(key, place), None) => return self.keep(Secret::ApiKey(key), place),
            (Answer::Issued(key, place), Some(pair)) => {
                self.fall_back(&pair)?;
                return self.keep(Secret::ApiKey(key), place);
            }
            (answer, _) => return Err(unexpected(answer).into()),
        };
        let facts = self.facts(&challenge);
        self.with_api_key(&facts).await
    }

    /// Has the public half of the key pair enrolled.
    async fn with_key_pair(
        &mut self,
        pair: Stored,
        challenge: Challenge,
    ) -> Result<Stored, NotEnrolled> {
        let facts = self.facts(&challenge);
        let Challenge {
            challenge,
            product,
            pepper,
            ..
        } = challenge;
        // As whom the device signs is on disk before the server knows the key.
        let named = pair.credentials().clone();
        let named = named.of_product(product.clone(), Some(pepper));
        let pair = self.device.credentials.store(named)?;
        let Some(key) = key_of(&pair) else {
            return Err(Setback::Refused(Refusal::NoSignatures).into());
        };
        let mut enrolment = json!({
            "public_key": key.public().to_string(),
            "challenge": challenge,
            "signature": key.sign_enrolment(&product, &self.device.serial, &challenge),
        });
        if !facts.is_empty() {
            enrolment["hardware"] = facts.to_json();
        }
        match self.desk.ask(&mut self.connection, &enrolment).await? {
            Answer::Identity(identity) => self.enrolled(&pair, identity),
            Answer::Refused { code, .. } if code == "signing_disabled" => {
                self.fall_back(&pair)?;
                self.with_api_key(&facts).await
            }
            answer => Err(unexpected(answer).into()),
        }
    }

    /// Asks for an API key, showing the board.
    async fn with_api_key(&mut self, facts: &Facts) -> Result<Stored, NotEnrolled> {
        let question = if facts.is_empty() {
            Value::Object(serde_json::Map::new())
        } else {
            json!({"hardware": facts.to_json()})
        };
        match self.desk.ask(&mut self.connection, &question).await? {
            Answer::Issued(key, place) => self.keep(Secret::ApiKey(key), place),
            Answer::Identity(_) => Err(Setback::Refused(Refusal::SignatureWanted).into()),
            answer => Err(unexpected(answer).into()),
        }
    }

    fn facts(&self, challenge: &Challenge) -> Facts {
        let inventory = self.device.machine.inventory();
        Facts::of(&challenge.pepper, inventory.values())
    }

    /// Whether an API key will do.
    fn fall_back(&self, pair: &Stored) -> Result<(), Setback> {
        match self.device.signing {
            Signing::WhereAllowed if !pair.has_signed() => {
                warn!("this server takes no signatures of this device: it gets an API key");
                Ok(())
            }
            _ => Err(Setback::Refused(Refusal::NoSignatures)),
        }
    }

    fn enrolled(&self, pair: &Stored, identity: Identity) -> Result<Stored, NotEnrolled> {
        let Identity { place, .. } = identity;
        let feed = place.feed_id;
        let credentials = pair.credentials().clone();
        let credentials = credentials.placed(&self.device.broker, place);
        let stored = self.device.credentials.store(credentials)?;
        info!("feed {feed} is ours, and our public key is enrolled");
        Ok(stored)
    }

    /// Writes down what was issued. From here on it may be used.
    fn keep(&self, secret: Secret, place: Place) -> Result<Stored, NotEnrolled> {
        let feed = place.feed_id;
        let credentials = Credentials::new(self.device.serial.clone(), secret);
        let credentials = credentials.placed(&self.device.broker, place);
        let stored = self.device.credentials.store(credentials)?;
        info!("feed {feed} is ours, its key is stored");
        Ok(stored)
    }
}

fn unexpected(answer: Answer) -> Setback {
    match answer {
        Answer::Refused { code, message } => decide::answered(code, message),
        _ => Setback::Trouble(Trouble::UnreadableAnswer),
    }
}
