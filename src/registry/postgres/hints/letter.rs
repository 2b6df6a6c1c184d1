//! One notification: hints under a seal.
//!
//! XChaCha20-Poly1305 with the key of the registry's hints. The nonce is the
//! sender's name and a number that it never uses again; the channel and the
//! database are authenticated with the content. Lengths are padded to a few
//! classes, so that a listener learns little of what is said.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::super::HINTS_CHANNEL;
use super::super::place::Epoch;
use crate::registry::HintCredentials;

/// Bytes of hints that go into one notification, whose text has fewer than
/// 8,000 bytes.
pub(super) const ROOM: usize = CLASSES[CLASSES.len() - 1] - HEAD;

/// Lengths of a content before it is sealed.
const CLASSES: [usize; 4] = [256, 1024, 2560, 5888];
/// Epoch, flags, and the length of the hints.
const HEAD: usize = 16 + 1 + 2;
/// The sender's name and the letter's number.
const NONCE: usize = 16 + 8;
const TAG: usize = 16;

/// The content of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// The newest one that its sender knew.
    pub(super) epoch: Epoch,
    /// Whether there are new events.
    pub(super) events: bool,
    /// Hints, one behind the other; at most [`ROOM`] bytes.
    pub(super) hints: Vec<u8>,
}

/// A letter that may be anybody's until it is opened.
pub(super) struct Sealed {
    /// The name of the server that claims to have sent it.
    pub(super) session: [u8; 16],
    /// Each of a sender's has a greater one than those before it.
    pub(super) number: u64,
    ciphertext: Vec<u8>,
}

/// Seals a letter; `None` if it is too long.
pub(super) fn seal(
    with: &HintCredentials,
    number: u64,
    database: &str,
    letter: &Letter,
) -> Option<String> {
    let length = HEAD + letter.hints.len();
    let class = CLASSES.into_iter().find(|class| *class >= length)?;
    let mut content = Vec::with_capacity(class);
    content.extend(letter.epoch);
    content.push(u8::from(letter.events));
    content.extend(u16::try_from(letter.hints.len()).ok()?.to_be_bytes());
    content.extend(&letter.hints);
    content.resize(class, 0);

    let mut bytes = Vec::with_capacity(NONCE + class + TAG);
    bytes.extend(with.session);
    bytes.extend(number.to_be_bytes());
    let payload = Payload {
        msg: &content,
        aad: &bound_to(database),
    };
    let nonce = XNonce::from_slice(&bytes);
    let ciphertext = cipher(with).encrypt(nonce, payload).ok()?;
    bytes.extend(ciphertext);
    Some(BASE64_STANDARD_NO_PAD.encode(bytes))
}

impl Sealed {
    /// Reads what can be read without the key.
    pub(super) fn parse(payload: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD_NO_PAD.decode(payload).ok()?;
        let length = bytes.len().checked_sub(NONCE + TAG)?;
        if !CLASSES.contains(&length) {
            return None;
        }
        let (session, rest) = bytes.split_first_chunk()?;
        let (number, ciphertext) = rest.split_first_chunk()?;
        Some(Self {
            session: *session,
            number: u64::from_be_bytes(*number),
            ciphertext: ciphertext.to_vec(),
        })
    }

    /// Opens it, if it was sealed with this key for this database.
    pub(super) fn open(&self, with: &HintCredentials, database: &str) -> Option<Letter> {
        let mut nonce = [0; NONCE];
        nonce[..16].copy_from_slice(&self.session);
        nonce[16..].copy_from_slice(&self.number.to_be_bytes());
        let payload = Payload {
            msg: &self.ciphertext,
            aad: &bound_to(database),
        };
        let nonce = XNonce::from_slice(&nonce);
        let content = cipher(with).decrypt(nonce, payload).ok()?;
        let (epoch, rest) = content.split_first_chunk()?;
        let ([flags], rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let hints = rest.get(..u16::from_be_bytes(*length).into())?;
        Some(Letter {
            epoch: *epoch,
            events: *flags != 0,
            hints: hints.to_vec(),
        })
    }
}

fn cipher(with: &HintCredentials) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(with.key.as_slice().into())
}

fn bound_to(database: &str) -> Vec<u8> {
    ["firstwake hints v1", HINTS_CHANNEL, database]
        .join("\0")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;
    use crate::sealing::SealingKey;

    fn letter(bytes: usize) -> Letter {
        Letter {
            epoch: [7; 16],
            events: bytes % 2 == 1,
            hints: vec![0xa5; bytes],
        }
    }

    #[test]
    fn only_the_same_key_and_database_open_it() {
        let entropy = Counting::default();
        let keys = [(); 2].map(|()| SealingKey::generate(&entropy));
        let [one, other] = keys.each_ref().map(|key| {
            let sender = HintCredentials::draw(key, &entropy);
            let receiver = HintCredentials::draw(key, &entropy);
            assert_eq!(sender.key, receiver.key);
            assert_ne!(sender.session, receiver.session);
            (sender, receiver)
        });
        for bytes in [0, 1, 237, 238, 5000, ROOM] {
            let text = seal(&one.0, 3, "7", &letter(bytes)).expect("fits");
            assert!(text.len() < 8000, "{}", text.len());
            let sealed = Sealed::parse(&text).expect("whole");
            assert_eq!((sealed.session, sealed.number), (one.0.session, 3));
            assert_eq!(sealed.open(&one.1, "7"), Some(letter(bytes)));
            assert_eq!(sealed.open(&one.1, "8"), None);
            assert_eq!(sealed.open(&other.1, "7"), None);
        }
        assert_eq!(seal(&one.0, 3, "7", &letter(ROOM + 1)), None);
        assert!(!format!("{:?}", one.0).contains(&hex::encode(*one.0.key)));
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let entropy = Counting::default();
        let with = HintCredentials::draw(&SealingKey::generate(&entropy), &entropy);
        let text = seal(&with, 3, "7", &letter(9)).expect("fits");
        let bytes = BASE64_STANDARD_NO_PAD.decode(&text).expect("base64");
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            let torn = Sealed::parse(&BASE64_STANDARD_NO_PAD.encode(torn)).expect("long enough");
            assert_eq!(torn.open(&with, "7"), None, "byte {at}");
        }
        for at in [0, 1, 39, 40, bytes.len() - 1] {
            let cut = BASE64_STANDARD_NO_PAD.encode(&bytes[..at]);
            assert!(Sealed::parse(&cut).is_none(), "{at} bytes");
        }
        for text in ["", "1", "999999999", "ü", &"A".repeat(7999)] {
            assert!(Sealed::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn lengths_say_little() {
        let entropy = Counting::default();
        let with = HintCredentials::draw(&SealingKey::generate(&entropy), &entropy);
        let mut lengths: Vec<usize> = (0..=ROOM)
            .map(|bytes| seal(&with, 1, "7", &letter(bytes)).expect("fits").len())
            .collect();
        lengths.dedup();
        assert_eq!(lengths.len(), CLASSES.len());
    }
}
