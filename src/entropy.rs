//! Randomness as an argument.

/// A source of bytes nobody can guess.
///
/// The core never draws randomness by itself; whoever builds a
/// [`Provisioner`](crate::Provisioner) hands one in. A server passes the
/// operating system's generator; a test may pass a counter.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` completely with unpredictable bytes.
    fn fill(&self, buffer: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for std::sync::Arc<E> {
    fn fill(&self, buffer: &mut [u8]) {
        (**self).fill(buffer);
    }
}

/// Draws `count` symbols of the URL-safe alphabet `[A-Za-z0-9_-]`, six random
/// bits each.
pub(crate) fn url_safe(entropy: &dyn Entropy, count: usize) -> zeroize::Zeroizing<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = zeroize::Zeroizing::new(vec![0; count]);
    entropy.fill(&mut bytes);
    zeroize::Zeroizing::new(
        bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 0x3f)]))
            .collect(),
    )
}

/// Predictable bytes for tests: each call continues where the last one ended.
#[cfg(test)]
pub(crate) mod counting {
    use std::sync::atomic::{AtomicU64, Ordering};

    use sha2::{Digest, Sha256};

    /// SHA-256 of a counter; never repeats within a test.
    #[derive(Default)]
    pub(crate) struct Counting(AtomicU64);

    impl super::Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for chunk in buffer.chunks_mut(32) {
                let n = self.0.fetch_add(1, Ordering::Relaxed);
                let block = Sha256::digest(n.to_be_bytes());
                chunk.copy_from_slice(&block[..chunk.len()]);
            }
        }
    }
}
