//! What a device wants of its server, whichever way it gets there.

use crate::code::ActivationCode;
use crate::credentials::Credentials;

/// A server that issues credentials and takes values.
pub(crate) trait Server {
    /// Shows the code; the answer as it came.
    fn activate(&self, code: &ActivationCode) -> Result<String, No>;

    /// Logs in with the key and sends a value.
    fn send(&self, known: &Credentials) -> Result<(), No>;
}

/// Every way in which a server does not do it.
#[derive(Debug)]
pub(crate) enum No {
    /// It is away or busy, or its answer was lost.
    Later(String),
    /// It knows no such serial and code, or no such key.
    Unknown,
    /// The right code or key, and yet no: only a person can change that.
    Stop(String),
}

/// What is sent.
pub(crate) const DATASTREAM: &str = "temperature";
/// What is sent of it.
pub(crate) const VALUE: &str = "21.5";
/// How long the server has for one answer, in seconds.
pub(crate) const PATIENCE: u64 = 30;
