//! A stranger cannot tell an unknown serial from a wrong code, and learns
//! nothing from the time that a code takes.

use std::time::{Duration, Instant};

use crate::support::{Connect, TestBroker, Version, code};

/// Samples of each kind.
const SAMPLES: usize = 3000;

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
    compare(["a wrong code", "an unknown serial"], sample);
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
    compare(["a spent code", "an unknown code"], sample);
}

/// Takes samples of two kinds, whose times have to be alike.
fn compare(names: [&str; 2], mut sample: impl FnMut(usize) -> Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..SAMPLES + 200 {
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
