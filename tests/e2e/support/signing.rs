//! Devices that sign, and those who would like to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firstwake::hardware::{Fact, Facts, Pepper};
use firstwake::signed::{LoginClaims, RequestClaims, RequestDigest, Signer};
use firstwake::{DeviceKey, PrivateKey, ProductId, ProductSecret, Serial, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::fleet::{SECRET, response};
use super::wire::DISCONNECT;
use super::{Connect, Peer, TestBroker, Version};

/// The name of the server that devices sign their requests for.
pub(crate) const SHOP: &str = "https://shop.example";

/// What a board shows, as its files have it.
pub(crate) type Board<'a> = &'a [(Fact, &'a str)];

/// A Raspberry Pi with its card.
pub(crate) const PI: Board<'_> = &[
    (Fact::CpuSerial, "10000000abcdef01"),
    (Fact::Board, "c03111 Raspberry Pi 4 Model B Rev 1.1"),
    (Fact::Mac, "dc:a6:32:01:02:03"),
    (Fact::SdCard, "035344534c31364780f8a1b2c3012345"),
];
/// The same Pi with another card.
pub(crate) const PI_WITH_A_NEW_CARD: Board<'_> = &[
    (Fact::CpuSerial, "10000000abcdef01"),
    (Fact::Board, "c03111 Raspberry Pi 4 Model B Rev 1.1"),
    (Fact::Mac, "dc:a6:32:01:02:03"),
    (Fact::SdCard, "1b534d303030303010a7c1d2e3013456"),
];
/// Another Pi of the same model with the first one's card.
pub(crate) const OTHER_PI_WITH_ITS_CARD: Board<'_> = &[
    (Fact::CpuSerial, "10000000deadbeef"),
    (Fact::Board, "c03111 Raspberry Pi 4 Model B Rev 1.1"),
    (Fact::Mac, "dc:a6:32:0a:0b:0c"),
    (Fact::SdCard, "035344534c31364780f8a1b2c3012345"),
];
/// What somebody's laptop shows.
pub(crate) const LAPTOP: Board<'_> = &[
    (Fact::Mac, "3c:22:fb:01:02:03"),
    (Fact::MachineId, "4d5e6f708192a3b4c5d6e7f80910a1b2"),
];

/// A device with its key, on a board.
#[derive(Clone)]
pub(crate) struct Signing {
    product: ProductId,
    serial: Serial,
    signer: Signer,
    hardware: Facts,
}

/// The two ways to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 2] = [Self::Hs256, Self::EdDsa];
}

impl Signing {
    /// With the device key of the published secret.
    pub(crate) fn derived(product: &str, serial: &str) -> Self {
        Self::derived_from(SECRET, product, serial)
    }

    /// With the device key of this secret.
    pub(crate) fn derived_from(secret: &str, product: &str, serial: &str) -> Self {
        let serial = Serial::parse(serial).expect("valid");
        let secret = ProductSecret::parse(secret).expect("valid");
        let key = DeviceKey::derive(&secret, &serial);
        Self::with(product, serial, Signer::DeviceKey(key))
    }

    /// With a key pair of its own: each seed is another.
    pub(crate) fn with_pair(product: &str, serial: &str, seed: u8) -> Self {
        let serial = Serial::parse(serial).expect("valid");
        let pair = PrivateKey::from_bytes([seed; 32]);
        Self::with(product, serial, Signer::Ed25519(pair))
    }

    fn with(product: &str, serial: Serial, signer: Signer) -> Self {
        Self {
            product: ProductId::parse(product).expect("valid"),
            serial,
            signer,
            hardware: Facts::default(),
        }
    }

    /// The same key elsewhere: who has it may run on any board. The server
    /// compares hashes, so any pepper will do that is always the same.
    pub(crate) fn on(mut self, board: Board<'_>) -> Self {
        let pepper = Pepper::parse(&"0b".repeat(32)).expect("valid");
        self.hardware = Facts::of(&pepper, board.iter().copied());
        self
    }

    pub(crate) fn serial(&self) -> &str {
        self.serial.as_str()
    }

    /// What it shows of its board, as JSON.
    pub(crate) fn hardware(&self) -> Value {
        self.hardware.to_json()
    }

    /// A fresh token: newer than all before, good for a minute.
    pub(crate) fn login(&self) -> String {
        self.login_at(now(), Duration::from_secs(60))
    }

    /// A token of a device whose clock says so.
    pub(crate) fn login_at(&self, issued_at: Timestamp, span: Duration) -> String {
        let jti = next_jti();
        self.signer.login(&self.claims(issued_at, span, &jti))
    }

    /// A token for a request.
    pub(crate) fn request(&self, counter: u64, request: RequestDigest) -> String {
        let jti = next_jti();
        let login = self.claims(now(), Duration::from_secs(60), &jti);
        self.signer.request(&RequestClaims {
            login,
            counter,
            audience: &SHOP.parse().expect("a server's name"),
            request,
        })
    }

    fn claims<'a>(&'a self, issued_at: Timestamp, span: Duration, jti: &'a str) -> LoginClaims<'a> {
        LoginClaims {
            serial: &self.serial,
            product: &self.product,
            issued_at,
            span,
            jti,
            hardware: &self.hardware,
        }
    }

