//! What a product demands of its devices, and what an operator sees of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use firstwake::hardware::{Fact, Facts, Pepper};
use firstwake::signed::{LoginClaims, Signer};
use firstwake::{DeviceKey, ProductId, ProductSecret, Serial, Timestamp};
use serde_json::{Value, json};

use crate::support::wire::{DISCONNECT, text};
use crate::support::{Connect, Done, Peer, SECRET, TestBroker, Version, Way, code};

/// A board's network address, as its factory wrote it and as its kernel does.
const MAC: [&str; 2] = ["DC-A6-32-01-02-03", "dc:a6:32:01:02:03"];

fn every_way(story: impl Fn(&Way)) {
    Way::all().iter().for_each(story);
}

/// A login that the device signs with the key its factory burnt in, on this
/// board.
fn signed(product: &str, serial: &str, board: &Facts, jti: &str) -> String {
    let serial = Serial::parse(serial).expect("valid");
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.expect("after 1970").as_millis();
    Signer::DeviceKey(DeviceKey::derive(&secret, &serial)).login(&LoginClaims {
        serial: &serial,
        product: &ProductId::parse(product).expect("valid"),
        issued_at: Timestamp::from_millis(u64::try_from(millis).expect("not yet")),
        span: Duration::from_secs(60),
        jti,
        hardware: board,
    })
}

/// What is shown of a board, hashed as its product's devices hash it.
fn board(broker: &TestBroker, product: &str, facts: &[(Fact, &str)]) -> Facts {
    let pepper = broker.cli(&["product", "pepper", product]).ok();
    let pepper = Pepper::parse(pepper.trim_end()).expect("64 hex characters");
    Facts::of(&pepper, facts.iter().copied())
}

fn set(broker: &TestBroker, product: &str, policies: &[&str]) {
    let change = [&["product", "set", product], policies].concat();
    broker.cli(&change).ok();
}

/// A product with the published secret.
fn create(way: &Way) -> String {
    create_with(way, &["--secret", SECRET])
}

