//! Seats, leases, and what an application checks without a network.

use std::thread;

use firstwake::PublicKey;
use firstwake::hardware::Facts;
use firstwake::licence::LicenceToken;

use super::is_refused_with_reason;
use crate::support::signing::{
    Algorithm, OTHER_PI_WITH_ITS_CARD, PI, Signing, ask, claims, now, with_part,
};
use crate::support::{Connect, TestBroker, Version, code, eventually};

/// However they race, no more than there are seats for are let in.
#[test]
fn seats_are_not_sold_twice() {
    const SEATS: usize = 3;
    let version = Version::V5;
    let broker = TestBroker::start();
    let serials: Vec<String> = (0..12).map(|number| format!("S{number}")).collect();
    let names: Vec<&str> = serials.iter().map(String::as_str).collect();
    let product = broker.fleet(&names);
    let seats = SEATS.to_string();
    broker
        .cli(&["product", "set", &product, "--seats", &seats])
        .ok();
    // Half of them sign, half of them ask with their codes.
    let activate = |number: usize, serial: &str| match number % 2 {
        0 => {
            let device = Signing::derived(&product, serial);
            let token = device.login();
            let told = broker.told(version, &device.connect(&token));
            let told = told.expect("a CONNACK");
            let full = is_refused_with_reason(version, &told, "all seats");
            assert_eq!(full, told[3] != 0, "{told:02x?}");
            !full
        }
        _ => {
            // With no seat free, the code itself may be refused.
            let mut peer = broker.peer(version);
            peer.send(&Connect::new(serial, &code(serial)).bytes(version));
            let connack = peer.packet().bytes();
            if connack[3] != 0 {
                assert!(is_refused_with_reason(version, &connack, "all seats"));
                return false;
            }
            let topic = format!("provision/{serial}/response");
            peer.subscribe(&[(&topic, 0)], &[0]);
            let answer = peer.publish().json();
            let full = answer["error"]["code"] == "no_seats";
            assert_eq!(full, answer["apikey"].is_null(), "{answer}");
            !full
        }
    };
    let taken: usize = thread::scope(|scope| {
        let racers: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(number, serial)| scope.spawn(move || activate(number, serial)))
            .collect();
        let ended = racers.into_iter().map(|racer| racer.join());
        ended
            .map(|seated| usize::from(seated.expect("no panic")))
            .sum()
    });
    assert_eq!(taken, SEATS);
    let registered = |serial: &&&str| broker.lifecycle(serial) == "registered";
    assert_eq!(names.iter().filter(registered).count(), names.len() - SEATS);

    // A seat is free again once a device is revoked, and not before.
    let seated = names
        .iter()
        .find(|serial| !registered(serial))
        .expect("one");
    broker.cli(&["device", "suspend", seated]).ok();
    let waiting = names
        .iter()
        .position(|name| registered(&name))
        .expect("one");
    assert!(!activate(0, names[waiting]));
    broker.cli(&["device", "revoke", seated]).ok();
    assert!(activate(0, names[waiting]));
}

/// The shortest lease there is: it runs out while the test watches.
#[test]
fn a_lease_that_ran_out_is_out() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    broker
        .cli(&["product", "set", &product, "--lease", "1s"])
        .ok();
    let device = Signing::derived(&product, "S1");
    broker.sign_in(version, &device).vanish();
    let reason = "the device's lease has run out";
    let ended = || {
        let shown = broker.json(&["device", "show", "S1"]);
        let until = shown["lease_until"].as_str().expect("a lease").to_owned();
        (until < now().to_string()).then_some(())
    };
    eventually("the end of the lease", ended);
    for version in Version::ALL {
        let token = device.login();
        let told = broker.told(version, &device.connect(&token));
        let told = told.expect("a CONNACK");
        assert!(
            is_refused_with_reason(version, &told, reason),
            "{told:02x?}"
        );
    }
    broker
        .cli(&["product", "set", &product, "--lease", "1h"])
        .ok();
    let token = device.login();
    let told = broker.told(version, &device.connect(&token));
    let told = told.expect("a CONNACK");
    assert!(
        is_refused_with_reason(version, &told, reason),
        "over is over"
    );
    broker.cli(&["device", "renew", "S1"]).ok();
    broker.sign_in(version, &device).expect_alive();
}

#[test]
fn a_licence_is_for_one_board_and_checked_without_a_server() {
    let version = Version::V311;
    let broker = TestBroker::start();
    let device = broker.signing(Algorithm::EdDsa, "S1").on(PI);
    let product = claims(&device.login())["aud"].clone();
    let product = product.as_str().expect("an id");
    broker
        .cli(&["product", "set", product, "--seats", "10"])
        .ok();
    let mut session = broker.sign_in(version, &device);
    session.subscribe(&[("provision/S1/response", 0)], &[0]);
    let answer = ask(&mut session, "S1", r#"{"ask":"licence"}"#, "licence");
    let text = answer["licence"].as_str().expect("a token").to_owned();
    let key = broker.json(&["licence", "key"]);
    let key = PublicKey::parse(key["x"].as_str().expect("text")).expect("a key");

    let licence = LicenceToken::verify(&text, &key, now()).expect("it holds");
    assert_eq!(licence.serial.as_str(), "S1");
    let facts =
        |device: &Signing| -> Facts { Facts::from_json(&device.hardware()).expect("facts") };
    let may_change = "sd_card".parse().expect("a fact");
    assert!(licence.misfits(&facts(&device), &may_change).is_empty());
    let copied = device.clone().on(OTHER_PI_WITH_ITS_CARD);
    let misfits = licence.misfits(&facts(&copied), &may_change);
    assert_eq!(misfits.to_string(), "cpu_serial,mac");

    let mut says = claims(&text);
    says["hw"] = copied.hardware();
    let altered = with_part(&text, 1, &says.to_string());
    assert!(LicenceToken::verify(&altered, &key, now()).is_err());
    let later = now().plus(std::time::Duration::from_secs(31 * 24 * 3600));
    assert!(LicenceToken::verify(&text, &key, later).is_err());
    // A login is no licence, whoever signed it.
    assert!(LicenceToken::verify(&device.login(), &key, now()).is_err());
}
