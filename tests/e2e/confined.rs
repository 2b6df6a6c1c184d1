//! Whatever a device tries, it receives and causes nothing outside its own
//! topics: random attempts of one device at another's, in every version.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::wire::{DISCONNECT, Packet};
use crate::support::{Connect, Credentials, Peer, TestBroker, Version};

const SERIALS: [&str; 4] = ["alpha", "beta", "+", "a,b:c"];

/// One thing that a device tries.
#[derive(Clone, Debug)]
enum Try {
    Subscribe {
        filter: usize,
        options: u8,
    },
    Unsubscribe {
        filter: usize,
    },
    Publish {
        topic: usize,
        first: u8,
        alias: u8,
    },
    /// Under the name that an alias stands for, if it does.
    PublishByAlias {
        first: u8,
        alias: u8,
    },
}

/// One device's life, as it attacks another's topics.
#[derive(Clone, Debug)]
struct Attack {
    version: Version,
    attacker: usize,
    victim: usize,
    clean: bool,
    will: Option<(u8, usize)>,
    tries: Vec<Try>,
    polite: bool,
}

fn first() -> impl Strategy<Value = u8> {
    (0..=2_u8, any::<bool>()).prop_map(|(qos, retain)| 0x30 | qos << 1 | u8::from(retain))
}

fn tries() -> impl Strategy<Value = Try> {
    prop_oneof![
        (any::<usize>(), 0..=2_u8).prop_map(|(filter, options)| Try::Subscribe { filter, options }),
        any::<usize>().prop_map(|filter| Try::Unsubscribe { filter }),
        (any::<usize>(), first(), 0..4_u8).prop_map(|(topic, first, alias)| Try::Publish {
            topic,
            first,
            alias
        }),
        (first(), 1..4_u8).prop_map(|(first, alias)| Try::PublishByAlias { first, alias }),
    ]
}

fn attacks() -> impl Strategy<Value = Attack> {
    let version = prop::sample::select(Version::ALL.to_vec());
    let pair = (0..SERIALS.len(), 1..SERIALS.len());
    let will = prop::option::of((0..=2_u8, any::<bool>(), any::<usize>()));
    let tries = prop::collection::vec(tries(), 1..12);
    (version, pair, any::<bool>(), will, tries, any::<bool>()).prop_map(
        |(version, (attacker, offset), clean, will, tries, polite)| Attack {
            version,
            attacker,
            victim: (attacker + offset) % SERIALS.len(),
            clean,
            will: will.map(|(qos, retain, topic)| (qos << 3 | u8::from(retain) << 5, topic)),
            tries,
            polite,
        },
    )
}

/// Topics and filters around two devices: one's own, the other's, and worse.
fn names(own: u64, other: u64, serial: &str) -> Vec<String> {
    let mut names = vec![
        "provisioning/fleet".to_owned(),
        "provisioning/events/x/y/device_revoked".to_owned(),
        format!("provision/{serial}/response"),
        format!("provision/{serial}/request"),
        "$SYS/x".to_owned(),
        "app/x".to_owned(),
        format!("feeds/{own}/../{other}/data"),
        format!("feeds/0{own}/data"),
        format!("feeds//{other}/data"),
    ];
    for feed in [own, other] {
        for rest in [
            "data",
            "data/t",
            "status",
            "config",
            "commands/x",
            "",
            "x/y/z",
        ] {
            names.push(format!("feeds/{feed}/{rest}"));
        }
        names.push(format!("/v2/feeds/{feed}.json"));
        names.push(format!("/v2/feeds/{feed}/datastreams/t.csv"));
    }
    names
}

fn filters(own: u64, other: u64, serial: &str) -> Vec<String> {
    let mut filters = names(own, other, serial);
    filters.extend(
        [
            "#",
            "+/#",
            "feeds/+/config",
            "feeds/+/commands/+",
            "+/+/config",
        ]
        .map(Into::into),
    );
    for feed in [own, other] {
        filters.extend(["#", "+", "commands/#", "+/x"].map(|rest| format!("feeds/{feed}/{rest}")));
        filters.push(format!("$share/g/feeds/{feed}/#"));
    }
    filters
}

fn pick(names: &[String], index: usize) -> &str {
    &names[index % names.len()]
}

/// A server with a small fleet, an operator who sees everything, and one who
/// sends to devices.
struct World {
    broker: TestBroker,
    fleet: Vec<Credentials>,
    watcher: Peer,
    sender: Peer,
    round: u64,
}

impl World {
    fn new() -> Self {
        let broker = TestBroker::start();
        broker.fleet(&SERIALS);
        let fleet = SERIALS.map(|serial| broker.activate(Version::V311, serial));
        broker.add_operator("boss", "admin", &[]);
        let mut watcher = broker.operator(Version::V5, "boss");
        // Retained as published: a flag that came through would show.
        watcher.subscribe(&[("#", 0b1001)], &[1]);
        let connect = Connect {
            client_id: "sender",
            ..Connect::new("boss", crate::support::PASSWORD)
        };
        let sender = broker.admitted(Version::V311, &connect);
        Self {
            broker,
            fleet: fleet.into(),
            watcher,
            sender,
            round: 0,
        }
    }

