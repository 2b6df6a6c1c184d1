//! Bytes that nobody can guess, from the operating system.

use firstwake::PrivateKey;
use zeroize::Zeroizing;

/// For waits and names: where the system has no randomness, the same number.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

/// A key pair, or the system's word that it has no randomness: a key that can
/// be guessed is worse than none.
pub(crate) fn key_pair() -> std::io::Result<PrivateKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(std::io::Error::from)?;
    Ok(PrivateKey::from_bytes(*bytes))
}
