//! A device against bytes as a broker would send them.

use firstwake::ProductSecret;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder};

use super::*;
use crate::callers::Caller;

const SERIAL: &str = "a+b";
const TOPIC: &[u8] = b"provision/a%2Bb/response";
const PAYLOAD: &[u8] = br#"{"apikey":"k","feed_id":7,"datastreams":["t"]}"#;

fn packet(bytes: &[u8]) -> RawPacket {
    match PacketBuilder::new().feed(&mut Cursor::new(bytes)) {
        PacketBuildResult::Complete(packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn serial() -> Serial {
    Serial::parse(SERIAL).expect("a serial")
}

/// A PUBLISH, `id` being there for QoS 1 and 2 only.
fn publish(flags: u8, topic: &[u8], id: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u8::try_from(bytes).expect("a short packet");
    let mut bytes = vec![
        0x30 | flags,
        length(2 + topic.len() + id.len() + payload.len()),
        0,
        length(topic.len()),
    ];
    for part in [topic, id, payload] {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn begun(ask: Ask) -> Activation {
    let secret = ProductSecret::parse(&"0".repeat(40)).expect("a secret");
    let code = ActivationCode::compute(&secret, &serial());
    Activation::begin(&serial(), &code, ask, &mut Vec::new()).expect("it fits")
}

fn connected() -> Activation {
    match begun(Ask::Subscribe).hear(packet(&[0x20, 2, 0, 0]), &mut Vec::new()) {
        Ok(Turn::Connected(activation)) => activation,
        _ => panic!("a CONNACK 0 connects"),
    }
}

/// What a packet does to an activation, without what it carries on.
fn turn(activation: Activation, bytes: &[u8]) -> (Result<&'static str, Mishap>, Vec<u8>) {
    let mut out = Vec::new();
    let turn = activation
        .hear(packet(bytes), &mut out)
        .map(|turn| match turn {
            Turn::Connected(_) => "connected",
            Turn::Waiting(_) => "waiting",
            Turn::Answered(_) => "answered",
        });
    (turn, out)
}

#[test]
fn the_connect_is_as_firmware_writes_it() {
    let secret = ProductSecret::parse("488f40ff3d0b2c6188e272f8d86416b73b3cb4ef");
    let serial = Serial::parse("0123456789").expect("a serial");
    let code = ActivationCode::compute(&secret.expect("a secret"), &serial);
    let mut out = Vec::new();
    Activation::begin(&serial, &code, Ask::Subscribe, &mut out).expect("it fits");
    let mut expected =
        b"\x10\x4C\x00\x04MQTT\x04\xC2\x00\x3C\x00\x0A0123456789\x00\x0A0123456789".to_vec();
    expected.extend_from_slice(b"\x00\x28");
    expected.extend_from_slice(code.expose_hex().as_bytes());
    assert_eq!(out, expected);
}

#[test]
fn an_accepted_code_subscribes() {
    let check = |ask: Ask, then: &[u8]| {
        let (turn, out) = turn(begun(ask), &[0x20, 2, 0, 0]);
        assert_eq!(turn, Ok("connected"));
        let mut expected = vec![0x82, 29, 0, 1, 0, 24];
        expected.extend_from_slice(TOPIC);
        expected.push(1);
        expected.extend_from_slice(then);
        assert_eq!(out, expected, "{ask:?}");
    };
    check(Ask::Subscribe, &[]);
    check(
        Ask::SubscribeAndRequest,
        b"\x30\x19\x00\x17provision/a%2Bb/request",
    );
}

#[test]
fn before_the_connack() {
    let check = |bytes: &[u8], expected: Mishap| {
        assert_eq!(
            turn(begun(Ask::Subscribe), bytes),
            (Err(expected), vec![]),
            "{bytes:?}"
        );
    };
    for number in 1..=5 {
        let code = ConnackCode::new(number).expect("a refusal");
        check(
            &[0x20, 2, 0, number],
            Mishap::Refused(Refusal::Connack(code)),
        );
    }
    check(&[0x20, 2, 0, 6], Mishap::Malformed);
    check(&[0x20, 3, 0, 0, 0], Mishap::Malformed);
    check(&[0x90, 3, 0, 1, 1], Mishap::Malformed);
    check(&[0xD0, 0], Mishap::Malformed);
}

#[test]
fn after_the_connack() {
    let check = |bytes: &[u8], expected: Result<&str, Mishap>, said: &[u8]| {
        let (turn, out) = turn(connected(), bytes);
        assert_eq!((turn, &out[..]), (expected, said), "{bytes:02X?}");
    };
    check(&[0x90, 3, 0, 1, 1], Ok("waiting"), &[]);
    check(&[0x90, 3, 0, 1, 0], Ok("waiting"), &[]);
    let refused = Mishap::Refused(Refusal::Subscribe);
    check(&[0x90, 3, 0, 1, 0x80], Err(refused), &[]);
    check(&[0x90, 3, 0, 2, 1], Err(Mishap::Malformed), &[]);
    check(&[0x90, 4, 0, 1, 1, 1], Err(Mishap::Malformed), &[]);
    check(&[0x20, 2, 0, 0], Err(Mishap::Malformed), &[]);

    let answered = Ok("answered");
    check(&publish(0, TOPIC, &[], PAYLOAD), answered, &[0xE0, 0]);
    check(
        &publish(2, TOPIC, &[0, 9], PAYLOAD),
        answered,
        &[0x40, 2, 0, 9, 0xE0, 0],
    );
    check(
        &publish(4, TOPIC, &[0, 9], PAYLOAD),
        Err(Mishap::Malformed),
        &[],
    );
    check(
        &publish(6, TOPIC, &[0, 9], PAYLOAD),
        Err(Mishap::Malformed),
        &[],
    );
    check(&publish(0, TOPIC, &[], b"{}"), Err(Mishap::Malformed), &[]);
    check(
        &publish(0, b"provision/a+b/response", &[], PAYLOAD),
        Err(Mishap::ForeignAnswer),
        &[],
    );
    check(
        &publish(0, TOPIC, &[], br#"{"error":{"code":"no_seats"}}"#),
        Err(Mishap::Refused(Refusal::Answer)),
        &[],
    );
}

#[test]
fn a_key_confirms() {
    let key = parse_answer(PAYLOAD).expect("an answer").key;
    let begin = || {
        let mut out = Vec::new();
        let confirmation = Confirmation::begin(&serial(), &key, &mut out).expect("it fits");
        (confirmation, out)
    };
    let (confirmation, out) = begin();
    assert_eq!(
        out,
        b"\x10\x17\x00\x04MQTT\x04\xC2\xFF\xFF\x00\x03a+b\x00\x03a+b\x00\x01k"
    );
    assert_eq!(confirmation.hear(&packet(&[0x20, 2, 0, 0])), Ok(()));

    let four = ConnackCode::new(4).expect("a refusal");
    let refused = begin().0.hear(&packet(&[0x20, 2, 0, 4]));
    assert_eq!(refused, Err(Mishap::Refused(Refusal::ConfirmConnack(four))));
}

#[test]
fn a_pair_is_enrolled_in_two_requests() {
    let secret = ProductSecret::parse(&"0".repeat(40)).expect("a secret");
    let device = Caller::with_code(&secret, serial());
    let mut out = Vec::new();
    let enrolment = Enrolment::begin(&device, &mut out).expect("it fits");
    let hear = |enrolment: Enrolment, bytes: &[u8]| {
        let mut out = Vec::new();
        (enrolment.hear(packet(bytes), &mut out), out)
    };
    let (turn, out) = hear(enrolment, &[0x20, 2, 0, 0]);
    let Ok(EnrolmentTurn::Waiting(enrolment)) = turn else {
        panic!("it asks for a challenge");
    };
    let asked = String::from_utf8_lossy(&out);
    let subscribed = "\0\x18provision/a%2Bb/response\x01";
    let (question, rest) = asked.split_once("}").expect("a question");
    assert!(question.ends_with(r#"provision/a%2Bb/request{"ask":"challenge""#));
    assert!(rest.ends_with(subscribed), "{rest:?}");

    // The SUBACK may come before the answer.
    let (turn, _) = hear(enrolment, &[0x90, 3, 0, 1, 1]);
    let Ok(EnrolmentTurn::Waiting(enrolment)) = turn else {
        panic!("it waits on");
    };
    let challenged = publish(2, TOPIC, &[0, 9], br#"{"challenge":"c","pepper":"p"}"#);
    let (turn, out) = hear(enrolment, &challenged);
    let Ok(EnrolmentTurn::Challenged(enrolment, challenge)) = turn else {
        panic!("it is challenged");
    };
    assert_eq!((challenge.as_str(), &out[..]), ("c", &[0x40, 2, 0, 9][..]));

    let mut out = Vec::new();
    let enrolment = enrolment.ask(b"{}", &mut out).expect("it fits");
    assert_eq!(out, b"\x30\x1B\x00\x17provision/a%2Bb/request{}");
    let answer = publish(0, TOPIC, &[], br#"{"feed_id":7,"datastreams":[]}"#);
    let (turn, out) = hear(enrolment, &answer);
    assert!(matches!(turn, Ok(EnrolmentTurn::Enrolled)));
    assert_eq!(out, [0xE0, 0]);
}
