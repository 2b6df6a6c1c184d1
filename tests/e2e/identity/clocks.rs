//! Clocks that are wrong: who has proved its key is told the right time.

use std::time::Duration;

use firstwake::Timestamp;

use super::{is_refused_with_reason, no};
use crate::support::http::HttpPeer;
use crate::support::signing::{Algorithm, Signing, now};
use crate::support::{TestBroker, Version};

const UNTIMELY: &str = "the signed login is too old, from the future";
const MINUTE: Duration = Duration::from_secs(60);
const TWO_HOURS: Duration = Duration::from_secs(7200);

fn earlier(by: Duration) -> Timestamp {
    let millis = u64::try_from(by.as_millis()).expect("short");
    Timestamp::from_millis(now().as_millis() - millis)
}

#[test]
fn a_token_that_is_too_old_too_new_or_too_long_is_refused() {
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(algorithm, "S1");
        let attempts = [
            (earlier(Duration::from_secs(200)), MINUTE),
            (now().plus(Duration::from_secs(120)), MINUTE),
            (now().plus(TWO_HOURS), MINUTE),
            (earlier(TWO_HOURS), 2 * TWO_HOURS),
            (now(), Duration::from_secs(301)),
            (now(), Duration::ZERO),
        ];
        for version in Version::ALL {
            for (issued_at, span) in attempts {
                let token = device.login_at(issued_at, span);
                let told = broker.told(version, &device.connect(&token));
                let told = told.expect("a CONNACK");
                let refused = is_refused_with_reason(version, &told, UNTIMELY);
                assert!(refused, "{issued_at} for {span:?}: {told:02x?}");
            }
        }
        // One of before it was registered is another life's.
        let another = device.login_at(earlier(MINUTE), Duration::from_secs(300));
        let told = broker.told(Version::V5, &device.connect(&another));
        let told = told.expect("a CONNACK");
        assert!(is_refused_with_reason(Version::V5, &told, UNTIMELY));
        // None of them counts as a login: the next one is newer than nothing.
        let first = device.login_at(now(), Duration::from_secs(300));
        broker
            .admitted(Version::V5, &device.connect(&first))
            .expect_alive();
        assert!(broker.suspicions().is_empty(), "a wrong clock is no clone");
    }
}

/// MQTT 5 tells it in the refusal itself.
#[test]
fn a_clock_two_hours_off_is_set_by_the_refusal() {
    let version = Version::V5;
    for algorithm in Algorithm::ALL {
        let broker = TestBroker::start();
        let device = broker.signing(algorithm, "S1");
        for wrong in [earlier(TWO_HOURS), now().plus(TWO_HOURS)] {
            let token = device.login_at(wrong, MINUTE);
            let told = broker.told(version, &device.connect(&token));
            let right = server_time(&told.expect("a CONNACK"));
            let token = device.login_at(right, MINUTE);
            broker
                .admitted(version, &device.connect(&token))
                .expect_alive();
        }
    }
}

/// Before MQTT 5 there is no place for it: HTTP tells it to anybody.
#[test]
fn a_clock_two_hours_off_is_set_over_http() {
    let version = Version::V311;
    let broker = TestBroker::with_http();
    let device = broker.signing(Algorithm::Hs256, "S1");
    let token = device.login_at(earlier(TWO_HOURS), MINUTE);
    let told = broker.told(version, &device.connect(&token));
    assert_eq!(told, Some(version.connack(5)));
    let response = HttpPeer::open(broker.listens("http")).ask("GET /api/v1/time", &[], b"");
    assert!(response.header("date").is_some());
    let millis = response.of(200)["unix"].as_u64().expect("a number");
    let token = device.login_at(Timestamp::from_millis(millis), MINUTE);
    broker
        .admitted(version, &device.connect(&token))
        .expect_alive();
}

#[test]
fn who_has_not_proved_a_key_is_told_no_time() {
    let version = Version::V5;
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    broker.signing_of(&product, Algorithm::EdDsa, "S2");
    for stranger in [
        Signing::with_pair(&product, "S1", 9),
        Signing::with_pair(&product, "S2", 9),
        Signing::derived(&product, "S2"),
        Signing::derived(&product, "nobody"),
    ] {
        let token = stranger.login_at(earlier(TWO_HOURS), MINUTE);
        let told = broker.told(version, &stranger.connect(&token));
        assert_eq!(told, Some(no(version)));
    }
}

/// The user property `server_time` of a CONNACK: milliseconds since 1970.
fn server_time(connack: &[u8]) -> Timestamp {
    let name = b"\x26\0\x0bserver_time";
    let found = connack
        .windows(name.len())
        .position(|window| window == name);
    let at = found.unwrap_or_else(|| panic!("no time: {connack:02x?}")) + name.len();
    let length = usize::from(u16::from_be_bytes([connack[at], connack[at + 1]]));
    let text = std::str::from_utf8(&connack[at + 2..at + 2 + length]).expect("text");
    Timestamp::from_millis(text.parse().expect("a number"))
}
