//! A product with the published secret, and its devices.

use firstwake::{ActivationCode, ProductSecret, Serial};

use super::wire::DISCONNECT;
use super::{Connect, Peer, TestBroker, Version};

/// The published product secret.
pub(crate) const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
/// That of a second product.
const OTHER_SECRET: &str = "00112233445566778899aabbccddeeff00112233";

/// What an activation handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) key: String,
    pub(crate) feed: u64,
}

impl Credentials {
    /// Reads an answer to the byte: nothing else may be in it.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        let key = json["apikey"].as_str().expect("a key").to_owned();
        let feed = json["feed_id"].as_u64().expect("a number");
        let exact = format!(
            r#"{{"apikey":"{key}","feed_id":{feed},"datastreams":["temperature","humidity"]}}"#
        );
        assert_eq!(String::from_utf8_lossy(payload), exact);
        Self { key, feed }
    }
}

/// The activation code of a device with the published secret.
pub(crate) fn code(serial: &str) -> String {
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let serial = Serial::parse(serial).expect("valid");
    ActivationCode::compute(&secret, &serial).expose_hex()
}

pub(crate) fn response(serial: &str) -> String {
    format!("provision/{}/response", serial.replace('+', "%2B"))
}

impl TestBroker {
    /// Registers these serials with the product that has the published secret,
    /// and makes that if it is not there.
    pub(crate) fn fleet(&self, serials: &[&str]) -> String {
        self.fleet_with(SECRET, serials)
    }

    /// Makes another product, with a secret of its own, and registers these
    /// serials.
    pub(crate) fn other_fleet(&self, serials: &[&str]) -> String {
        self.fleet_with(OTHER_SECRET, serials)
    }

    fn fleet_with(&self, secret: &str, serials: &[&str]) -> String {
        let create = ["product", "create", "lamp", "--secret-stdin"];
        let streams = ["--datastreams", "temperature,humidity", "--output", "json"];
        let made = self.cli_with(&[create.as_slice(), &streams].concat(), secret);
        // A secret is one product's own.
        let taken = made.stderr.split(" has, or had, this very secret").next();
        let product = match taken.filter(|_| made.status != 0) {
            Some(sentence) => sentence.rsplit(' ').next().expect("an id").to_owned(),
            None => made.json()["product_id"]
                .as_str()
                .expect("an id")
                .to_owned(),
        };
        let register = ["device", "register", &product, "--from", "-"];
        self.cli_with(&register, &serials.join("\n")).ok();
        product
    }

    /// Connects with the serial's code.
    pub(crate) fn activating(&self, version: Version, serial: &str) -> Peer {
        self.admitted(version, &Connect::new(serial, &code(serial)))
    }

    /// Activates: CONNECT, SUBSCRIBE, answer, DISCONNECT.
    pub(crate) fn activate(&self, version: Version, serial: &str) -> Credentials {
        let mut peer = self.activating(version, serial);
        peer.subscribe(&[(&response(serial), 1)], &[1]);
        let answer = peer.message();
        assert_eq!(answer.topic, response(serial));
        peer.send(&DISCONNECT);
        peer.expect_close();
        Credentials::read(&answer.payload)
    }

    /// Activates and logs in with the key.
    pub(crate) fn device(&self, version: Version, serial: &str) -> (Peer, Credentials) {
        let credentials = self.activate(version, serial);
        let peer = self.login(version, serial, &credentials.key);
        (peer, credentials)
    }

    /// Logs in with a key.
    pub(crate) fn login(&self, version: Version, serial: &str, key: &str) -> Peer {
        self.admitted(version, &Connect::new(serial, key))
    }

    /// What a CONNECT is answered, byte by byte; `None` is a close.
    pub(crate) fn told(&self, version: Version, connect: &Connect<'_>) -> Option<Vec<u8>> {
        let mut peer = Peer::connect(self.address(), version, connect);
        let told = peer.next().map(|packet| packet.bytes());
        let accepted = told.as_ref().is_some_and(|bytes| bytes[3] == 0);
        if told.is_some() && !accepted {
            peer.expect_close();
        }
        told
    }

    /// Whether this key logs in.
    pub(crate) fn works(&self, serial: &str, key: &str) -> bool {
        let told = self.told(Version::V311, &Connect::new(serial, key));
        told == Some(Version::V311.connack(0))
    }

    /// The lifecycle of a device as a command tells it.
    pub(crate) fn lifecycle(&self, serial: &str) -> String {
        let shown = self.json(&["device", "show", serial]);
        shown["lifecycle"].as_str().expect("a word").to_owned()
    }
}
