//! Licences: how many devices of a product may be active, for how long each,
//! and the token that an application on the device checks without a network.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hardware::{Fact, FactHash, FactSet, Facts, HardwareMode, HardwarePolicy};
use crate::identity::{ProductId, Serial};
use crate::jws::{self, Signer, Verifier};
use crate::keypair::{PrivateKey, PublicKey};
use crate::signed::date;

/// Who says so.
const ISSUER: &str = "firstwake";
/// How long a licence token is good for if the product leases nothing.
pub const UNLEASED: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a product's licence allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// So many devices that have been activated and are not revoked.
    pub seats: Option<u64>,
    /// A device that does not log in for so long is out.
    pub lease: Option<Duration>,
    /// When that was said: an end that a lease before it had counts for nothing.
    pub leased_since: Option<Timestamp>,
}

impl Licence {
    /// Whether it says anything.
    pub fn is_none(&self) -> bool {
        self.seats.is_none() && self.lease.is_none()
    }

    /// Leases for so long from now on, or no more.
    pub(crate) fn set_lease(&mut self, lease: Option<Duration>, now: Timestamp) {
        if self.lease.is_none() || lease.is_none() {
            self.leased_since = lease.map(|_| now);
        }
        self.lease = lease;
    }

    /// Whether a lease that ends then is one of these.
    pub(crate) fn counts(&self, until: Timestamp) -> bool {
        self.lease.is_some() && self.leased_since.is_none_or(|since| until > since)
    }

    /// The end of a lease that is renewed now; `None` if that is hardly later
    /// than the end it has: each hundredth of a lease is written down once.
    pub(crate) fn renewed(&self, until: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let lease = self.lease?;
        let next = now.plus(lease);
        match until {
            Some(until) if next.since(until) * 100 < lease && until <= next => None,
            _ => Some(next),
        }
    }
}

/// What is handed to a device so that its applications can check, offline,
/// that it is licensed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenceToken {
    /// The device.
    pub serial: Serial,
    /// Its product.
    pub product: ProductId,
    /// When the server signed it.
    pub issued_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// The board it is for.
    pub hardware: Facts,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Serial,
    aud: ProductId,
    #[serde(with = "date")]
    iat: Timestamp,
    #[serde(with = "date")]
    exp: Timestamp,
    jti: String,
    hw: serde_json::Value,
}

/// Why a licence token is worth nothing here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LicenceError {
    /// Not a token, or not one that this server's key has signed.
    #[error("the licence was not signed with this key")]
    Forged,
    /// It was good once.
    #[error("the licence ended {0}")]
    Expired(Timestamp),
    /// The clock of this machine is before the moment it was signed.
    #[error("the licence begins {0}: check this machine's clock")]
    NotYet(Timestamp),
}

impl LicenceToken {
    /// The token as text. A `jti` tells tokens of one device apart.
    pub(crate) fn sign(&self, key: &PrivateKey, jti: String) -> String {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: self.serial.clone(),
            aud: self.product.clone(),
            iat: self.issued_at,
            exp: self.expires_at,
            jti,
            hw: self.hardware.to_json(),
        };
        let kid = key_id(&key.public());
        Signer::Ed25519(key.clone()).sign(&claims, Some(&kid))
    }

    /// Checks a token with the server's public key.
    pub fn verify(text: &str, key: &PublicKey, now: Timestamp) -> Result<Self, LicenceError> {
        let claims: Claims =
            jws::read(text.trim(), Verifier::Ed25519(key)).ok_or(LicenceError::Forged)?;
        let hardware = Facts::from_json(&claims.hw).map_err(|_| LicenceError::Forged)?;
        if claims.iss != ISSUER {
            return Err(LicenceError::Forged);
        }
        if now < claims.iat && claims.iat.since(now) > crate::signed::LEEWAY {
            return Err(LicenceError::NotYet(claims.iat));
        }
        if claims.exp <= now {
            return Err(LicenceError::Expired(claims.exp));
        }
        Ok(Self {
            serial: claims.sub,
            product: claims.aud,
            issued_at: claims.iat,
            expires_at: claims.exp,
            hardware,
        })
    }

    /// Facts of this board that are those the licence is for.
    pub fn fits(&self, board: &Facts) -> FactSet {
        let fits = |(fact, hashes): (Fact, &[FactHash])| {
            let shown = board.hashes(fact);
            hashes
                .iter()
                .any(|hash| shown.contains(hash))
                .then_some(fact)
        };
        self.hardware.iter().filter_map(fits).collect()
    }

    /// Facts of this board that are not those the licence is for, but for such
    /// as may change.
    pub fn misfits(&self, board: &Facts, may_change: &FactSet) -> FactSet {
        let policy = HardwarePolicy {
            mode: HardwareMode::Enforce,
            may_change: may_change.clone(),
        };
        policy.compare(&self.hardware, board).broken
    }
}