fn create_with(way: &Way, options: &[&str]) -> String {
    let create = [&["product", "create", "lamp"], options].concat();
    let made = way.json(&create);
    made["product_id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_product_says_what_it_demands() {
    every_way(|way| {
        let show = |product: &str| way.json(&["product", "show", product]);
        let plain = create(way);
        let default = json!({
            "proof": "either", "codes_until": null, "hardware": "record",
            "may_change": ["sd_card", "root_disk", "machine_id", "cpuinfo"],
            "on_clone": "alert", "seats": null, "seats_taken": 0, "lease_seconds": null,
        });
        let policies = |shown: Value| {
            let names = default.as_object().expect("an object").keys();
            let named = names.map(|name| (name.clone(), shown[name].clone()));
            Value::Object(named.collect())
        };
        assert_eq!(policies(show(&plain)), default);

        let options = [
            ["--proof", "signed"],
            ["--codes-until", "2099-01-31"],
            ["--hardware", "enforce"],
            ["--may-change", "sd_card"],
            ["--on-clone", "quarantine"],
            ["--seats", "10"],
            ["--lease", "30d"],
        ]
        .concat();
        let strict = json!({
            "proof": "signed", "codes_until": "2099-01-31T00:00:00.000Z", "hardware": "enforce",
            "may_change": ["sd_card"], "on_clone": "quarantine", "seats": 10, "seats_taken": 0,
            "lease_seconds": 2_592_000,
        });
        let product = create_with(way, &options);
        assert_eq!(policies(show(&product)), strict);
        let words = way.run(&["product", "show", &product]).ok();
        assert!(
            words.contains("0 of 10 taken") && words.contains("30days"),
            "{words}"
        );

        // The same to one that is there; what is not named stays.
        way.run(&[&["product", "set", &plain][..], &options].concat())
            .ok();
        way.run(&["product", "set", &plain, "--name", "desk lamp"])
            .ok();
        assert_eq!(policies(show(&plain)), strict);
        let away = [
            ["--codes-until", "none"],
            ["--may-change", "none"],
            ["--seats", "none"],
            ["--lease", "none"],
        ];
        way.run(&[&["product", "set", &plain][..], &away.concat()].concat())
            .ok();
        let shown = show(&plain);
        assert_eq!(shown["may_change"], json!([]));
        for name in ["codes_until", "seats", "lease_seconds"] {
            assert_eq!(shown[name], Value::Null, "{name}");
        }
        assert_eq!(shown["proof"], "signed");

        for wrong in [
            ["--proof", "none"],
            ["--codes-until", "soon"],
            ["--hardware", "strict"],
            ["--may-change", "imei"],
            ["--on-clone", "revoke"],
            ["--seats", "-1"],
        ] {
            let refused = way.run(&[&["product", "set", &plain][..], &wrong].concat());
            assert_eq!(refused.status, 2, "{wrong:?}");
        }
        let refused = way.run(&["product", "set", &plain, "--lease", "0s"]);
        assert!(refused.refused().contains("a second at least"));
    });
}

#[test]
fn a_factory_is_told_what_it_burns_in() {
    every_way(|way| {
        let product = create(way);
        way.run(&["device", "register", &product, "S1"]).ok();
        let secret = ProductSecret::parse(SECRET).expect("valid");
        let key = DeviceKey::derive(&secret, &Serial::parse("S1").expect("valid"));
        let told = way.run(&["device", "key", "S1"]).ok();
        assert_eq!(told, format!("{}\n", key.expose_hex().as_str()));
        let json = way.json(&["device", "key", "S1"]);
        assert_eq!(
            json,
            json!({ "serial": "S1", "device_key": told.trim_end() })
        );
        way.run(&["device", "key", "S2"]).failed(4);

        let pepper = way.run(&["product", "pepper", &product]).ok();
        assert!(Pepper::parse(pepper.trim_end()).is_some(), "{pepper}");
        assert_eq!(
            way.json(&["product", "pepper", &product])["pepper"],
            pepper.trim_end()
        );
        let nobodys = "aaaaaaaaaaaaaaaaaaaa";
        way.run(&["product", "pepper", nobodys]).failed(4);

        let jwk = way.json(&["licence", "key"]);
        assert_eq!(
            (&jwk["kty"], &jwk["crv"], &jwk["alg"]),
            (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
        );
        assert_eq!(jwk["x"].as_str().map(str::len), Some(43));
        let pem = way.run(&["licence", "key"]).ok();
        let lines: Vec<&str> = pem.lines().collect();
        assert_eq!(lines.len(), 3, "{pem}");
        assert_eq!(lines[0], "-----BEGIN PUBLIC KEY-----");
        assert!(lines[1].starts_with("MCowBQYDK2VwAyEA") && lines[1].len() == 60);
        assert_eq!(way.run(&["licence", "key"]).ok(), pem, "always the same");
    });
}

#[test]
fn a_factory_says_what_it_read_on_its_boards() {
    every_way(|way| {
        let product = create(way);
        let register = |more: &[&str], csv: &str| -> Done {
            let register = [&["device", "register", &product], more].concat();
            way.run_with(&register, csv)
        };
        let csv = format!(
            "serial,mac,cpu_serial\nS1,{},10000000abcdef01\nS2,,\n",
            MAC[0]
        );
        assert_eq!(
            register(&["--csv", "-"], &csv).ok(),
            "registered 2, known before 0\n"
        );
        let shown = |serial: &str| way.json(&["device", "show", serial])["hardware"].clone();
        assert_eq!(shown("S1"), json!(["cpu_serial", "mac"]));
        assert_eq!(shown("S2"), json!([]));
        let words = way.run(&["device", "show", "S1"]).ok();
        assert!(words.contains("cpu_serial,mac"), "{words}");
        assert!(!words.contains("abcdef01"), "{words}");
        way.run(&["device", "forget-hardware", "S1"]).ok();
        assert_eq!(shown("S1"), json!([]));

        let told = register(&["--csv", "-"], "serial,imei\nS3,1\n").refused();
        assert!(told.contains("imei"), "{told}");
        let told = register(&["--csv", "-"], "serial,mac\nS 3,1\n").refused();
        assert!(told.contains("line 2"), "{told}");
        assert_eq!(register(&["--csv", "-", "S3"], &csv).status, 2);
    });
}

#[test]
fn a_product_whose_devices_sign_makes_no_keys() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1", "S2"]);
        let (mut with_key, credentials) = broker.device(version, "S2");
        set(&broker, &product, &["--proof", "signed"]);
        // Whoever is in with a key is out.
        let meaning = firstwake::Refusal::KeyDisabled.meaning();
        with_key.expect_farewell_because(0x98, meaning);
        let refused = if version.is_5() { 0x87 } else { 5 };
        let told = broker.told(version, &Connect::new("S2", &credentials.key));
        assert_eq!(told, Some(version.connack_because(refused, meaning)));

        // A subscription asks for nothing any more.
        let mut peer = broker.activating(version, "S1");
        let response = "provision/S1/response";
        peer.subscribe(&[(response, 0)], &[0]);
        peer.expect_alive();
        let ask = |peer: &mut Peer, payload: &str| {
            let request = "provision/S1/request";
            peer.send(&version.publish(request, 0, 0, payload.as_bytes()));
            peer.publish().json()
        };
        let challenge = ask(&mut peer, r#"{"ask":"challenge"}"#);
        assert!(challenge["challenge"].is_string() && challenge["pepper"].is_string());
        assert_eq!(broker.lifecycle("S1"), "registered");
        let issued = ask(&mut peer, "{}");
        assert!(
            issued["feed_id"].is_u64() && issued["apikey"].is_null(),
            "{issued}"
        );
        peer.send(&DISCONNECT);
        peer.expect_close();
        assert_eq!(broker.lifecycle("S1"), "issued");

        let token = signed(&product, "S1", &Facts::default(), "1");
        let mut device = broker.admitted(version, &Connect::new("S1", &token));
        let shown = broker.json(&["device", "show", "S1"]);
        assert_eq!(
            (&shown["lifecycle"], &shown["proof"]),
            (&json!("active"), &json!("HS256"))
        );
        assert!(shown["signed_at"].is_string(), "{shown}");
        device.subscribe(&[(response, 0)], &[0]);
        assert_eq!(ask(&mut device, "{}")["proof"], "HS256");
        // It does not go back.
        let told = broker.told(version, &Connect::new("S1", &code("S1")));
        assert_eq!(told.expect("a CONNACK")[3], refused);
        device.expect_alive();
    }
}

/// The session with the key ends when the device signs for the first time.
#[test]
fn who_signs_has_no_key_any_more() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1"]);
        let (mut with_key, credentials) = broker.device(version, "S1");
        let token = signed(&product, "S1", &Facts::default(), "1");
        let mut device = broker.admitted(version, &Connect::new("S1", &token));
        with_key.expect_farewell(0x8e);
        device.expect_alive();
        assert!(!broker.works("S1", &credentials.key));
        // Once is once; MQTT 5 is told what time it is, too.
        let told = broker.told(version, &Connect::new("S1", &token));
        let told = told.expect("a CONNACK");
        if version.is_5() {
            assert_eq!(told[3], 0x87);
            let time = text("server_time");
            assert!(
                told.windows(time.len()).any(|part| part == time),
                "{told:02x?}"
            );
        } else {
            assert_eq!(told, version.connack(5));
        }
        let explained = broker.cli(&["device", "explain", "S1"]).ok();
        assert!(explained.contains("token_replayed"), "{explained}");
        device.expect_alive();
    }
}

