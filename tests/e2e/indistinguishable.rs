//! A stranger cannot tell an unknown serial from a wrong code or signature, and
//! learns nothing from the time that these take.

use std::time::{Duration, Instant};

use crate::support::signing::{Algorithm, Signing};
use crate::support::{Connect, TestBroker, Version, code};

/// Samples of each kind.
const SAMPLES: usize = 3000;
/// Of signatures, which take a while without optimisation.
const SIGNATURES: usize = 400;

#[test]
fn an_unknown_serial_answers_as_a_wrong_code_does() {
    // So many failures of one source would be answered late, both kinds.
    let broker = TestBroker::start_with(&["failures_per_minute=0"]);
    broker.fleet(&["known-000"]);
    let wrong = "0".repeat(40);
    for version in Version::ALL {
        let told = |serial| broker.told(version, &Connect::new(serial, &wrong));
        assert_eq!(told("known-000"), told("stranger0"));
    }

    let packets =
        ["known-000", "stranger0"].map(|serial| Connect::new(serial, &wrong).bytes(Version::V311));
    let sample = |kind: usize| {
        let mut peer = broker.peer(Version::V311);
        let begun = Instant::now();
        peer.send(&packets[kind]);
        peer.expect(&Version::V311.connack(4));
        begun.elapsed()
    };
    compare(["a wrong code", "an unknown serial"], SAMPLES, sample);
}

/// What is found out about it afterwards, is found out for operators.
#[test]
fn a_right_code_with_a_line_feed_answers_as_that_of_an_unknown_serial() {
    let broker = TestBroker::start_with(&["failures_per_minute=0"]);
    broker.fleet(&["known-000"]);
    let spoilt = ["known-000", "stranger0"].map(|serial| format!("{}\n", code(serial)));
    for version in Version::ALL {
        let told = |n: usize, serial| broker.told(version, &Connect::new(serial, &spoilt[n]));
        assert_eq!(told(0, "known-000"), told(1, "stranger0"));
    }
    let packets = [("known-000", &spoilt[0]), ("stranger0", &spoilt[1])]
        .map(|(serial, code)| Connect::new(serial, code).bytes(Version::V311));
    let sample = |kind: usize| {
        let mut peer = broker.peer(Version::V311);
        let begun = Instant::now();
        peer.send(&packets[kind]);
        peer.expect(&Version::V311.connack(4));
        begun.elapsed()
    };
    let names = ["a code with a line feed", "the same of an unknown serial"];
    compare(names, SAMPLES, sample);
}

/// Of a serial that many products have there is more to look up.
#[test]
fn a_serial_of_many_products_answers_as_any_other_does() {
    const PRODUCTS: usize = 8;
    let broker = TestBroker::start_with(&["failures_per_minute=0"]);
    for n in 0..PRODUCTS {
        let made = broker.json(&["product", "create", &format!("p{n}")]);
        let product = made["product_id"].as_str().expect("an id");
        broker
            .cli(&["device", "register", product, "shared-00"])
            .ok();
    }
    let wrong = "0".repeat(40);
    let key = "k".repeat(48);
    for password in [&wrong, &key] {
        let packets = ["shared-00", "stranger0"]
            .map(|serial| Connect::new(serial, password).bytes(Version::V311));
        let sample = |kind: usize| {
            let mut peer = broker.peer(Version::V311);
            let begun = Instant::now();
            peer.send(&packets[kind]);
            peer.expect(&Version::V311.connack(4));
            begun.elapsed()
        };
        compare(["a serial of eight", "an unknown serial"], SAMPLES, sample);
    }
}

/// Whichever way the device signs, and whichever way the stranger does.
#[test]
fn an_unknown_serial_answers_as_a_wrong_signature_does() {
    let broker = TestBroker::start_with(&["failures_per_minute=0"]);
    let product = broker.fleet(&["derived-0", "paired-00"]);
    broker.signing_of(&product, Algorithm::EdDsa, "paired-00");
    let secret_of_another = "1234567890123456789012345678901234567890";
    for known in ["derived-0", "paired-00"] {
        for algorithm in Algorithm::ALL {
            let token = |serial| match algorithm {
                Algorithm::Hs256 => Signing::derived_from(secret_of_another, &product, serial),
                Algorithm::EdDsa => Signing::with_pair(&product, serial, 66),
            };
            let packets = [known, "stranger0"].map(|serial| {
                let stranger = token(serial);
                let token = stranger.login();
                stranger.connect(&token).bytes(Version::V311)
            });
            let sample = |kind: usize| {
                let mut peer = broker.peer(Version::V311);
                let begun = Instant::now();
                peer.send(&packets[kind]);
                peer.expect(&Version::V311.connack(4));
                begun.elapsed()
            };
            let wrong = format!("a wrong {algorithm:?} of {known}");
            compare([&wrong, "an unknown serial"], SIGNATURES, sample);
        }
    }
}

#[test]
fn over_http_an_unknown_code_takes_as_long_as_a_spent_one() {
    const DEVICES: usize = 50;
    let broker = TestBroker::with_xively_and(&["failures_per_minute=0"]);
    let serials: Vec<String> = (0..DEVICES).map(|n| format!("known-{n:03}")).collect();
    broker.fleet(&serials.iter().map(String::as_str).collect::<Vec<_>>());
    for serial in &serials {
        drop(broker.device(Version::V311, serial));
    }
    let spent = serials.iter().map(|serial| code(serial)).collect();
    let unknown = (0..DEVICES).map(|n| format!("{n:040x}")).collect();
    let codes: [Vec<String>; 2] = [spent, unknown];

    let mut peer = broker.xively();
    let mut asked = [0; 2];
    let sample = |kind: usize| {
        let code = &codes[kind][asked[kind] % DEVICES];
        asked[kind] += 1;
        let line = format!("GET /v2/devices/{code}/activate");
        let begun = Instant::now();
        let response = peer.ask(&line, &[], b"");
        let took = begun.elapsed();
        assert_eq!(response.status, [403, 404][kind]);
        took
    };
    compare(["a spent code", "an unknown code"], SAMPLES, sample);
}

/// Takes samples of two kinds, whose times have to be alike.
fn compare(names: [&str; 2], samples: usize, mut sample: impl FnMut(usize) -> Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..samples + 200 {
        // One after the other, and each as often the first of the two.
        for kind in [n % 2, 1 - n % 2] {
            let took = sample(kind);
            // The first ones find cold caches.
            if n >= 200 {
                times[kind].push(took);
            }
        }
    }
    for part in [10, 25, 50] {
        let [one, other] = times.each_ref().map(|times| quantile(times, part));
        let apart = one.abs_diff(other);
        let noise = times.iter().map(|times| noise(times, part)).max();
        let noise = noise.expect("two kinds");
        assert!(
            apart < one / 10 || apart < 3 * noise,
            "{part} %: {one:?} with {}, {other:?} with {}, noise {noise:?}",
            names[0],
            names[1]
        );
    }
}

/// The time within which this many of a hundred were answered.
fn quantile(times: &[Duration], part: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() * part / 100]
}

/// How far two halves of one kind are apart.
fn noise(times: &[Duration], part: usize) -> Duration {
    let half =
        |first: usize| -> Vec<Duration> { times.iter().skip(first).step_by(2).copied().collect() };
    quantile(&half(0), part).abs_diff(quantile(&half(1), part))
}
