//! What can go wrong: one enum for each operation, variants by cause.
//!
//! Every `Display` is one whole sentence for the person at the device. None
//! quotes a secret, nor an input that may hold one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use firstwake::{InvalidDatastream, Serial};

/// Why an address cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBroker {
    /// Not `HOST:PORT`.
    #[error("a broker is HOST:PORT, as in 127.0.0.1:1883 or [::1]:1883")]
    Address,
    /// Secrets would cross a network in the clear.
    #[error(
        "{host} is not this machine, and without TLS the activation code and the API key can be \
         read by everyone on the way: use a broker on loopback, or --dangerous-plaintext"
    )]
    Plaintext {
        /// Where they would have gone.
        host: String,
    },
}

/// Why a line of input is not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// See [`DatastreamId`](firstwake::DatastreamId).
    #[error(transparent)]
    Datastream(#[from] InvalidDatastream),
    /// A single word, and no default datastream.
    #[error("expected NAME VALUE or NAME=VALUE (or --datastream for bare values)")]
    NoDatastream,
    /// A name and nothing after it.
    #[error("the value is missing")]
    Empty,
    /// See [`Payload`](crate::Payload).
    #[error("the value is longer than 4096 bytes")]
    TooLong,
    /// The bytes are no text.
    #[error("not UTF-8")]
    NotText,
}

/// Why there is no activation code to use.
#[derive(Debug, thiserror::Error)]
pub enum CodeSourceError {
    /// The file or standard input cannot be read.
    #[error("cannot read {origin}: {cause}")]
    Read {
        /// Which one.
        origin: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It was read, but holds something else.
    #[error("{origin} does not hold what it should: {expected}")]
    Content {
        /// Which one.
        origin: String,
        /// What was expected.
        expected: String,
    },
}

/// Why stored credentials cannot be used. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system would not read it.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others may have read the key.
    #[error(
        "{} can be read or written by others (mode {mode:04o}): `chmod 600` it, and have the device \
         reset if they may have", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Truncated, or never a credentials file.
    #[error(
        "{} is not a credentials file, or a damaged one (line {line}, column {column}): move it \
         away to activate again", path.display()
    )]
    Garbled {
        /// The file.
        path: PathBuf,
        /// Where reading stopped, from 1.
        line: usize,
        /// Where reading stopped, from 1.
        column: usize,
    },
    /// Written by a newer program.
    #[error("{} has version {version}, and this program reads 1 and 2", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
    /// Somebody else's.
    #[error("{} belongs to the device {serial}", path.display())]
    OtherDevice {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        serial: Serial,
    },
    /// It proves itself in another way than it is told to.
    #[error(
        "the device of {} proves itself with {has}, and is told to do it in another way: leave \
         --sign and its options out, or move the file away and have the device reset",
        path.display()
    )]
    OtherSecret {
        /// The file.
        path: PathBuf,
        /// What it has.
        has: &'static str,
    },
}

/// Why there is no number for a request.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The counter cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The next number cannot be written down, so it is not used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not a number.
    #[error(
        "{} is no counter, or a damaged one: remove it, and the numbers go on from the present time",
        path.display()
    )]
    Garbled {
        /// The file.
        path: PathBuf,
    },
    /// After 2⁵³ requests.
    #[error("this device's numbers are used up: have it reset")]
    Exhausted,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// What is stored cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Never activated.
    #[error("there are no credentials in {}: activate the device first", path.display())]
    NoCredentials {
        /// The file.
        path: PathBuf,
    },
    /// Activated with an API key, or not to its end.
    #[error(
        "the device of {} has no key that signs: it has an API key, or its activation is not \
         finished", path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Each request needs a number.
    #[error(transparent)]
    Counter(#[from] CounterError),
}

/// Why something could not be made durable. What was there before remains.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} the file {}: {cause}", path.display())]
pub struct StoreError {
    /// What was being done: "create", "write", "rename"…
    pub step: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub cause: io::Error,
}

