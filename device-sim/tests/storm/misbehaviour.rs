//! Each way in which a broker can fail a device comes out as its own outcome.

use std::time::Duration;

use device_sim::{Confirm, ConnackCode, NoConnection, Outcome, Refusal, Step};
use tokio::net::TcpSocket;

use super::scripted::{ANSWER, CONNACK, Script, Then, scripted};
use super::{any_port, plan, run};

/// One device against one broker.
async fn check(scripts: &[Script], deadline: Duration, expected: Outcome) {
    let (broker, _) = scripted(scripts.to_vec()).await;
    let mut plan = plan(broker, 1, Confirm::ThenClose);
    plan.step_deadline = deadline;
    let report = run(plan).await;
    assert_eq!(report.devices[0].outcome, expected);
    assert_eq!(report.verdict().is_ok(), expected == Outcome::Confirmed);
}

const PATIENT: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_millis(100);

const ACTIVATES: Script = Script(&[&CONNACK, ANSWER], Then::Linger);

fn refusal(code: u8) -> ConnackCode {
    ConnackCode::new(code).expect("a refusal")
}

#[tokio::test]
async fn a_script_can_behave() {
    let confirms = Script(&[&CONNACK], Then::Linger);
    check(&[ACTIVATES, confirms], PATIENT, Outcome::Confirmed).await;
}

#[tokio::test]
async fn nobody_listens() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(any_port()).expect("a free port");
    let bound = socket.local_addr().expect("bound, but it does not listen");
    let report = run(plan(bound, 1, Confirm::Skip)).await;
    assert_eq!(
        report.devices[0].outcome,
        Outcome::Unreachable(NoConnection::Refused)
    );
}

#[tokio::test]
async fn it_closes() {
    let at_once = Script(&[], Then::Close);
    let step = |step| Outcome::Closed(step);
    check(&[at_once], PATIENT, step(Step::Connack)).await;
    let later = Script(&[&CONNACK], Then::Close);
    check(&[later], PATIENT, step(Step::Answer)).await;
    check(&[ACTIVATES, at_once], PATIENT, step(Step::ConfirmConnack)).await;
}

#[tokio::test]
async fn it_says_nothing() {
    let silent = Script(&[], Then::Linger);
    let step = |step| Outcome::TimedOut(step);
    check(&[silent], IMPATIENT, step(Step::Connack)).await;
    let forgetful = Script(&[&CONNACK, b"\x90\x03\x00\x01\x01"], Then::Linger);
    check(&[forgetful], IMPATIENT, step(Step::Answer)).await;
    check(&[ACTIVATES, silent], IMPATIENT, step(Step::ConfirmConnack)).await;
}

#[tokio::test]
async fn it_refuses() {
    let four = Script(&[b"\x20\x02\x00\x04"], Then::Linger);
    let refused = Outcome::Refused;
    check(&[four], PATIENT, refused(Refusal::Connack(refusal(4)))).await;
    let five = Script(&[b"\x20\x02\x00\x05"], Then::Close);
    let of_the_key = Refusal::ConfirmConnack(refusal(5));
    check(&[ACTIVATES, five], PATIENT, refused(of_the_key)).await;
    let no_topic = Script(&[&CONNACK, b"\x90\x03\x00\x01\x80"], Then::Linger);
    check(&[no_topic], PATIENT, refused(Refusal::Subscribe)).await;
}

#[tokio::test]
async fn it_answers_another_device() {
    const FOREIGN: &[u8] = b"\x30\x4D\x00\x1Eprovision/a%2Bb000001/response\
        {\"apikey\":\"key\",\"feed_id\":7,\"datastreams\":[]}";
    let crossed = Script(&[&CONNACK, FOREIGN], Then::Linger);
    check(&[crossed], PATIENT, Outcome::ForeignAnswer).await;
}

#[tokio::test]
async fn it_speaks_something_else() {
    let step = |step| Outcome::Malformed(step);
    // As MQTT, "HT" begins a packet of 84 bytes more.
    const WEB: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
        Content-Length: 12\r\n\r\nBad Request\n";
    let web = Script(&[WEB], Then::Linger);
    check(&[web], PATIENT, step(Step::Connack)).await;
    let endless = Script(&[&CONNACK, b"\x30\xFF\xFF\xFF\xFF\x01"], Then::Linger);
    check(&[endless], PATIENT, step(Step::Answer)).await;
}
