//! Signed logins and requests: who has not signed rightly is never let in, who
//! has is let in once, and nothing panics.
//!
//! The first byte says how the rest is made into a token: as it is, or as a
//! header, a line feed and claims, which somebody then signs. In claims, `$P`
//! is the product and `$R` the hash of the request that is verified, so that a
//! corpus outlives what names are drawn.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use firstwake::hardware::{Fact, FactValue, Facts};
use firstwake::registry::Memory;
use firstwake::signed::{Audience, LEEWAY, LONGEST, LoginClaims, RequestDigest, Signer};
use firstwake::{
    ActivationCode, Admission, Attempt, DeviceKey, Entropy, NewProduct, NewSerial, PrivateKey,
    ProductId, ProductSecret, ProvisionRequest, Provisioner, SealingKey, Serial, Timestamp,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The server that requests are signed for.
const SHOP: &str = "shop";
const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
/// Signs with its device key.
const DERIVED: &str = "S1";
/// Signs with its key pair.
const PAIR: &str = "S2";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let world = World::new();
    let signed = world.token(*kind, rest);
    world.log_in(&signed);
    world.ask(&signed);
});

/// A token, and whose it is if it was signed as that device signs.
struct Token {
    bytes: Vec<u8>,
    signer: Option<&'static str>,
    claims: Option<Value>,
}

struct World {
    door: Provisioner,
    product: ProductId,
    request: RequestDigest,
}

impl World {
    fn new() -> Self {
        let entropy = Arc::new(Counting::default());
        let sealing = SealingKey::generate(&*entropy);
        let registry = Arc::new(Memory::default());
        let door = now(Provisioner::start(registry, sealing, entropy)).expect("it is empty");
        let new = NewProduct {
            secret: Some(ProductSecret::parse(SECRET).expect("valid")),
            ..NewProduct::named("lamp")
        };
        let (product, _) = now(door.create_product(new, NOW)).expect("made");
        let new = [DERIVED, PAIR].map(|serial| NewSerial {
            serial: self::serial(serial),
            hardware: vec![FactValue::parse(Fact::CpuSerial, "00000000abcdef01").expect("valid")],
            label: None,
        });
        // Long ago: what was signed before is of another life.
        let then = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
        now(door.register(&product.id, new.into(), then)).expect("registered");
        let world = Self {
            door,
            product: product.id,
            request: RequestDigest::of("GET", "/", b""),
        };
        world.enrol();
        world.confirm();
        world
    }