/// Why credentials on disk are of no use now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What may pass by itself, and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No connection, or a broken one.
    #[error("the connection failed: {0}")]
    Network(String),
    /// The server said that it is busy.
    #[error("the server is busy")]
    Busy,
    /// The server took the code, and then said nothing.
    #[error("the server did not answer in time")]
    NoAnswer,
    /// The server refuses one key after the other that it issued itself.
    #[error("the server does not take the keys that it issues")]
    KeysRefused,
    /// The server said something that is no answer.
    #[error("the server's answer cannot be read")]
    UnreadableAnswer,
    /// The server told its own time: the next signature goes with that.
    #[error("this machine's clock is {0}: going on with the server's time")]
    Clock(String),
    /// What it had just refused, the server then let in.
    #[error("the server is not of one mind about this device")]
    Undecided,
    /// Another process has the credentials.
    #[error("another process is activating this device")]
    Elsewhere,
}

/// What the server will say again until a person changes something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// CONNACK 4 to an activation code.
    #[error("the server does not know this serial, or the activation code is wrong")]
    WrongCode,
    /// CONNACK 5 to an activation code: it was right.
    #[error(
        "the server knows this device, but it is revoked, suspended or already activated: ask an \
         operator"
    )]
    CodeNotAllowed,
    /// CONNACK 4 to a stored key.
    #[error("the server no longer takes the stored key, and there is no activation code to use")]
    WrongKey,
    /// CONNACK 5 to a stored key: it was right.
    #[error("the server knows this device, but it is revoked or suspended: ask an operator")]
    KeyNotAllowed,
    /// A reason that the server gave, in its words.
    #[error("the server knows this device, but: {}", reason.escape_debug())]
    Reason {
        /// The server's words.
        reason: String,
    },
    /// The server has no use for a key pair, and an API key will not do.
    #[error(
        "the server takes no signatures of this device, and an API key is not to take their place"
    )]
    NoSignatures,
    /// The server wants signatures, and the device was told not to sign.
    #[error("the server wants this device to sign: leave --sign off out")]
    SignatureWanted,
    /// SUBACK 0x80: this is hardly a Firstwake server.
    #[error("the server does not let this device subscribe to its own response topic")]
    Subscription,
    /// CONNACK 1 or 2.
    #[error("the server does not speak MQTT 3.1.1 with this device's client id")]
    Protocol,
    /// An answer on the response topic.
    #[error("the server refused: {} ({})", message.escape_debug(), code.escape_debug())]
    Answered {
        /// One of the server's closed list.
        code: String,
        /// The server's words.
        message: String,
    },
}

/// Why an activation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What is stored cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was made or issued cannot be stored; it was not used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Never activated, and nothing to activate with.
    #[error("there are no credentials yet, and no activation code to get some with")]
    NoCode,
    /// Nothing but trouble for all the time that was given.
    #[error("gave up after {} seconds: {}", after.as_secs_f32(), last_words(last.as_ref()))]
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// What went wrong last.
        last: Option<Trouble>,
    },
}

fn last_words(last: Option<&Trouble>) -> String {
    last.map_or_else(|| "the server was too slow".to_owned(), ToString::to_string)
}

/// Why a run ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What is stored cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was issued cannot be stored; it was not used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Never activated, and nothing to activate with.
    #[error("there are no credentials yet, and no activation code to get some with")]
    NoCode,
    /// The system has no thread left for the commands.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Asked to end, but the server did not take everything in time.
    #[error("{values} values were not acknowledged before the end")]
    Undelivered {
        /// How many are lost.
        values: usize,
    },
}

impl From<CredentialsError> for ActivateError {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Load(error) => Self::Load(error),
            CredentialsError::Store(error) => Self::Store(error),
        }
    }
}

impl From<CredentialsError> for RunError {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Load(error) => Self::Load(error),
            CredentialsError::Store(error) => Self::Store(error),
        }
    }
}
