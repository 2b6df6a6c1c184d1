//! What a login costs one core: everything that the core does between a
//! password and an admission, over the registry in memory; no network, no disk.
//!
//! One JSON object a line, for `scripts/bench`:
//! `{"proof":"hs256","logins":20000,"elapsed_us":1}`. Codes, tokens and keys are
//! made before the clock starts.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place beside the core that measures it, and it needs a clock for that"
)]
#![expect(clippy::print_stdout, reason = "whoever measures reads what it prints")]

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use firstwake::hardware::{Fact, Facts, Pepper};
use firstwake::registry::Memory;
use firstwake::signed::{LONGEST, LoginClaims, Signer};
use firstwake::{
    Activation, ActivationCode, Admission, Attempt, DeviceKey, Entropy, NewProduct, PrivateKey,
    ProductId, ProductSecret, ProvisionRequest, Provisioner, SealingKey, Serial, Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOGINS: u32 = 20_000;
const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";

fn main() {
    let world = World::new();
    world.measure("code", "CODE", vec![code("CODE"); LOGINS as usize]);
    let key = world.issue("KEY");
    world.measure("key", "KEY", vec![key; LOGINS as usize]);
    let derived = Signer::DeviceKey(DeviceKey::derive(&secret(), &serial("HS256")));
    world.measure("hs256", "HS256", world.tokens(&derived, "HS256"));
    let pair = world.enrol("EDDSA");
    world.measure(
        "eddsa",
        "EDDSA",
        world.tokens(&Signer::Ed25519(pair), "EDDSA"),
    );
}

struct World {
    door: Provisioner,
    product: ProductId,
}

impl World {
    fn new() -> Self {
        let entropy = Arc::new(Counting::default());
        let sealing = SealingKey::generate(&*entropy);
        let registry = Arc::new(Memory::default());
        let door = now(Provisioner::start(registry, sealing, entropy)).expect("it is empty");
        let new = NewProduct {
            secret: Some(secret()),
            ..NewProduct::named("lamp")
        };
        let (product, _) = now(door.create_product(new, NOW)).expect("made");
        let new = ["CODE", "KEY", "HS256", "EDDSA"].map(|name| serial(name).into());
        now(door.register(&product.id, new.into(), NOW)).expect("registered");
        Self {
            door,
            product: product.id,
        }
    }

    /// Logs in with each password in turn; each has to be let in.
    fn measure(&self, proof: &str, name: &str, passwords: Vec<String>) {
        let begun = Instant::now();
        for password in &passwords {
            self.admit(name, password);
        }
        let elapsed = begun.elapsed().as_micros();
        println!(r#"{{"proof":"{proof}","logins":{LOGINS},"elapsed_us":{elapsed}}}"#);
    }

    fn admit(&self, name: &str, password: &str) -> Admission {
        let attempt = Attempt {
            username: Some(name),
            password: Some(password.as_bytes()),
            source: HERE,
            hardware: None,
        };
        now(self.door.admit(attempt, NOW)).expect("let in")
    }

    fn activation(&self, name: &str) -> Activation {
        match self.admit(name, &code(name)) {
            Admission::Activation(activation) => activation,
            _ => unreachable!("a code opens an activation"),
        }
    }

    /// An API key that is confirmed.
    fn issue(&self, name: &str) -> String {
        let mut activation = self.activation(name);
        let request = ProvisionRequest::default();
        let answer = now(self.door.issue(&mut activation, &request, HERE, NOW)).expect("issued");
        let answer: serde_json::Value =
            serde_json::from_slice(answer.expose_bytes()).expect("JSON");
        let key = answer["apikey"].as_str().expect("a key").to_owned();
        self.admit(name, &key);
        key
    }

    /// A key pair whose public half is known.
    fn enrol(&self, name: &str) -> PrivateKey {
        let mut activation = self.activation(name);
        let ask = ProvisionRequest::parse(br#"{"ask":"challenge"}"#).expect("valid");
        let challenge = now(self.door.issue(&mut activation, &ask, HERE, NOW)).expect("one");
        let challenge: serde_json::Value =
            serde_json::from_slice(challenge.expose_bytes()).expect("JSON");
        let challenge = challenge["challenge"].as_str().expect("text");
        let pair = PrivateKey::from_bytes([7; 32]);
        let signature = pair.sign_enrolment(&self.product, &serial(name), challenge);
        let public = pair.public();
        let request = format!(
            r#"{{"public_key":"{public}","challenge":"{challenge}","signature":"{signature}"}}"#
        );
        let request = ProvisionRequest::parse(request.as_bytes()).expect("valid");
        now(self.door.issue(&mut activation, &request, HERE, NOW)).expect("enrolled");
        pair
    }

    /// Logins a millisecond apart, each with the facts of a board.
    fn tokens(&self, signer: &Signer, name: &str) -> Vec<String> {
        let pepper = Pepper::parse(&"0b".repeat(32)).expect("hex");
        let facts = [
            (Fact::CpuSerial, "00000000abcdef01"),
            (Fact::Board, "c03111 raspberry pi 4 model b rev 1.1"),
            (Fact::Mac, "dc:a6:32:01:02:03"),
            (Fact::SdCard, "035344534c31364780f8a1b2c3012345"),
        ];
        let facts = Facts::of(&pepper, facts);
        let token = |number: u32| {
            signer.login(&LoginClaims {
                serial: &serial(name),
                product: &self.product,
                issued_at: NOW.plus(Duration::from_millis(number.into())),
                span: LONGEST,
                jti: "1",
                hardware: &facts,
            })
        };
        (0..LOGINS).map(token).collect()
    }
}

fn secret() -> ProductSecret {
    ProductSecret::parse(SECRET).expect("valid")
}

fn serial(name: &str) -> Serial {
    Serial::parse(name).expect("valid")
}

fn code(name: &str) -> String {
    ActivationCode::compute(&secret(), &serial(name)).expose_hex()
}

/// Nothing here waits: the registry is memory, and no password is checked.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory answers at once"),
    }
}

/// The same numbers in every run.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = (self.0.fetch_add(1, Ordering::Relaxed) % 251) as u8;
        }
    }
}
