//! A server that decides as the real one does, with the core's own rules over
//! its memory store, and speaks just enough MQTT for a device. What it was told
//! to lose on the way is lost.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

use firstwake::hardware::HardwareMode;
use firstwake::registry::Memory;
use firstwake::{
    Activation, ActivationCode, Admission, Answer, Attempt, Device, DeviceKey, DeviceLogin,
    DeviceName, Entropy, NewProduct, NotAdmitted, ProductChange, ProductId, ProductSecret, Proof,
    ProofPolicy, ProvisionRequest, Provisioner, Refusal, SealingKey, Serial, Timestamp,
};

use crate::fake::{FakeBroker, Peer, field, packet, text};
use crate::fixture::{RESPONSE, SERIAL};

const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) struct Server {
    pub(crate) door: Provisioner,
    pub(crate) product: ProductId,
    /// Milliseconds from this machine's time to the server's.
    ahead: AtomicI64,
    /// So many more answers are sent; the one after them is lost, with its
    /// connection, when all was written down.
    answers: AtomicUsize,
    /// What every CONNECT showed, in order.
    passwords: Mutex<Vec<String>>,
    commands: Mutex<Vec<(&'static str, &'static str)>>,
    /// How many messages the device has acknowledged.
    acknowledged: watch::Sender<usize>,
    sent_commands: Notify,
}

struct Randomness;

impl Entropy for Randomness {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("randomness");
    }
}

impl Server {
    /// With one registered device, of a product with this policy.
    pub(crate) async fn new(proof: ProofPolicy) -> Arc<Self> {
        let registry = Arc::new(Memory::default());
        let sealing = SealingKey::generate(&Randomness);
        let door = Provisioner::start(registry, sealing, Arc::new(Randomness)).await;
        let door = door.expect("an empty registry");
        let new = NewProduct {
            secret: Some(ProductSecret::parse(SECRET).expect("secret")),
            proof,
            ..NewProduct::named("lamp")
        };
        let server = Self {
            product: door.create_product(new, now()).await.expect("made").0.id,
            door,
            ahead: AtomicI64::new(0),
            answers: AtomicUsize::new(usize::MAX),
            passwords: Mutex::default(),
            commands: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            sent_commands: Notify::new(),
        };
        let serials = vec![serial().into()];
        let registered = server.door.register(&server.product, serials, now());
        registered.await.expect("registered");
        Arc::new(server)
    }

    pub(crate) async fn watches_hardware(&self, mode: HardwareMode) {
        self.change(ProductChange {
            hardware_mode: Some(mode),
            ..ProductChange::default()
        })
        .await;
    }

    pub(crate) async fn has_seats(&self, seats: u64) {
        self.change(ProductChange {
            seats: Some(Some(seats)),
            ..ProductChange::default()
        })
        .await;
    }

    async fn change(&self, change: ProductChange) {
        let changed = self.door.change_product(&self.product, change, now());
        changed.await.expect("changed");
    }

