//! Signing: what a device shows in place of a password.
//!
//! A login token is made for one connection and a request token for one
//! request; neither is kept. Both show the board they were made on, as soon as
//! the device knows under what its facts are hashed.

use std::ops::Range;

use firstwake::hardware::{Facts, Pepper};
use firstwake::signed::{Audience, LONGEST, LoginClaims, RequestClaims, RequestDigest, Signer};
use firstwake::{DeviceKey, ProductId, Serial, Timestamp};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::credentials::{CredentialsFile, Secret, Stored};
use crate::error::{CounterError, SignError};
use crate::hardware::Machine;
use crate::randomness::random;

/// How a device is to prove who it is, where it has no secret yet.
#[derive(Clone, Debug, Default)]
pub enum Signing {
    /// With a key pair of its own where the server takes that, else with an
    /// API key.
    #[default]
    WhereAllowed,
    /// With a key pair of its own, or not at all.
    KeyPair,
    /// With what the factory burnt in: nothing has to be enrolled.
    BurntIn(BurntIn),
    /// With an API key.
    Off,
}

/// What a factory gives a device that signs from its first login on.
#[derive(Clone, Debug)]
pub struct BurntIn {
    /// What it signs with.
    pub key: DeviceKey,
    /// As which product's device.
    pub product: ProductId,
    /// Under what its facts are hashed; else the server tells it after the
    /// first login, which then shows no facts.
    pub pepper: Option<Pepper>,
}

impl Stored {
    /// What is shown to log in: an API key as it is, else a fresh token.
    pub(crate) fn password(&self, clock: &mut Clock, machine: &Machine) -> Zeroizing<String> {
        let credentials = self.credentials();
        match (credentials.secret(), self.voice()) {
            (Secret::ApiKey(key), _) => Zeroizing::new(key.expose().to_owned()),
            (_, Some(voice)) => Zeroizing::new(voice.login(clock, machine)),
            // Not even a server that takes anything takes this.
            (_, None) => Zeroizing::new(String::new()),
        }
    }

    /// What signs, and as whom; `None` where nothing can be signed yet.
    fn voice(&self) -> Option<Voice<'_>> {
        let credentials = self.credentials();
        Some(Voice {
            signer: credentials.secret().signer()?,
            serial: credentials.serial(),
            product: credentials.product()?,
            stored: self,
        })
    }

    /// The facts of this machine as the server knows them; none before the
    /// device knows under what they are hashed.
    pub fn facts(&self, machine: &Machine) -> Facts {
        match self.credentials().pepper() {
            Some(pepper) => Facts::of(pepper, machine.inventory().values()),
            None => Facts::default(),
        }
    }
}

/// A device that can sign.
struct Voice<'a> {
    signer: Signer,
    serial: &'a Serial,
    product: &'a ProductId,
    stored: &'a Stored,
}

impl Voice<'_> {
    fn login(&self, clock: &mut Clock, machine: &Machine) -> String {
        self.claim(clock, machine, |claims| self.signer.login(&claims))
    }

    fn request(
        &self,
        clock: &mut Clock,
        machine: &Machine,
        audience: &Audience,
        (counter, request): (u64, RequestDigest),
    ) -> String {
        self.claim(clock, machine, |login| {
            self.signer.request(&RequestClaims {
                login,
                counter,
                audience,
                request,
            })
        })
    }

    fn claim(
        &self,
        clock: &mut Clock,
        machine: &Machine,
        sign: impl FnOnce(LoginClaims<'_>) -> String,
    ) -> String {
        sign(LoginClaims {
            serial: self.serial,
            product: self.product,
            issued_at: clock.sign(),
            span: LONGEST,
            jti: &format!("{:016x}", random()),
            hardware: &self.stored.facts(machine),
        })
    }
}

/// Signs requests to servers that ask Firstwake who it was.
///
/// Several may be under way at once. Whoever signs many should keep one of
/// these: it draws its counters in blocks, and a block costs a write.
#[derive(Debug)]
pub struct RequestSigner {
    stored: Stored,
    file: CredentialsFile,
    machine: Machine,
    clock: Clock,
    block: u32,
    counters: Range<u64>,
}

impl RequestSigner {
    /// How many counters are drawn at once where many requests are signed. A
    /// server's window is a few times as wide.
    pub const BLOCK: u32 = 32;

    /// A signer that draws this many counters at once.
    pub fn new(
        file: CredentialsFile,
        serial: &Serial,
        machine: Machine,
        block: u32,
    ) -> Result<Self, SignError> {
        let stored = file.load(serial)?.ok_or_else(|| SignError::NoCredentials {
            path: file.path().to_owned(),
        })?;
        if stored.voice().is_none() {
            return Err(SignError::NoKey {
                path: file.path().to_owned(),
            });
        }
        Ok(Self {
            stored,
            file,
            machine,
            clock: Clock::default(),
            block,
            counters: 0..0,
        })
    }

    /// From now on signatures go with this time, whatever the machine's clock
    /// says: for whoever has asked `GET /api/v1/time`.
    pub fn set_time(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    /// A token for one request to this server; the target is path and query as
    /// they are sent.
    pub fn sign(
        &mut self,
        audience: &Audience,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<String, SignError> {
        let counter = self.next_counter()?;
        let asked = (counter, RequestDigest::of(method, target, body));
        let voice = self.stored.voice().ok_or_else(|| SignError::NoKey {
            path: self.file.path().to_owned(),
        })?;
        Ok(voice.request(&mut self.clock, &self.machine, audience, asked))
    }

    /// A token to log in with, once.
    pub fn login(&mut self) -> Zeroizing<String> {
        self.stored.password(&mut self.clock, &self.machine)
    }

    fn next_counter(&mut self) -> Result<u64, CounterError> {
        if self.counters.is_empty() {
            let now = self.clock.now();
            self.counters = self.file.counter().reserve(self.block.max(1), now)?;
        }
        self.counters.next().ok_or(CounterError::Exhausted)
    }
}
