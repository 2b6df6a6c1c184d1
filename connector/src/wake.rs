//! From whatever the device holds to an open, confirmed connection.
//!
//! Carries out what [`decide`] says, one attempt after the
//! other, and waits between them. Holds no rule of its own about what comes
//! next. A secret is never used before the credentials file has it.

use std::time::Instant;

use firstwake::{ActivationCode, FeedId};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::answer::{Answer, Identity};
use crate::ask::Desk;
use crate::client::{Connection, Login};
use crate::clock::Clock;
use crate::credentials::{Credentials, Handover, Secret, Stored};
use crate::decide::{self, Attempt, Setback, Step};
use crate::device::Device;
use crate::enrol::{NotEnrolled, enrol};
use crate::error::{CredentialsError, LoadError, Refusal, StoreError, Trouble};
use crate::randomness::random;
use crate::signing::{BurntIn, Signing};
use crate::why::{self, Asking, Why};

/// An open connection, and the credentials that opened it.
#[derive(Debug)]
pub(crate) struct Awake {
    pub(crate) connection: Connection,
    pub(crate) stored: Stored,
    pub(crate) feed: FeedId,
}

/// Why waking stopped.
#[derive(Debug)]
pub(crate) enum NotAwake {
    Refused(Refusal),
    Credentials(CredentialsError),
}

impl From<CredentialsError> for NotAwake {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(error)
    }
}

impl From<LoadError> for NotAwake {
    fn from(error: LoadError) -> Self {
        Self::Credentials(error.into())
    }
}

impl From<StoreError> for NotAwake {
    fn from(error: StoreError) -> Self {
        Self::Credentials(error.into())
    }
}

/// A device on its way to a connection.
pub(crate) struct Waking<'a> {
    device: &'a Device,
    code: Option<&'a ActivationCode>,
    clock: Clock,
    /// Tries in a row that met trouble.
    failures: u32,
    last_trouble: Option<Trouble>,
    /// The last secret that the server did not know.
    refused: Option<Stored>,
}

impl<'a> Waking<'a> {
    pub(crate) fn new(device: &'a Device, code: Option<&'a ActivationCode>) -> Self {
        Self {
            device,
            code,
            clock: Clock::default(),
            failures: 0,
            last_trouble: None,
            refused: None,
        }
    }