    /// The private half of its pair.
    fn pair(&self) -> &PrivateKey {
        match &self.signer {
            Signer::Ed25519(pair) => pair,
            Signer::DeviceKey(_) => panic!("a device key has no public half"),
        }
    }

    /// The bytes of its public half.
    pub(crate) fn public_bytes(&self) -> [u8; 32] {
        *self.pair().public().as_bytes()
    }

    /// The request that enrols its public half.
    pub(crate) fn enrolment(&self, challenge: &str) -> String {
        let pair = self.pair();
        let signature = pair.sign_enrolment(&self.product, &self.serial, challenge);
        let mut request = json!({
            "public_key": pair.public().to_string(),
            "challenge": challenge,
            "signature": signature,
        });
        if !self.hardware.is_empty() {
            request["hardware"] = self.hardware();
        }
        request.to_string()
    }

    /// Its CONNECT with this token.
    pub(crate) fn connect<'a>(&'a self, token: &'a str) -> Connect<'a> {
        Connect::new(self.serial(), token)
    }
}

impl TestBroker {
    /// A product with the published secret and one device that signs with
    /// this; a pair is enrolled, and nothing has been signed yet.
    pub(crate) fn signing(&self, algorithm: Algorithm, serial: &str) -> Signing {
        let product = self.fleet(&[serial]);
        self.signing_of(&product, algorithm, serial)
    }

    /// The same for a device that is registered.
    pub(crate) fn signing_of(&self, product: &str, algorithm: Algorithm, serial: &str) -> Signing {
        match algorithm {
            Algorithm::Hs256 => Signing::derived(product, serial),
            Algorithm::EdDsa => {
                let device = Signing::with_pair(product, serial, 7);
                self.enrol(&device);
                device
            }
        }
    }

    /// Enrols a device's public half with its code.
    pub(crate) fn enrol(&self, device: &Signing) -> Value {
        let version = Version::V311;
        let serial = device.serial();
        let mut peer = self.activating(version, serial);
        // A code may be for a subscription alone: what comes then is not asked.
        let topic = response(serial);
        peer.send(&version.subscribe(7, &[(&topic, 0)]));
        let challenge = ask(&mut peer, serial, r#"{"ask":"challenge"}"#, "challenge");
        let challenge = challenge["challenge"].as_str().expect("text");
        let enrolled = ask(&mut peer, serial, &device.enrolment(challenge), "feed_id");
        assert_eq!(enrolled["apikey"], Value::Null, "{enrolled}");
        peer.send(&DISCONNECT);
        peer.expect_close();
        enrolled
    }

    /// Lets a device in that signs its login now.
    pub(crate) fn sign_in(&self, version: Version, device: &Signing) -> Peer {
        self.admitted(version, &device.connect(&device.login()))
    }

    /// The same from another address of this machine.
    pub(crate) fn sign_in_from(&self, source: [u8; 4], version: Version, device: &Signing) -> Peer {
        let mut peer = Peer::open_from(source, self.address(), version);
        peer.admit(&device.connect(&device.login()));
        peer
    }

    /// What a token is answered from this address: the CONNACK's bytes.
    pub(crate) fn told_from(
        &self,
        source: [u8; 4],
        version: Version,
        connect: &Connect<'_>,
    ) -> Vec<u8> {
        let mut peer = Peer::open_from(source, self.address(), version);
        peer.send(&connect.bytes(version));
        peer.packet().bytes()
    }

    /// The signs that a device was cloned, oldest first.
    pub(crate) fn suspicions(&self) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["event"] == "clone_suspected");
        events
    }

    /// How often an event of this kind was written.
    pub(crate) fn count(&self, event: &str) -> usize {
        let events = self.events();
        events.iter().filter(|one| one["event"] == event).count()
    }
}

/// Publishes a request, and reads answers until one has this field.
pub(crate) fn ask(peer: &mut Peer, serial: &str, request: &str, field: &str) -> Value {
    let topic = response(serial).replace("response", "request");
    peer.send(&peer.version.publish(&topic, 0, 0, request.as_bytes()));
    loop {
        let Some(answer) = peer.packet().publish(peer.version) else {
            continue;
        };
        let answer = answer.json();
        assert_eq!(answer["error"], Value::Null, "{request}");
        if !answer[field].is_null() {
            return answer;
        }
    }
}

/// A token of one's own making: header and claims as they are written here,
/// HMAC-SHA256 under these bytes.
pub(crate) fn forged(header: &str, claims: &Value, key: &[u8]) -> String {
    let message = [header, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = message.join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// What a token says.
pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The same token with one of its three parts replaced.
pub(crate) fn with_part(token: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[index] = URL_SAFE_NO_PAD.encode(part);
    parts.join(".")
}

/// The bytes of a device's key, as a factory burns them in.
pub(crate) fn device_key(serial: &str) -> Vec<u8> {
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let key = DeviceKey::derive(&secret, &Serial::parse(serial).expect("valid"));
    let hex = key.expose_hex();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..64).step_by(2).map(byte).collect()
}

/// This machine's clock, which is the server's too.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.expect("after 1970").as_millis();
    Timestamp::from_millis(u64::try_from(millis).expect("not yet"))
}

/// Greater than all before, so that tokens of one millisecond have an order.
fn next_jti() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016}", NEXT.fetch_add(1, Ordering::Relaxed))
}
