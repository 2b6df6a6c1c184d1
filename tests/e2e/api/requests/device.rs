//! A device that signs, by the library's own signing side.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use firstwake::hardware::Facts;
use firstwake::signed::{LoginClaims, RequestClaims, RequestDigest, Signer};
use firstwake::{DeviceKey, PrivateKey, ProductId, ProductSecret, Serial, Timestamp};
use serde_json::{Value, json};

use crate::support::{SECRET, TestBroker};

/// One device, its key and its clock.
pub(super) struct Device {
    product: ProductId,
    serial: Serial,
    signer: Signer,
    public: Option<PrivateKey>,
    counter: u64,
    logins: u64,
    /// Seconds that its clock is ahead.
    ahead: i64,
}

impl Device {
    /// With what the factory burnt in.
    pub(super) fn with_device_key(product: &str, serial: &str) -> Self {
        let secret = ProductSecret::parse(SECRET).expect("a secret");
        let serial = Serial::parse(serial).expect("a serial");
        let key = DeviceKey::derive(&secret, &serial);
        Self {
            product: ProductId::parse(product).expect("a product"),
            serial,
            signer: Signer::DeviceKey(key),
            public: None,
            counter: 0,
            logins: 0,
            ahead: 0,
        }
    }

    /// With a key pair of its own.
    pub(super) fn with_a_key_pair(product: &str, serial: &str) -> Self {
        let key = || PrivateKey::from_bytes([7; 32]);
        Self {
            signer: Signer::Ed25519(key()),
            public: Some(key()),
            ..Self::with_device_key(product, serial)
        }
    }

    /// The same key under another name.
    pub(super) fn named(mut self, serial: &str) -> Self {
        self.serial = Serial::parse(serial).expect("a serial");
        self
    }

    /// Its clock is so many seconds ahead.
    pub(super) fn clock_off(&mut self, seconds: i64) {
        self.ahead = seconds;
    }

    /// Logs in, which confirms it.
    pub(super) fn wake(&mut self, broker: &TestBroker) {
        let header = bearer(&self.login());
        let answer = broker.http().ask("POST /api/v1/provision", &[&header], b"");
        assert_eq!(answer.of(200)["status"], "active");
    }

    /// What enrols its public key.
    pub(super) fn enrolment(&self, challenge: &str) -> Value {
        let key = self.public.as_ref().expect("a key pair");
        json!({
            "public_key": key.public().to_string(),
            "challenge": challenge,
            "signature": key.sign_enrolment(&self.product, &self.serial, challenge),
        })
    }

    /// A token that logs it in once.
    pub(super) fn login(&mut self) -> String {
        self.logins += 1;
        self.claims(|device, claims| device.signer.login(&claims))
    }

    /// A token for one request.
    pub(super) fn request(&mut self, method: &str, target: &str, body: &[u8]) -> String {
        self.counter += 1;
        let request = RequestDigest::of(method, target, body);
        self.signed(request, &self.signer)
    }

    /// The same by somebody who does not have its key.
    pub(super) fn by_a_stranger(&mut self, method: &str, target: &str, body: &[u8]) -> String {
        self.counter += 1;
        let request = RequestDigest::of(method, target, body);
        let key = DeviceKey::parse(&"0b".repeat(32)).expect("a key");
        self.signed(request, &Signer::DeviceKey(key))
    }

    fn signed(&self, request: RequestDigest, signer: &Signer) -> String {
        let counter = self.counter;
        self.claims(|_, login| {
            signer.request(&RequestClaims {
                login,
                counter,
                request,
            })
        })
    }

    fn claims(&self, sign: impl FnOnce(&Self, LoginClaims<'_>) -> String) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_millis() as i64 + self.ahead * 1000;
        let jti = format!("{:08}", self.logins);
        let claims = LoginClaims {
            serial: &self.serial,
            product: &self.product,
            issued_at: Timestamp::from_millis(now as u64),
            span: Duration::from_secs(60),
            jti: &jti,
            hardware: &Facts::default(),
        };
        sign(self, claims)
    }
}

/// The header of a device that shows its key or a login.
pub(super) fn bearer(text: &str) -> String {
    format!("Authorization: Bearer {text}")
}

/// The header of who has a name and a code.
pub(super) fn basic_of(pair: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(pair))
}

/// What a token says of itself.
pub(super) fn header_of(token: &str) -> Value {
    let header = token.split('.').next().expect("three parts");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    serde_json::from_slice(&header).expect("JSON")
}