    /// Shows the public half of the second device's pair.
    fn enrol(&self) {
        let secret = ProductSecret::parse(SECRET).expect("valid");
        let code = ActivationCode::compute(&secret, &serial(PAIR)).expose_hex();
        let attempt = attempt(Some(PAIR), code.as_bytes());
        let Ok(Admission::Activation(mut activation)) = now(self.door.admit(attempt, NOW)) else {
            panic!("a right code");
        };
        let ask = ProvisionRequest::parse(br#"{"ask":"challenge"}"#).expect("valid");
        let challenge = now(self.door.issue(&mut activation, &ask, HERE, NOW)).expect("one");
        let challenge: Value = serde_json::from_slice(challenge.expose_bytes()).expect("JSON");
        let challenge = challenge["challenge"].as_str().expect("text");
        let pair = PrivateKey::from_bytes([7; 32]);
        let request = serde_json::json!({
            "public_key": pair.public().to_string(),
            "challenge": challenge,
            "signature": pair.sign_enrolment(&self.product, &serial(PAIR), challenge),
        });
        let request = ProvisionRequest::parse(request.to_string().as_bytes()).expect("valid");
        now(self.door.issue(&mut activation, &request, HERE, NOW)).expect("a right signature");
    }

    /// Lets both log in once, a while ago: only who is active may ask anything.
    fn confirm(&self) {
        let secret = ProductSecret::parse(SECRET).expect("valid");
        let derived = DeviceKey::derive(&secret, &serial(DERIVED));
        let pair = PrivateKey::from_bytes([7; 32]);
        for (name, signer) in [
            (DERIVED, Signer::DeviceKey(derived)),
            (PAIR, Signer::Ed25519(pair)),
        ] {
            let token = signer.login(&LoginClaims {
                serial: &serial(name),
                product: &self.product,
                issued_at: Timestamp::from_millis(NOW.as_millis() - 50_000),
                span: LONGEST,
                jti: "1",
                hardware: &Facts::default(),
            });
            let login = now(self.door.admit(attempt(None, token.as_bytes()), NOW));
            assert!(matches!(login, Ok(Admission::Device(_))), "rightly signed");
        }
    }

    fn token(&self, kind: u8, rest: &[u8]) -> Token {
        if kind & 7 == 0 {
            return Token {
                bytes: rest.to_vec(),
                signer: None,
                claims: None,
            };
        }
        let text = String::from_utf8_lossy(rest);
        let (header, claims) = text
            .split_once('\n')
            .unwrap_or((r#"{"alg":"HS256"}"#, &text));
        let claims = claims.replace("$P", self.product.as_str());
        let claims = claims.replace("$R", &self.request.to_string());
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(&claims));
        let secret = ProductSecret::parse(SECRET).expect("valid");
        let pair = SigningKey::from_bytes(&[7; 32]);
        let public = pair.verifying_key().to_bytes();
        let of = |serial: &str| hmac_key(&DeviceKey::derive(&secret, &self::serial(serial)));
        let (signature, signer) = match kind & 7 {
            1 => (hs256(&of(DERIVED), &message), Some(DERIVED)),
            2 => (
                pair.sign(message.as_bytes()).to_bytes().to_vec(),
                Some(PAIR),
            ),
            // What the peer would like the server to take for a key.
            3 => (hs256(&public, &message), None),
            4 => (hs256(&of(PAIR), &message), None),
            5 => (
                SigningKey::from_bytes(&[8; 32])
                    .sign(message.as_bytes())
                    .to_bytes()
                    .to_vec(),
                None,
            ),
            6 => (Vec::new(), None),
            _ => (vec![0; 64], None),
        };
        Token {
            bytes: format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes(),
            signer,
            claims: serde_json::from_str(&claims).ok(),
        }
    }

    fn log_in(&self, token: &Token) {
        let first = now(self.door.admit(attempt(None, &token.bytes), NOW));
        let Ok(Admission::Device(login)) = first else {
            assert!(first.is_err(), "a token lets a device in, or nobody");
            return;
        };
        token.bears(login.serial(), &self.product);
        let again = now(self.door.admit(attempt(None, &token.bytes), NOW));
        assert!(again.is_err(), "once");
    }

    fn ask(&self, token: &Token) {
        let Ok(text) = std::str::from_utf8(&token.bytes) else {
            return;
        };
        let shop: Audience = SHOP.parse().expect("valid");
        let verify = || now(self.door.verify_request(text, &self.request, &shop, HERE, NOW));
        if let Ok(login) = verify() {
            token.bears(login.serial(), &self.product);
            let claims = token.claims.as_ref().expect("what was signed is JSON");
            assert_eq!(claims["aud"], SHOP);
            let again = verify();
            assert!(again.is_err(), "once");
        }
    }
}

impl Token {
    /// Whether it says, rightly signed, what it was taken for.
    fn bears(&self, serial: &Serial, product: &ProductId) {
        assert_eq!(self.signer, Some(serial.as_str()), "who signed");
        let claims = self.claims.as_ref().expect("what was signed is JSON");
        assert_eq!(claims["sub"], serial.as_str());
        // A request names its server, and the product beside it.
        let named = claims.get("product_id").unwrap_or(&claims["aud"]);
        assert_eq!(*named, product.as_str());
        let date = |name: &str| claims[name].as_f64().expect("a number");
        let (iat, exp, now) = (date("iat"), date("exp"), NOW.as_millis() as f64 / 1000.0);
        // A date is rounded to the millisecond.
        let (leeway, longest) = (LEEWAY.as_secs_f64() + 0.001, LONGEST.as_secs_f64() + 0.002);
        assert!(iat <= now + leeway && exp >= now - leeway && exp - iat <= longest);
    }
}

fn attempt<'a>(username: Option<&'a str>, password: &'a [u8]) -> Attempt<'a> {
    Attempt {
        username,
        password: Some(password),
        source: HERE,
        hardware: None,
    }
}

fn serial(text: &str) -> Serial {
    Serial::parse(text).expect("valid")
}

fn hmac_key(key: &DeviceKey) -> Vec<u8> {
    let hex = key.expose_hex();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..64).step_by(2).map(byte).collect()
}

fn hs256(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Nothing here waits: the registry is memory, and no password is checked.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory answers at once"),
    }
}

/// The same bytes in every run.
#[derive(Default)]
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
    }
}
