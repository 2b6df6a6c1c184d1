//! The plugin behind a stock rumqttd, driven over TCP as devices drive it.

#![expect(
    clippy::expect_used,
    reason = "a story that cannot go on ends its test"
)]

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use firstwake::registry::Memory;
use firstwake::{
    ActivationCode, DeviceName, NewProduct, ProductId, ProductSecret, Provisioner, SealingKey,
    Serial, Timestamp, Transition,
};
use firstwake_rumqttd::{OsEntropy, Plugin};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, v5};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
const OTHER_SECRET: &str = "00112233445566778899aabbccddeeff00112233";
const SERIAL: &str = "0123456789";
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How long a test waits before it fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_code_to_a_key_and_to_its_end() {
    let stock = Stock::start().await;
    let serial = "a+b";
    stock.register(&stock.product, serial).await;
    let code = code(SECRET, serial);

    let mut device = stock.connect("wake", serial, &code).await.expect("in");
    device.subscribe("provision/a%2Bb/response").await;
    device.publish("provision/a%2Bb/request", "").await;
    let answer = device.answer().await;
    let key = key_in(&answer);
    assert_eq!(key.len(), 48);
    assert!(answer["feed_id"].as_u64().expect("a feed") > 0);
    assert_eq!(answer["datastreams"], serde_json::json!([]));

    assert_eq!(stock.provisioner.counts().confirmed, 0);
    let _live = stock.connect("lamp", serial, &key).await.expect("in");
    assert_eq!(stock.provisioner.counts().confirmed, 1);
    stock.refused("spent", serial, &code).await;

    stock.change(serial, Transition::Revoke).await;
    stock.refused("revoked", serial, &key).await;
    stock.refused("revoked-code", serial, &code).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in() {
    let stock = Stock::start().await;
    let right = code(SECRET, SERIAL);
    stock.register(&stock.product, "another").await;
    for (client, username, password) in [
        ("wrong-code", SERIAL, code(OTHER_SECRET, SERIAL)),
        ("another", SERIAL, code(SECRET, "another")),
        ("unknown", "unknown", code(SECRET, "unknown")),
        ("short", SERIAL, right[1..].to_owned()),
        ("no-password", SERIAL, String::new()),
        ("no-username", "", right.clone()),
        ("wrong-key", SERIAL, "k".repeat(48)),
        ("nothing", "", String::new()),
        (Plugin::LINK, SERIAL, right.clone()),
    ] {
        stock.refused(client, username, &password).await;
    }
    assert_eq!(stock.provisioner.counts().issued, 0);
    let mut device = stock.connect("right", SERIAL, &right).await.expect("in");
    key_in(&device.activate().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_activation_one_key() {
    let stock = Stock::start().await;
    let code = code(SECRET, SERIAL);
    let mut device = stock.connect("first", SERIAL, &code).await.expect("in");
    let first = key_in(&device.activate().await);
    device.publish(REQUEST, r#"{"details":true}"#).await;
    let again = device.answer().await;
    assert_eq!(key_in(&again), first);
    assert_eq!(again["serial"], SERIAL);
    device.publish(REQUEST, "[").await;
    assert_eq!(device.error().await, "bad_request");

    // A lost answer: the device comes again, and the newer key counts.
    let mut device = stock.connect("second", SERIAL, &code).await.expect("in");
    let second = key_in(&device.activate().await);
    assert_ne!(second, first);
    stock.refused("with-first", SERIAL, &first).await;
    let _live = stock.connect("lamp", SERIAL, &second).await.expect("in");

    // Once the key was used it goes out to nobody.
    device.publish(REQUEST, "").await;
    assert_eq!(device.error().await, "unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_device_while_it_activates() {
    let stock = Stock::start().await;
    let code = code(SECRET, SERIAL);
    let mut device = stock.connect("wake", SERIAL, &code).await.expect("in");
    let key = key_in(&device.activate().await);
    stock.change(SERIAL, Transition::Suspend).await;
    device.publish(REQUEST, "").await;
    assert_eq!(device.error().await, "suspended");
    stock.change(SERIAL, Transition::Resume).await;
    device.publish(REQUEST, "").await;
    assert_eq!(key_in(&device.answer().await), key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn products_that_share_a_serial_take_turns() {
    let stock = Stock::start().await;
    let other = create(&stock.provisioner, OTHER_SECRET).await;
    stock.register(&other, SERIAL).await;
    let theirs = code(OTHER_SECRET, SERIAL);

    let ours = code(SECRET, SERIAL);
    let mut device = stock.connect("ours", SERIAL, &ours).await.expect("in");
    stock.refused("too-early", SERIAL, &theirs).await;
    let key = key_in(&device.activate().await);
    let _live = stock.connect("lamp", SERIAL, &key).await.expect("in");

    let mut device = stock.connect("theirs", SERIAL, &theirs).await.expect("in");
    assert_ne!(key_in(&device.activate().await), key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correlation_data_comes_back() {
    let stock = Stock::start().await;
    let mut options = v5::MqttOptions::new("wake", "127.0.0.1", stock.v5.port());
    options.set_credentials(SERIAL, code(SECRET, SERIAL));
    let (client, mut events) = v5::AsyncClient::new(options, 16);
    client
        .subscribe(RESPONSE, v5::mqttbytes::QoS::AtMostOnce)
        .await
        .expect("queued");
    let properties = v5::mqttbytes::v5::PublishProperties {
        correlation_data: Some("7".into()),
        // Not the device's own: it is not answered there.
        response_topic: Some("elsewhere".to_owned()),
        ..Default::default()
    };
    client
        .publish_with_properties(
            REQUEST,
            v5::mqttbytes::QoS::AtMostOnce,
            false,
            "",
            properties,
        )
        .await
        .expect("queued");
    let answered = async {
        loop {
            let event = events.poll().await.expect("let in");
            if let v5::Event::Incoming(v5::mqttbytes::v5::Packet::Publish(publish)) = event {
                return publish;
            }
        }
    };
    let answer = timeout(PATIENCE, answered).await.expect("an answer");
    assert_eq!(answer.topic, RESPONSE);
    let properties = answer.properties.expect("some");
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"7"[..]));
}

const REQUEST: &str = "provision/0123456789/request";
const RESPONSE: &str = "provision/0123456789/response";

fn code(secret: &str, serial: &str) -> String {
    let secret = ProductSecret::parse(secret).expect("valid");
    let serial = Serial::parse(serial).expect("valid");
    ActivationCode::compute(&secret, &serial).expose_hex()
}

fn key_in(answer: &Value) -> String {
    answer["apikey"].as_str().expect("a key").to_owned()
}

async fn create(provisioner: &Provisioner, secret: &str) -> ProductId {
    let new = NewProduct {
        secret: Some(ProductSecret::parse(secret).expect("valid")),
        ..NewProduct::named("lamp")
    };
    let made = provisioner.create_product(new, NOW).await.expect("made");
    made.0.id
}

/// A stock rumqttd with the plugin, one product and one device.
struct Stock {
    provisioner: Arc<Provisioner>,
    product: ProductId,
    v4: SocketAddr,
    v5: SocketAddr,
}

impl Stock {
    async fn start() -> Self {
        let sealing = SealingKey::generate(&OsEntropy);
        let registry = Arc::new(Memory::default());
        let provisioner = Provisioner::start(registry, sealing, Arc::new(OsEntropy)).await;
        let provisioner = Arc::new(provisioner.expect("an empty registry"));
        let product = create(&provisioner, SECRET).await;

        let plugin = Plugin::new(Arc::clone(&provisioner));
        let [v4, v5] = free_addresses();
        let server = |name: &str, listen| {
            let mut server = server(name, listen);
            server.set_auth_handler(plugin.auth_handler());
            Some(HashMap::from([(name.to_owned(), server)]))
        };
        let mut broker = Broker::new(Config {
            router: router(),
            v4: server("v4", v4),
            v5: server("v5", v5),
            ..Config::default()
        });
        let (tx, rx) = broker.link(Plugin::LINK).expect("a link");
        let responder = plugin.responder(tx, rx).expect("a responder");
        tokio::spawn(responder.run());
        // rumqttd cannot be stopped: its threads end with the process.
        thread::spawn(move || drop(broker.start()));
        listening(v4).await;
        listening(v5).await;
        let stock = Self {
            provisioner,
            product,
            v4,
            v5,
        };
        stock.register(&stock.product, SERIAL).await;
        stock
    }

    async fn register(&self, product: &ProductId, serial: &str) {
        let devices = vec![Serial::parse(serial).expect("valid").into()];
        let outcome = self.provisioner.register(product, devices, NOW).await;
        outcome.expect("registered");
    }

    async fn change(&self, serial: &str, transition: Transition) {
        let name = DeviceName::parse(serial).expect("valid");
        let changed = self.provisioner.change_device(&name, transition, NOW).await;
        changed.expect("allowed");
    }

    /// Each connection needs a client id of its own: stock rumqttd may panic
    /// when one comes back too soon.
    async fn connect(
        &self,
        client_id: &str,
        username: &str,
        password: &str,
    ) -> Result<Peer, ConnectionError> {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", self.v4.port());
        if !(username.is_empty() && password.is_empty()) {
            options.set_credentials(username, password);
        }
        let (client, events) = AsyncClient::new(options, 16);
        let mut peer = Peer { client, events };
        match peer.next().await? {
            Packet::ConnAck(_) => Ok(peer),
            other => panic!("{other:?}"),
        }
    }

    /// Stock rumqttd closes without a CONNACK.
    async fn refused(&self, client_id: &str, username: &str, password: &str) {
        match self.connect(client_id, username, password).await {
            Err(ConnectionError::Io(_) | ConnectionError::MqttState(_)) => {}
            Err(other) => panic!("{client_id}: {other}"),
            Ok(_) => panic!("{client_id} was let in"),
        }
    }
}

/// A client that was let in.
struct Peer {
    client: AsyncClient,
    events: EventLoop,
}

impl Peer {
    async fn next(&mut self) -> Result<Packet, ConnectionError> {
        let incoming = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await? {
                    return Ok(packet);
                }
            }
        };
        timeout(PATIENCE, incoming).await.expect("within patience")
    }

    async fn subscribe(&mut self, filter: &str) {
        let queued = self.client.subscribe(filter, QoS::AtMostOnce).await;
        queued.expect("queued");
        let packet = self.next().await.expect("connected");
        assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}");
    }

    async fn publish(&mut self, topic: &str, payload: &str) {
        let queued = self
            .client
            .publish(topic, QoS::AtMostOnce, false, payload)
            .await;
        queued.expect("queued");
    }

    /// The next message, which is JSON.
    async fn answer(&mut self) -> Value {
        match self.next().await.expect("connected") {
            Packet::Publish(publish) => {
                assert!(!publish.retain);
                serde_json::from_slice(&publish.payload).expect("JSON")
            }
            other => panic!("{other:?}"),
        }
    }

    async fn error(&mut self) -> String {
        let answer = self.answer().await;
        let code = answer["error"]["code"].as_str();
        code.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What the one device asks, and what it is told.
    async fn activate(&mut self) -> Value {
        self.subscribe(RESPONSE).await;
        self.publish(REQUEST, "").await;
        self.answer().await
    }
}

/// Two addresses that nobody listens on. Stock rumqttd does not tell which port
/// it was given, so they are chosen before; somebody else may take one first,
/// and then the test fails at [`listening`] or talks to a stranger.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("bound"))
}

/// Waits until somebody listens. Stock rumqttd does not tell when it does, so
/// this asks, again and again: the one place where these tests do.
async fn listening(address: SocketAddr) {
    let asking = async {
        let mut turn = interval(Duration::from_millis(5));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if TcpStream::connect(address).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("rumqttd listens");
}

fn server(name: &str, listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: name.to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: 20_480,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

fn router() -> RouterConfig {
    RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 64 * 1024,
        max_segment_count: 2,
        ..RouterConfig::default()
    }
}
