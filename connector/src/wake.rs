//! From whatever the device holds to an open, confirmed connection.
//!
//! Carries out what [`decide`] says, one attempt after the
//! other, and waits between them. Holds no rule of its own about what comes
//! next. A key is never sent before the credentials file has it.

use std::time::Instant;

use firstwake::ActivationCode;
use firstwake::topic::device::response;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::answer::{Answer, Issued};
use crate::client::{Connection, Event, Login};
use crate::credentials::{Credentials, Handover, Stored};
use crate::decide::{self, Attempt, Setback, Step};
use crate::device::Device;
use crate::error::{LoadError, Refusal, StoreError, Trouble};

/// An open connection, and the credentials that opened it.
#[derive(Debug)]
pub(crate) struct Awake {
    pub(crate) connection: Connection,
    pub(crate) stored: Stored,
}

/// Why waking stopped.
#[derive(Debug)]
pub(crate) enum NotAwake {
    Refused(Refusal),
    Load(LoadError),
    Store(StoreError),
}

impl From<LoadError> for NotAwake {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<StoreError> for NotAwake {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A device on its way to a connection.
pub(crate) struct Waking<'a> {
    device: &'a Device,
    code: Option<&'a ActivationCode>,
    /// Tries in a row that met trouble.
    failures: u32,
    last_trouble: Option<Trouble>,
    /// The last key that the server did not know.
    refused: Option<Stored>,
}

impl<'a> Waking<'a> {
    pub(crate) fn new(device: &'a Device, code: Option<&'a ActivationCode>) -> Self {
        Self {
            device,
            code,
            failures: 0,
            last_trouble: None,
            refused: None,
        }
    }

    /// What to begin with; `None` without anything to show.
    pub(crate) fn first(&self) -> Result<Option<Attempt<'a>>, LoadError> {
        let stored = self.device.credentials.load(&self.device.serial)?;
        Ok(match self.code {
            Some(code) => Some(decide::first(stored, code)),
            None => stored.map(Attempt::Key),
        })
    }

    /// Tries this and whatever follows from it, until the device is connected
    /// with a confirmed key, or a person has to do something.
    pub(crate) async fn wake(&mut self, first: Attempt<'a>) -> Result<Awake, NotAwake> {
        let mut attempt = first;
        loop {
            let step = match attempt {
                Attempt::Key(stored) => {
                    match Connection::open(&self.device.broker, Login::Key(&stored)).await {
                        Ok(connection) => {
                            let stored = self.confirmed(stored);
                            return Ok(Awake { connection, stored });
                        }
                        Err(setback) => self.after_key(stored, setback),
                    }
                }
                Attempt::Code(code) => match redeem(self.device, code).await {
                    Ok(issued) => Step::Now(Attempt::Key(self.keep(issued)?)),
                    Err(setback) => decide::after_code(code, setback, self.untried()?),
                },
            };
            attempt = match step {
                Step::Now(attempt) => attempt,
                Step::Later(attempt, trouble) => {
                    self.wait_after(trouble).await;
                    attempt
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

    fn after_key(&mut self, stored: Stored, setback: Setback) -> Step<'a> {
        let before = match setback {
            Setback::Refused(Refusal::WrongKey) => self.refused.replace(stored.clone()),
            _ => None,
        }
        .filter(|other| !other.has_key_of(&stored));
        decide::after_key(stored, setback, self.code, before)
    }

    /// Writes down what was issued. From here on it may be used.
    fn keep(&self, issued: Issued) -> Result<Stored, StoreError> {
        let Device {
            broker,
            serial,
            credentials,
            ..
        } = self.device;
        let stored = credentials.store(Credentials::issued(serial.clone(), broker, issued))?;
        info!(
            "feed {} is ours, its key is stored",
            stored.credentials().feed_id()
        );
        Ok(stored)
    }

    /// Notes that the key works. Without the note it still works, and the
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

    /// A key in the file that has not been refused: another process on this
    /// device may have activated since.
    fn untried(&self) -> Result<Option<Stored>, LoadError> {
        let stored = self.device.credentials.load(&self.device.serial)?;
        let refused = |key: &Stored| self.refused.as_ref().is_some_and(|old| old.has_key_of(key));
        Ok(stored.filter(|key| !refused(key)))
    }
}

/// Shows the code, and waits on the device's own topic for what it is worth.
async fn redeem(device: &Device, code: &ActivationCode) -> Result<Issued, Setback> {
    let login = Login::Code(&device.serial, code);
    let mut connection = Connection::open(&device.broker, login).await?;
    let topic = response(&device.serial).as_str().to_owned();
    connection
        .subscribe(topic.clone())
        .map_err(Setback::Trouble)?;
    let answered = timeout(device.pace.answer, answer_on(&topic, &mut connection));
    let answer = answered
        .await
        .unwrap_or(Err(Setback::Trouble(Trouble::NoAnswer)))?;
    connection.close().await;
    match answer {
        Answer::Issued(issued) => Ok(issued),
        Answer::Refused { code, message } => Err(decide::answered(code, message)),
    }
}

async fn answer_on(topic: &str, connection: &mut Connection) -> Result<Answer, Setback> {
    loop {
        match connection.next().await.map_err(Setback::Trouble)? {
            Event::Message {
                topic: found,
                payload,
            } if found == topic => {
                return Answer::parse(&payload)
                    .map_err(|_| Setback::Trouble(Trouble::UnreadableAnswer));
            }
            Event::SubscriptionRefused => return Err(Setback::Refused(Refusal::Subscription)),
            _ => {}
        }
    }
}

/// Where the system has no randomness, the longest wait is the careful one.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