#[test]
fn another_board_is_refused_until_it_is_let_in() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S0"]);
        let csv = format!("serial,mac\nS1,{}\n", MAC[0]);
        let register = ["device", "register", &product, "--csv", "-"];
        broker.cli_with(&register, &csv).ok();
        set(&broker, &product, &["--hardware", "enforce"]);
        let own = board(&broker, &product, &[(Fact::Mac, MAC[1])]);
        let other = board(&broker, &product, &[(Fact::Mac, "dc:a6:32:0a:0b:0c")]);
        let told = |board: &Facts, jti: &str| {
            let token = signed(&product, "S1", board, jti);
            broker.told(version, &Connect::new("S1", &token))
        };
        let refused = |told: Option<Vec<u8>>, refusal: firstwake::Refusal| {
            let code = if version.is_5() { 0x87 } else { 5 };
            let expected = version.connack_because(code, refusal.meaning());
            assert_eq!(told, Some(expected));
        };
        assert_eq!(told(&own, "1").expect("a CONNACK")[3], 0);
        refused(told(&other, "2"), firstwake::Refusal::HardwareMismatch);
        let suspected = broker.events();
        let suspected = suspected.iter().find(|it| it["event"] == "clone_suspected");
        let suspected = suspected.expect("an alarm");
        assert_eq!(suspected["signal"], "hardware_mismatch");
        assert_eq!(suspected["facts"], json!(["mac"]));
        let explained = broker.cli(&["device", "explain", "S1"]).ok();
        assert!(explained.contains("forget-hardware"), "{explained}");

        broker.cli(&["device", "forget-hardware", "S1"]).ok();
        assert_eq!(told(&other, "3").expect("a CONNACK")[3], 0);
        refused(told(&own, "4"), firstwake::Refusal::HardwareMismatch);

        // Where the product says so, the device is put aside, and its session
        // ends.
        set(&broker, &product, &["--on-clone", "quarantine"]);
        let token = signed(&product, "S1", &other, "5");
        let mut device = broker.admitted(version, &Connect::new("S1", &token));
        refused(told(&own, "6"), firstwake::Refusal::HardwareMismatch);
        let meaning = firstwake::Refusal::Quarantined.meaning();
        device.expect_farewell_because(0x98, meaning);
        refused(told(&other, "7"), firstwake::Refusal::Quarantined);
        broker.cli(&["device", "release", "S1"]).ok();
        assert_eq!(told(&other, "8").expect("a CONNACK")[3], 0);
    }
}