/// What a key is called in a token's header: the beginning of its JWK
/// thumbprint (RFC 7638, RFC 8037).
pub fn key_id(key: &PublicKey) -> String {
    use sha2::{Digest, Sha256};
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{key}"}}"#);
    hex::encode(&Sha256::digest(jwk)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;
    use crate::hardware::Pepper;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn board(cpu: &str, card: &str) -> Facts {
        let pepper = Pepper::parse(&"0b".repeat(32)).expect("hex");
        Facts::of(&pepper, [(Fact::CpuSerial, cpu), (Fact::SdCard, card)])
    }

    fn licence() -> (PrivateKey, LicenceToken) {
        let token = LicenceToken {
            serial: Serial::parse("S1").expect("serial"),
            product: ProductId::parse("abcdefghijklmnopqrst").expect("product"),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_secs(3600)),
            hardware: board("1", "x"),
        };
        (PrivateKey::generate(&Counting::default()), token)
    }

    #[test]
    fn a_licence_is_checked_offline() {
        let (key, licence) = licence();
        let text = licence.sign(&key, "1".to_owned());
        let verify = |seconds: u64| {
            let now = Timestamp::from_millis(NOW.as_millis() + seconds * 1000);
            LicenceToken::verify(&text, &key.public(), now)
        };
        assert_eq!(verify(0), Ok(licence.clone()));
        assert_eq!(verify(3599), Ok(licence.clone()));
        assert_eq!(verify(3600), Err(LicenceError::Expired(licence.expires_at)));
        let early = Timestamp::from_millis(NOW.as_millis() - 61_000);
        let early = LicenceToken::verify(&text, &key.public(), early);
        assert_eq!(early, Err(LicenceError::NotYet(NOW)));
        let other = PrivateKey::from_bytes([7; 32]).public();
        let forged = LicenceToken::verify(&text, &other, NOW);
        assert_eq!(forged, Err(LicenceError::Forged));
    }

    #[test]
    fn a_licence_is_for_one_board() {
        let (_, licence) = licence();
        let may_change = FactSet::replaceable();
        let misfits = |board| licence.misfits(&board, &may_change).to_string();
        assert_eq!(misfits(board("1", "x")), "none");
        assert_eq!(misfits(board("1", "y")), "none");
        assert_eq!(misfits(board("2", "x")), "cpu_serial");
        let fits = |board| licence.fits(&board).to_string();
        assert_eq!(fits(board("1", "y")), "cpu_serial");
        assert_eq!(fits(board("2", "y")), "none");
    }

    #[test]
    fn a_lease_is_renewed_by_the_hundredth() {
        let licence = Licence {
            seats: None,
            lease: Some(Duration::from_secs(100)),
            leased_since: None,
        };
        let at = |seconds: u64| Timestamp::from_millis(NOW.as_millis() + seconds * 1000);
        assert_eq!(licence.renewed(None, at(0)), Some(at(100)));
        assert_eq!(licence.renewed(Some(at(100)), at(0)), None);
        assert_eq!(licence.renewed(Some(at(101)), at(2)), Some(at(102)));
        // A lease that was shortened.
        assert_eq!(licence.renewed(Some(at(900)), at(0)), Some(at(100)));
        assert_eq!(Licence::default().renewed(Some(at(1)), at(0)), None);
    }
}
