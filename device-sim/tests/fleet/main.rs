//! Fleets that have their keys, and fleets over TLS, over real sockets.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod relay;
mod tls;
mod uplink;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use device_sim::callers::{Caller, Proof};
use device_sim::credentials::{self, CredentialsFile, Keyholder};
use device_sim::reconnect::{self, ReconnectPlan, ReconnectReport};
use device_sim::{
    Ask, Confirm, ConnackCode, Downlink, Hold, Outcome, Phase, Plan, Refusal, Report, Step,
    Transport, floor, storm,
};
use firstwake::{ProductSecret, Serial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) const DEADLINE: Duration = Plan::STEP_DEADLINE;

pub(crate) fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn in_flight() -> NonZeroUsize {
    NonZeroUsize::new(20).expect("not zero")
}

async fn floor_server() -> SocketAddr {
    let server = floor::Server::bind(any_port()).expect("a free port");
    let address = server.address();
    tokio::spawn(server.serve());
    address
}

pub(crate) async fn activate(broker: SocketAddr, devices: u32, transport: Transport) -> Report {
    let plan = Plan {
        broker,
        transport,
        secret: ProductSecret::parse(&"0".repeat(40)).expect("a secret"),
        serials: Serial::numbered("a+b", devices).expect("a prefix"),
        in_flight: in_flight(),
        ask: Ask::Subscribe,
        confirm: Confirm::ThenHold(Hold::For(Duration::from_millis(1))),
        step_deadline: DEADLINE,
    };
    storm::run(plan, Default::default())
        .await
        .expect("a sound plan")
}

/// A fleet as a file would bring it back.
pub(crate) fn keyholders(devices: u64) -> Vec<Keyholder> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys");
    let line = |id| format!("{{\"serial\":\"s{id}\",\"feed_id\":{id},\"apikey\":\"k{id}\"}}\n");
    std::fs::write(&path, (1..=devices).map(line).collect::<String>()).expect("written");
    credentials::load(&path).expect("well-formed")
}

fn plan(broker: SocketAddr, devices: Vec<Keyholder>, downlink: Downlink) -> ReconnectPlan {
    ReconnectPlan {
        broker,
        transport: Transport::Plain,
        devices: devices
            .into_iter()
            .map(|device| Caller::with_key(device, downlink))
            .collect(),
        proof: Proof::Key,
        in_flight: in_flight(),
        hold: None,
        step_deadline: DEADLINE,
    }
}

fn count(report: &ReconnectReport, phase: Phase) -> u64 {
    let phases = &report.result.phases_us;
    phases.get(&phase).map_or(0, |latency| latency.count)
}

#[tokio::test]
async fn what_a_storm_saves_can_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys");
    let file = CredentialsFile::create(path.clone()).expect("it is new");
    let broker = floor_server().await;
    let storm = activate(broker, 50, Transport::Plain).await;
    file.save(&storm.devices).expect("written");

    let devices = credentials::load(&path).expect("well-formed");
    let report = reconnect::run(plan(broker, devices, Downlink::Ignore)).await;
    let report = report.expect("a sound plan");
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(report.result.logged_in, 50);
    assert_eq!(count(&report, Phase::Connack), 50);
    assert_eq!(count(&report, Phase::Suback), 0);

    let text = format!(
        "{report} {}",
        device_sim::to_json(&report).expect("plain data")
    );
    for device in &storm.devices {
        let key = device.credentials.as_ref().expect("activated").key.expose();
        assert!(!text.contains(key));
    }
}

#[tokio::test]
async fn those_who_listen_wait_for_the_suback() {
    let fleet = plan(floor_server().await, keyholders(50), Downlink::Subscribe);
    let holding = ReconnectPlan {
        hold: Some(Hold::For(Duration::from_millis(1))),
        ..fleet
    };
    let report = reconnect::run(holding).await.expect("a sound plan");
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(count(&report, Phase::Suback), 50);
    let held = report.result.held.expect("sessions were held");
    assert_eq!((held.sessions, held.lost), (50, 0));
}

/// A broker that says this to each packet in turn, to one device, then closes.
async fn says(replies: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a device");
        for reply in replies {
            let mut header = [0; 2];
            stream.read_exact(&mut header).await.expect("a packet");
            let mut body = vec![0; header[1].into()];
            stream.read_exact(&mut body).await.expect("its body");
            stream.write_all(reply).await.expect("the device listens");
        }
    });
    address
}

#[tokio::test]
async fn each_way_to_fail_is_an_outcome() {
    async fn check(replies: &'static [&'static [u8]], expected: Outcome) {
        let broker = says(replies).await;
        let report = reconnect::run(plan(broker, keyholders(1), Downlink::Subscribe)).await;
        let outcomes = report.expect("a sound plan").result.outcomes;
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [(expected, 1)]);
    }
    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    let five = ConnackCode::new(5).expect("a refusal");
    check(
        &[&[0x20, 2, 0, 5]],
        Outcome::Refused(Refusal::Connack(five)),
    )
    .await;
    check(&[CONNACK], Outcome::Closed(Step::Suback)).await;
    check(&[CONNACK, &[0x90, 4, 0, 1, 1, 1]], Outcome::LoggedIn).await;
    const KEPT: &[u8] = b"\x30\x10\x00\x0Efeeds/1/config\x90\x04\x00\x01\x01\x01";
    check(&[CONNACK, KEPT], Outcome::LoggedIn).await;
    const ONE_OF_TWO: &[u8] = &[0x90, 4, 0, 1, 1, 0x80];
    check(&[CONNACK, ONE_OF_TWO], Outcome::Refused(Refusal::Subscribe)).await;
    check(
        &[CONNACK, &[0x90, 3, 0, 1, 1]],
        Outcome::Malformed(Step::Suback),
    )
    .await;
}