#[test]
fn a_product_has_so_many_seats() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1", "S2"]);
        set(&broker, &product, &["--seats", "1"]);
        broker.device(version, "S1");
        let shown = broker.json(&["product", "show", &product]);
        assert_eq!(
            (&shown["seats"], &shown["seats_taken"]),
            (&json!(1), &json!(1))
        );
        let token = signed(&product, "S2", &Facts::default(), "1");
        let refused = if version.is_5() { 0x87 } else { 5 };
        let meaning = firstwake::Refusal::NoSeats.meaning();
        let told = broker.told(version, &Connect::new("S2", &token));
        assert_eq!(told, Some(version.connack_because(refused, meaning)));
        broker.cli(&["device", "revoke", "S1"]).ok();
        let token = signed(&product, "S2", &Facts::default(), "2");
        broker
            .admitted(version, &Connect::new("S2", &token))
            .expect_alive();
    }
}

/// A key that two programs use is not a device that comes back.
#[test]
fn two_that_share_an_identity_are_noticed() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let credentials = broker.activate(version, "S1");
        let from = |last: u8, client_id: &str| {
            let mut peer = Peer::open_from([127, 0, 0, last], broker.address(), version);
            peer.admit(&Connect {
                client_id,
                ..Connect::new("S1", &credentials.key)
            });
            peer
        };
        let suspicions = || {
            let mut events = broker.events();
            events.retain(|event| event["event"] == "clone_suspected");
            events
        };
        // It roams, and it starts anew: the older session is over, or it is
        // never heard of again.
        let mut roaming = from(2, "a");
        roaming.send(&DISCONNECT);
        roaming.expect_close();
        let mut here = from(3, "a");
        let mut moved = from(4, "a");
        here.expect_farewell(0x8e);
        assert_eq!(suspicions(), Vec::<Value>::new());

        let mut agent = from(4, "agent");
        moved.expect_farewell(0x8e);
        let mut back = from(4, "a");
        agent.expect_farewell(0x8e);
        back.expect_alive();
        let suspected = suspicions();
        assert_eq!(suspected.len(), 1, "{suspected:?}");
        assert_eq!(suspected[0]["signal"], "two_client_ids");
        assert_eq!(suspected[0]["client_ids"], json!(["agent", "a"]));
        assert_eq!(suspected[0]["source"], "127.0.0.4");
    }
}
