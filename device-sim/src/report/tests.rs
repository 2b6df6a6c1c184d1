//! Reports as the storm would make them, and their verdicts.

use std::num::NonZeroUsize;

use firstwake::{ProductSecret, Serial};

use super::*;
use crate::answer::parse_answer;
use crate::outcome::{ConnackCode, Refusal};
use crate::plan::{Ask, Confirm, Hold, Plan};
use crate::record::Timings;
use crate::tls::Transport;

const KEY: &str = "the-key-of-the-first-device";

/// What a device measures that activates and confirms without TLS.
const PLAIN: [Phase; 5] = [
    Phase::Connect,
    Phase::Connack,
    Phase::Answer,
    Phase::Activation,
    Phase::Confirm,
];

fn device(outcome: Outcome, phases: &[Phase]) -> DeviceResult {
    let mut timings = Timings::default();
    for phase in phases {
        timings.set(*phase, Duration::from_micros(100));
    }
    DeviceResult {
        serial: Serial::parse("S1").expect("a serial"),
        outcome,
        credentials: None,
        timings,
    }
}

fn refused() -> DeviceResult {
    let four = ConnackCode::new(4).expect("a refusal");
    device(Outcome::Refused(Refusal::Connack(four)), &[Phase::Connect])
}

fn confirmed() -> DeviceResult {
    let answer = format!(r#"{{"apikey":"{KEY}","feed_id":7,"datastreams":[]}}"#);
    DeviceResult {
        credentials: Some(parse_answer(answer.as_bytes()).expect("an answer")),
        ..device(Outcome::Confirmed, &PLAIN)
    }
}

fn report(devices: Vec<DeviceResult>) -> Report {
    let plan = Plan {
        broker: ([127, 0, 0, 1], 1883).into(),
        transport: Transport::Plain,
        secret: ProductSecret::parse(&"0".repeat(40)).expect("a secret"),
        serials: devices.iter().map(|device| device.serial.clone()).collect(),
        in_flight: NonZeroUsize::new(2).expect("not zero"),
        ask: Ask::Subscribe,
        confirm: Confirm::ThenHold(Hold::For(Duration::from_secs(5))),
        step_deadline: Plan::STEP_DEADLINE,
    };
    let held = Held {
        sessions: 1,
        lost: 0,
    };
    let elapsed = Duration::from_millis(500);
    Report::new(
        PlanSummary::of(&plan),
        devices,
        elapsed,
        Some(held),
        Some(1),
    )
}

pub(super) fn example() -> Report {
    report(vec![confirmed(), refused()])
}

#[test]
fn a_verdict_is_one_sentence() {
    let check = |devices, expected: Option<&str>| {
        let verdict = report(devices).verdict().err();
        assert_eq!(verdict.map(|why| why.to_string()).as_deref(), expected);
    };
    check(vec![confirmed()], None);
    check(
        vec![confirmed(), refused()],
        Some(
            "1 of 2 devices were not confirmed: \
             1 refused: CONNACK 4 (bad user name or password)",
        ),
    );
    check(
        vec![confirmed(), confirmed(), confirmed()],
        Some("2 feed ids and 2 keys had been given to another device before"),
    );
}