    /// From now on the server's time is this far from the machine's.
    pub(crate) fn is_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }

    /// The answer after so many more is lost.
    pub(crate) fn loses_an_answer_after(&self, answers: usize) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// What the device is sent as soon as it subscribes.
    pub(crate) fn commands(&self, commands: &[(&'static str, &'static str)]) {
        *self.commands.lock().expect("lock") = commands.to_vec();
    }

    pub(crate) fn acknowledged(&self) -> usize {
        *self.acknowledged.borrow()
    }

    /// Waits until the device has acknowledged so many messages more.
    pub(crate) async fn acknowledges(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let goal = *acknowledged.borrow_and_update() + count;
        let enough = acknowledged.wait_for(|so_far| *so_far >= goal);
        enough.await.expect("it lives as long as we");
    }

    /// Waits until the commands are on their way.
    pub(crate) async fn has_sent_commands(&self) {
        self.sent_commands.notified().await;
    }

    pub(crate) fn passwords(&self) -> Vec<String> {
        self.passwords.lock().expect("lock").clone()
    }

    pub(crate) fn code(&self) -> ActivationCode {
        let secret = ProductSecret::parse(SECRET).expect("secret");
        ActivationCode::compute(&secret, &serial())
    }

    pub(crate) fn device_key(&self) -> DeviceKey {
        let secret = ProductSecret::parse(SECRET).expect("secret");
        DeviceKey::derive(&secret, &serial())
    }

    pub(crate) async fn device(&self) -> Device {
        let name = DeviceName {
            product: Some(self.product.clone()),
            serial: serial(),
        };
        self.door.find_device(&name).await.expect("registered")
    }

    /// All that has happened, as the core's own debugging shows it.
    pub(crate) async fn events(&self) -> Vec<String> {
        let events = self.door.registry().events(0, 1_000).await;
        let shown = |event| format!("{event:?}");
        events.expect("events").iter().map(shown).collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp::from_millis(now().as_millis().saturating_add_signed(ahead))
    }

    /// Serves for ever, one connection at a time, as one device has them.
    pub(crate) async fn serve(&self, broker: &FakeBroker) {
        loop {
            let mut peer = broker.peer().await;
            self.converse(&mut peer).await;
        }
    }

    async fn converse(&self, peer: &mut Peer) {
        let (first, body) = peer.packet().await;
        assert_eq!(first, 0x10, "CONNECT");
        let is_v5 = body[6] == 5;
        let connect = Connect::read(&body, is_v5);
        self.passwords
            .lock()
            .expect("lock")
            .push(connect.password.clone());
        let attempt = Attempt {
            username: Some(&connect.user),
            password: Some(connect.password.as_bytes()),
            source: HERE,
            hardware: connect.hardware.as_deref(),
        };
        let session = match self.door.admit(attempt, self.now()).await {
            Ok(Admission::Activation(activation)) => Session::Activation(activation),
            Ok(Admission::Device(login)) => Session::Device(login),
            Ok(other) => panic!("{other:?}"),
            Err(NotAdmitted::Refused(refusal)) => {
                return peer.write(&self.refused(refusal, is_v5)).await;
            }
            Err(error) => panic!("{error:?}"),
        };
        if is_v5 {
            // Asked why, when nothing is wrong any more.
            return peer.write(&[0x20, 3, 0, 0, 0]).await;
        }
        peer.write(&[0x20, 2, 0, 0]).await;
        self.session(peer, session).await;
    }

    fn refused(&self, refusal: Refusal, is_v5: bool) -> Vec<u8> {
        let is_proved = refusal.proof() == Proof::Proved;
        if !is_v5 {
            return vec![0x20, 2, 0, if is_proved { 5 } else { 4 }];
        }
        if !is_proved {
            return vec![0x20, 3, 0, 0x86, 0];
        }
        let mut properties = vec![0x1f];
        properties.extend(field(refusal.meaning()));
        if matches!(refusal, Refusal::TokenExpired | Refusal::TokenReplayed) {
            properties.push(0x26);
            properties.extend(field("server_time"));
            properties.extend(field(&self.now().as_millis().to_string()));
        }
        let length = u8::try_from(properties.len()).expect("short");
        let length = [length & 0x7f | 0x80, length >> 7];
        packet(0x20, &[&[0, 0x87], &length[..], &properties].concat())
    }

    async fn session(&self, peer: &mut Peer, mut session: Session) {
        let (mut waiting, mut listens) = (Vec::new(), false);
        while let Some((first, body)) = peer.next().await {
            match first {
                0x32 => {
                    let topic = text(&body);
                    let rest = &body[2 + topic.len()..];
                    peer.write(&[0x40, 2, rest[0], rest[1]]).await;
                    if topic.ends_with("/request") {
                        waiting.push(rest[2..].to_vec());
                    }
                }
                0x82 => {
                    let filter = text(&body[2..]);
                    peer.write(&[0x90, 3, body[0], body[1], 1]).await;
                    if filter == RESPONSE {
                        listens = true;
                    } else {
                        self.send_commands(peer, &filter).await;
                    }
                }
                0x40 => self.acknowledged.send_modify(|count| *count += 1),
                0xc0 => peer.write(&[0xd0, 0]).await,
                _ => return,
            }
            let questions = if listens {
                std::mem::take(&mut waiting)
            } else {
                Vec::new()
            };
            for question in questions {
                let answer = self.answer(&mut session, &question).await;
                if self.answers.fetch_sub(1, Ordering::Relaxed) == 0 {
                    return;
                }
                let answer = std::str::from_utf8(answer.expose_bytes()).expect("text");
                peer.message(RESPONSE, answer).await;
            }
        }
    }

    async fn answer(&self, session: &mut Session, question: &[u8]) -> Answer {
        let request = ProvisionRequest::parse(question).expect("a request");
        let now = self.now();
        let answered = match session {
            Session::Activation(activation) => {
                self.door.issue(activation, &request, HERE, now).await
            }
            Session::Device(login) => self.door.answer(login, &request, now).await,
        };
        answered.unwrap_or_else(|error| error.answer())
    }

    async fn send_commands(&self, peer: &mut Peer, filter: &str) {
        let topic = filter.strip_suffix('+').expect("commands");
        let commands = std::mem::take(&mut *self.commands.lock().expect("lock"));
        for (name, payload) in commands {
            peer.message(&format!("{topic}{name}"), payload).await;
        }
        self.sent_commands.notify_one();
    }
}

enum Session {
    Activation(Activation),
    Device(DeviceLogin),
}

struct Connect {
    user: String,
    password: String,
    hardware: Option<String>,
}

impl Connect {
    fn read(body: &[u8], is_v5: bool) -> Self {
        let mut rest = &body[10..];
        let mut hardware = None;
        if is_v5 {
            let (length, after) = variable(rest);
            let properties;
            (properties, rest) = after.split_at(length);
            // How long the session is kept, five bytes, then perhaps the pair.
            assert_eq!(properties[0], 0x11);
            if let Some(pair) = properties[5..].strip_prefix(&[0x26]) {
                assert_eq!(text(pair), "hardware");
                hardware = Some(text(&pair[2 + "hardware".len()..]));
            }
        }
        let mut next = || {
            let found = text(rest);
            rest = &rest[2 + found.len()..];
            found
        };
        let (_client, user, password) = (next(), next(), next());
        Self {
            user,
            password,
            hardware,
        }
    }
}

/// MQTT's lengths, of at most two bytes here.
fn variable(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => (usize::from(*low), rest),
        [low, high, rest @ ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, rest),
        _ => panic!("no length"),
    }
}

pub(crate) fn serial() -> Serial {
    Serial::parse(SERIAL).expect("serial")
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Timestamp::from_millis(0).plus(since)
}