    fn attack(&mut self, attack: &Attack) {
        self.round += 1;
        let (own, other) = (
            self.fleet[attack.attacker].clone(),
            &self.fleet[attack.victim],
        );
        let (own_feed, other_feed) = (own.feed, other.feed);
        let mut victim = self.login(attack.victim, other_feed);
        let heard = self.strike(attack, &own, other_feed);
        for packet in &heard {
            if let Some(publish) = packet.publish(attack.version) {
                let down = [
                    format!("feeds/{own_feed}/commands/"),
                    format!("feeds/{own_feed}/config"),
                    format!("/v2/feeds/{own_feed}.csv"),
                    format!("/v2/feeds/{own_feed}.json"),
                    format!("/v2/feeds/{own_feed}/datastreams/"),
                ];
                let is_own = down.iter().any(|prefix| publish.topic.starts_with(prefix));
                assert!(is_own, "it heard {publish:?}");
            }
        }
        // The victim hears its operator, and nobody else.
        let command = victim.message();
        assert_eq!(command.payload, self.round.to_string().as_bytes());
        let heard = victim.provoke(&[]);
        assert!(heard.is_empty(), "{heard:02x?}");
        let last = format!("feeds/{other_feed}/status");
        victim.deliver(&last, 1, format!("last {}", self.round).as_bytes());
        self.watch(&last);
    }

    /// The victim, connected and waiting for whatever is its own.
    fn login(&self, victim: usize, feed: u64) -> Peer {
        let key = self.fleet[victim].key.clone();
        let mut peer = self.broker.login(Version::V5, SERIALS[victim], &key);
        peer.subscribe(&[(&format!("feeds/{feed}/#"), 0)], &[0]);
        peer
    }

    /// Everything that the attacker hears.
    fn strike(&mut self, attack: &Attack, own: &Credentials, other: u64) -> Vec<Packet> {
        let version = attack.version;
        let payload = format!("from {}", own.feed);
        let names = names(own.feed, other, SERIALS[attack.victim]);
        let filters = filters(own.feed, other, SERIALS[attack.victim]);
        let connect = Connect {
            client_id: SERIALS[attack.victim],
            clean: attack.clean,
            will: attack
                .will
                .map(|(flags, topic)| (flags, pick(&names, topic), payload.as_bytes())),
            ..Connect::new(SERIALS[attack.attacker], &own.key)
        };
        let mut peer = Peer::connect(self.broker.address(), version, &connect);
        let connack = peer.packet();
        let mut bytes = Vec::new();
        for (n, one) in attack.tries.iter().enumerate() {
            let id = n as u16 + 1;
            bytes.extend(match one {
                Try::Subscribe { filter, options } => {
                    version.subscribe(id, &[(pick(&filters, *filter), *options)])
                }
                Try::Unsubscribe { filter } => version.unsubscribe(id, &[pick(&filters, *filter)]),
                Try::Publish {
                    topic,
                    first,
                    alias,
                } => {
                    let alias = [0x23, 0, *alias];
                    let properties = if alias[2] > 0 { &alias[..] } else { &[] };
                    version.publish_with(
                        *first,
                        pick(&names, *topic),
                        id,
                        properties,
                        payload.as_bytes(),
                    )
                }
                Try::PublishByAlias { first, alias } if version.is_5() => {
                    version.publish_with(*first, "", id, &[0x23, 0, *alias], payload.as_bytes())
                }
                Try::PublishByAlias { .. } => Vec::new(),
            });
        }
        let mut heard = Vec::new();
        if connack.body[1] == 0 {
            heard = peer.provoke(&bytes);
        }
        let command = format!("feeds/{other}/commands/x");
        self.sender
            .deliver(&command, 1, self.round.to_string().as_bytes());
        heard.extend(peer.provoke(if attack.polite { &DISCONNECT } else { &[] }));
        peer.vanish();
        heard
    }

    /// Everything up to this topic's last word: who says to be a device is on
    /// that device's topics.
    fn watch(&mut self, last: &str) {
        loop {
            let message = self.watcher.message();
            assert!(
                !message.retain() || message.topic.starts_with("provisioning/"),
                "{message:?}"
            );
            let payload = String::from_utf8_lossy(&message.payload).into_owned();
            if let Some(feed) = payload.strip_prefix("from ") {
                let own = ["data", "data/t", "status"].map(|rest| format!("feeds/{feed}/{rest}"));
                assert!(own.contains(&message.topic), "{message:?}");
            }
            if message.topic == last && payload == format!("last {}", self.round) {
                return;
            }
        }
    }
}

#[test]
fn no_device_reaches_beyond_its_own_topics() {
    let world = RefCell::new(World::new());
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&attacks(), |attack| {
        world.borrow_mut().attack(&attack);
        Ok(())
    });
    outcome.expect("no attack gets through");
}