    /// What to begin with; `None` without anything to show.
    pub(crate) fn first(&self) -> Result<Option<Attempt<'a>>, CredentialsError> {
        let stored = match self.stored()? {
            Some(stored) => Some(stored),
            None => self.burnt_in()?,
        };
        Ok(decide::first(stored, self.code))
    }

    /// What is stored, if it proves itself in the way that the device is told.
    pub(crate) fn stored(&self) -> Result<Option<Stored>, LoadError> {
        let stored = self.device.credentials.load(&self.device.serial)?;
        if let Some(stored) = &stored {
            let has = match (stored.credentials().secret(), &self.device.signing) {
                (Secret::ApiKey(_), Signing::KeyPair | Signing::BurntIn(_)) => "an API key",
                (Secret::KeyPair(_), Signing::BurntIn(_) | Signing::Off) => "a key pair",
                (Secret::DeviceKey(_), Signing::KeyPair | Signing::Off) => "a device key",
                _ => return Ok(Some(stored.clone())),
            };
            return Err(LoadError::OtherSecret {
                path: self.device.credentials.path().to_owned(),
                has,
            });
        }
        Ok(stored)
    }

    /// The key that the factory burnt in, where nothing is stored yet: from
    /// now on it is.
    fn burnt_in(&self) -> Result<Option<Stored>, StoreError> {
        let Device {
            serial,
            credentials,
            signing,
            ..
        } = self.device;
        match signing {
            Signing::BurntIn(BurntIn {
                key,
                product,
                pepper,
            }) => {
                let fresh = Credentials::new(serial.clone(), Secret::DeviceKey(key.clone()));
                let fresh = fresh.of_product(product.clone(), pepper.clone());
                credentials.store(fresh).map(Some)
            }
            Signing::WhereAllowed | Signing::KeyPair | Signing::Off => Ok(None),
        }
    }

    /// Tries this and whatever follows from it, until the device is connected
    /// with a confirmed secret, or a person has to do something.
    pub(crate) async fn wake(&mut self, first: Attempt<'a>) -> Result<Awake, NotAwake> {
        let mut attempt = first;
        loop {
            let step = match attempt {
                Attempt::Key(stored) => match self.log_in(&stored).await {
                    Ok(connection) => match self.settle(connection, stored.clone()).await? {
                        Ok(awake) => return Ok(awake),
                        Err(trouble) => Step::Later(Attempt::Key(stored), trouble),
                    },
                    Err(setback) => self.after_key(stored, setback),
                },
                Attempt::Code(code) => match enrol(self.device, code, &mut self.clock).await {
                    Ok(stored) => Step::Now(Attempt::Key(stored)),
                    Err(NotEnrolled::Setback(setback)) => {
                        decide::after_code(code, setback, self.untried()?)
                    }
                    Err(NotEnrolled::Credentials(error)) => return Err(error.into()),
                },
            };
            attempt = match step {
                Step::Now(attempt) => attempt,
                Step::Later(attempt, trouble) => {
                    self.wait_after(trouble).await;
                    attempt
                }
                Step::Stop(Refusal::CodeNotAllowed) => {
                    let refusal = self.why_no_code().await?;
                    return Err(NotAwake::Refused(refusal));
                }
                Step::Stop(refusal) => return Err(NotAwake::Refused(refusal)),
            };
        }
    }

    /// Waits as long as the troubles so far suggest.
    pub(crate) async fn wait_after(&mut self, trouble: Trouble) {
        let wait = self.device.pace.backoff.wait(self.failures, random());
        warn!("{trouble}; next try in {:.1} s", wait.as_secs_f32());
        self.failures = self.failures.saturating_add(1);
        self.last_trouble = Some(trouble);
        sleep(wait).await;
    }

    /// Waits as long as a refusal deserves: only a person can end it.
    pub(crate) async fn wait_after_refusal(&self, refusal: &Refusal) {
        let wait = self.device.pace.backoff.slow(random());
        warn!("{refusal}; next try in {:.0} s", wait.as_secs_f32());
        sleep(wait).await;
    }

    /// A connection ended that was opened at this time. One that held for a
    /// while starts the back-off anew; one that is closed at once, each time,
    /// must not.
    pub(crate) fn connection_ended(&mut self, opened: Instant) {
        if opened.elapsed() >= self.device.pace.backoff.cap {
            self.failures = 0;
        }
    }

    /// What went wrong last.
    pub(crate) fn into_last_trouble(self) -> Option<Trouble> {
        self.last_trouble
    }

    /// Logs in with the key, or with a signature made for this one connection.
    async fn log_in(&mut self, stored: &Stored) -> Result<Connection, Setback> {
        let password = stored.password(&mut self.clock, &self.device.machine);
        let login = Login::Key(stored, &password);
        match Connection::open(&self.device.broker, login).await {
            Err(Setback::Refused(Refusal::KeyNotAllowed)) => Err(self.why(stored).await),
            opened => opened,
        }
    }

    /// MQTT 3.1.1 says of a right secret only that it will not do.
    async fn why(&mut self, stored: &Stored) -> Setback {
        let password = stored.password(&mut self.clock, &self.device.machine);
        match self.ask_why(&password, Some(stored)).await {
            Why::Time(time) => Setback::Trouble(Trouble::Clock(self.clock.set(time).to_string())),
            Why::Reason(reason) => Setback::Refused(Refusal::Reason { reason }),
            Why::Accepted => Setback::Trouble(Trouble::Undecided),
            Why::Unsaid => Setback::Refused(Refusal::KeyNotAllowed),
        }
    }

    /// The same of a right code, when nothing else is left to try.
    async fn why_no_code(&self) -> Result<Refusal, LoadError> {
        let Some(code) = self.code else {
            return Ok(Refusal::CodeNotAllowed);
        };
        let password = Zeroizing::new(code.expose_hex());
        let stored = self.stored()?;
        Ok(match self.ask_why(&password, stored.as_ref()).await {
            Why::Reason(reason) => Refusal::Reason { reason },
            Why::Time(_) | Why::Accepted | Why::Unsaid => Refusal::CodeNotAllowed,
        })
    }

    async fn ask_why(&self, password: &str, stored: Option<&Stored>) -> Why {
        let facts = stored.map(|stored| stored.facts(&self.device.machine));
        let asking = Asking {
            serial: self.device.serial.as_str(),
            password,
            hardware: facts
                .filter(|facts| !facts.is_empty())
                .map(|facts| facts.to_json().to_string()),
        };
        why::ask(&self.device.broker, asking).await
    }

    fn after_key(&mut self, stored: Stored, setback: Setback) -> Step<'a> {
        let before = match setback {
            Setback::Refused(Refusal::WrongKey) => self.refused.replace(stored.clone()),
            _ => None,
        }
        .filter(|other| !other.has_secret_of(&stored));
        decide::after_key(stored, setback, self.code, before)
    }

    /// Asks the server what a device that only has its key cannot know, and
    /// notes that the secret works.
    async fn settle(
        &mut self,
        mut connection: Connection,
        stored: Stored,
    ) -> Result<Result<Awake, Trouble>, NotAwake> {
        if let Some(feed) = stored.credentials().feed_id() {
            let stored = self.confirmed(stored);
            return Ok(Ok(Awake {
                connection,
                stored,
                feed,
            }));
        }
        let question = json!({"ask": "identity"});
        let patience = self.device.pace.answer;
        let asked = Desk::open(&mut connection, &self.device.serial, &question, patience).await;
        match asked {
            Ok((_, Answer::Identity(identity))) => {
                let feed = identity.place.feed_id;
                let stored = self.told(stored, identity)?;
                Ok(Ok(Awake {
                    connection,
                    stored,
                    feed,
                }))
            }
            Ok((_, Answer::Refused { code, message })) => match decide::answered(code, message) {
                Setback::Refused(refusal) => Err(NotAwake::Refused(refusal)),
                Setback::Trouble(trouble) => Ok(Err(trouble)),
            },
            Ok(_) => Ok(Err(Trouble::UnreadableAnswer)),
            Err(Setback::Trouble(trouble)) => Ok(Err(trouble)),
            Err(Setback::Refused(refusal)) => Err(NotAwake::Refused(refusal)),
        }
    }

    /// Writes down what the server said of a device that has logged in.
    fn told(&self, stored: Stored, identity: Identity) -> Result<Stored, StoreError> {
        let Identity {
            place,
            product,
            pepper,
        } = identity;
        info!("feed {} is ours", place.feed_id);
        let credentials = stored.credentials().clone();
        let credentials = match product {
            Some(product) => credentials.of_product(product, pepper),
            None => credentials,
        };
        let credentials = credentials.placed(&self.device.broker, place);
        self.device.credentials.store(credentials.confirmed())
    }

    /// Notes that the secret works. Without the note it still works, and the
    /// next start only tries it once more.
    fn confirmed(&self, stored: Stored) -> Stored {
        if stored.credentials().handover() == Handover::Confirmed {
            return stored;
        }
        self.device
            .credentials
            .confirm(&stored)
            .unwrap_or_else(|error| {
                warn!("the key works, but {error}");
                stored
            })
    }

    /// A secret in the file that has not been refused: another process on this
    /// device may have activated since.
    fn untried(&self) -> Result<Option<Stored>, LoadError> {
        let stored = self.stored()?.filter(Stored::may_log_in);
        let refused = |stored: &Stored| {
            let refused = self.refused.as_ref();
            refused.is_some_and(|old| old.has_secret_of(stored))
        };
        Ok(stored.filter(|stored| !refused(stored)))
    }
}
