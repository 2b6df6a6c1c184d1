//! Who logs in, and what with.
//!
//! A login needs a serial and a password, whatever that is: a key, a code, or
//! a token that was signed for this one login. Passwords are made before a
//! run's clock starts, so that no figure has the simulator's own signing in it.

use std::fmt;

use firstwake::hardware::Facts;
use firstwake::signed::{LONGEST, LoginClaims, Signer};
use firstwake::{
    ActivationCode, DeviceKey, PrivateKey, ProductId, ProductSecret, Serial, Timestamp,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::credentials::Keyholder;
use crate::plan::Downlink;

/// What devices prove themselves with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The API key that activation gave them.
    #[default]
    Key,
    /// Their activation code: let in, and nothing asked for.
    Code,
    /// A login signed with the device key.
    Hs256,
    /// A login signed with a key pair of their own.
    EdDsa,
}

/// A device on its way in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it says it is.
    pub serial: Serial,
    /// What it shows.
    pub password: Password,
    /// The feed whose downlink it subscribes; `None`: it does not listen.
    pub listens: Option<u64>,
}

/// What a device shows: `Debug` is silent, memory is wiped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The characters.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Caller {
    /// With the key that a storm saved.
    pub fn with_key(device: Keyholder, downlink: Downlink) -> Self {
        let Keyholder {
            serial,
            credentials,
        } = device;
        Self {
            serial,
            password: Password::new(credentials.key.expose().to_owned()),
            listens: match downlink {
                Downlink::Ignore => None,
                Downlink::Subscribe => Some(credentials.feed_id),
            },
        }
    }

    /// With the code that the secret makes.
    pub fn with_code(secret: &ProductSecret, serial: Serial) -> Self {
        let code = ActivationCode::compute(secret, &serial).expose_hex();
        Self {
            serial,
            password: Password::new(code),
            listens: None,
        }
    }

    /// With a login signed with the device key that the secret makes.
    pub fn with_device_key(
        secret: &ProductSecret,
        product: &ProductId,
        serial: Serial,
        now: Timestamp,
    ) -> Self {
        let key = DeviceKey::derive(secret, &serial);
        Self::signing(&Signer::DeviceKey(key), product, serial, now)
    }

    /// With a login signed with its key pair.
    pub fn with_key_pair(
        secret: &ProductSecret,
        product: &ProductId,
        serial: Serial,
        now: Timestamp,
    ) -> Self {
        let pair = key_pair(secret, &serial);
        Self::signing(&Signer::Ed25519(pair), product, serial, now)
    }

    fn signing(signer: &Signer, product: &ProductId, serial: Serial, now: Timestamp) -> Self {
        let token = signer.login(&LoginClaims {
            serial: &serial,
            product,
            issued_at: now,
            span: LONGEST,
            // One login of each device a run: its time tells it from the others.
            jti: "1",
            hardware: &Facts::default(),
        });
        Self {
            serial,
            password: Password::new(token),
            listens: None,
        }
    }
}

/// The key pair of a simulated device. A real one draws its own and tells it
/// to nobody; here it comes from the secret, so that whoever simulates the
/// fleet again need not have kept 10,000 files.
pub(crate) fn key_pair(secret: &ProductSecret, serial: &Serial) -> PrivateKey {
    let seed = DeviceKey::derive(secret, serial);
    let mut bytes = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "it was written as 64 hex characters")]
    hex::decode_to_slice(&*seed.expose_hex(), &mut *bytes).expect("64 hex characters");
    PrivateKey::from_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", Password::new("sesame".to_owned()));
        assert_eq!(shown, "Password(…)");
    }
}
