//! Storms over real sockets: against the floor, which behaves, and against
//! scripted brokers, which do not.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod misbehaviour;
mod scripted;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use device_sim::{
    Ask, Confirm, Counts, Hold, HoldSummary, Outcome, Phase, Plan, PlanError, Progress, Report,
    Stage, Step, Transport, floor, storm,
};
use firstwake::{ProductSecret, Serial};
use tokio::sync::oneshot;

use scripted::{ANSWER, CONNACK, Script, Then, scripted};

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn plan(broker: SocketAddr, devices: u32, confirm: Confirm) -> Plan {
    Plan {
        broker,
        transport: Transport::Plain,
        secret: ProductSecret::parse(&"0".repeat(40)).expect("a secret"),
        serials: Serial::numbered("a+b", devices).expect("a prefix"),
        in_flight: NonZeroUsize::new(20).expect("not zero"),
        ask: Ask::Subscribe,
        confirm,
        step_deadline: Plan::STEP_DEADLINE,
    }
}

async fn run(plan: Plan) -> Report {
    let progress = Arc::new(Progress::default());
    storm::run(plan, progress).await.expect("a sound plan")
}

async fn floor_server() -> SocketAddr {
    let server = floor::Server::bind(any_port()).expect("a free port");
    let address = server.address();
    tokio::spawn(server.serve());
    address
}

#[tokio::test]
async fn a_fleet_activates_and_confirms() {
    let plan = plan(floor_server().await, 200, Confirm::ThenClose);
    let serials = plan.serials.clone();
    let progress = Arc::new(Progress::default());
    let report = storm::run(plan, progress.clone()).await;
    let report = report.expect("a sound plan");

    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(report.devices.len(), serials.len());
    for (device, serial) in report.devices.iter().zip(&serials) {
        assert_eq!(&device.serial, serial);
        assert_eq!(device.outcome, Outcome::Confirmed, "{serial}");
        assert!(device.credentials.is_some(), "{serial}");
    }
    let counts = |phase| {
        let phases = &report.result.phases_us;
        phases.get(&phase).map_or(0, |latency| latency.count)
    };
    assert_eq!(
        Phase::ALL.map(counts),
        [200, 0, 200, 200, 200, 200, 0, 0],
        "no TLS, and nobody came with a key"
    );
    let all = Counts {
        activated: 200,
        confirmed: 200,
        refused: 0,
        failed: 0,
        done: 200,
    };
    assert_eq!(progress.counts(), all);
    assert_eq!(*progress.stage().borrow(), Stage::Over);
}

#[tokio::test]
async fn activation_alone_is_measured_alone() {
    let report = run(plan(floor_server().await, 50, Confirm::Skip)).await;
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!((report.result.activated, report.result.confirmed), (50, 0));
    assert!(report.histogram(Phase::Answer).is_some());
    assert!(report.histogram(Phase::Confirm).is_none());
}

#[tokio::test]
async fn those_who_also_request_need_one_answer() {
    let broker = floor_server().await;
    let requesting = Plan {
        ask: Ask::SubscribeAndRequest,
        ..plan(broker, 50, Confirm::ThenClose)
    };
    assert_eq!(run(requesting).await.verdict(), Ok(()));
}

#[tokio::test]
async fn a_fleet_activates_over_http() {
    let server = floor::Server::bind(any_port()).expect("a free port");
    let address = server.address();
    tokio::spawn(server.speaking(floor::Speaks::Http).serve());
    let asking = |confirm| Plan {
        ask: Ask::Http,
        ..plan(address, 200, confirm)
    };
    let report = run(asking(Confirm::Skip)).await;
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(report.result.activated, 200);
    let counts = |phase| {
        let phases = &report.result.phases_us;
        phases.get(&phase).map_or(0, |latency| latency.count)
    };
    assert_eq!(
        Phase::ALL.map(counts),
        [200, 0, 0, 200, 200, 0, 0, 0],
        "nobody waits for a CONNACK"
    );

    let refusal = storm::run(asking(Confirm::ThenClose), Arc::default()).await;
    assert!(matches!(refusal, Err(PlanError::ConfirmOverHttp)));
}

#[tokio::test]
async fn a_broker_has_no_answer_over_http() {
    let mqtt = Plan {
        ask: Ask::Http,
        step_deadline: Duration::from_millis(100),
        ..plan(floor_server().await, 1, Confirm::Skip)
    };
    let outcome = run(mqtt).await.devices[0].outcome;
    assert_eq!(outcome, Outcome::TimedOut(Step::Answer));
}

#[tokio::test]
async fn sessions_are_held_until_they_are_released() {
    let (release, released) = oneshot::channel();
    let confirm = Confirm::ThenHold(Hold::Until(released));
    let plan = plan(floor_server().await, 50, confirm);
    let progress = Arc::new(Progress::default());
    let running = tokio::spawn(storm::run(plan, progress.clone()));

    let mut stage = progress.stage();
    let holding = stage.wait_for(|stage| *stage == Stage::Holding).await;
    drop(holding.expect("the storm is under way"));
    assert_eq!(progress.counts().confirmed, 50);

    release.send(()).expect("the storm waits");
    let report = running.await.expect("no panic").expect("a sound plan");
    let held = report.result.held.expect("sessions were held");
    assert_eq!((held.sessions, held.lost), (50, 0));
    assert_eq!(report.plan.hold, HoldSummary::UntilReleased);
}

#[tokio::test]
async fn sessions_that_the_broker_ends_are_lost() {
    let activates = Script(&[&CONNACK, ANSWER], Then::Linger);
    let leaves = Script(&[&CONNACK], Then::Close);
    let (broker, sessions) = scripted(vec![activates, leaves]).await;
    let (release, released) = oneshot::channel();
    let confirm = Confirm::ThenHold(Hold::Until(released));
    let running = tokio::spawn(run(plan(broker, 1, confirm)));

    sessions.await.expect("the script is played");
    release.send(()).expect("the storm waits");
    let held = running.await.expect("no panic").result.held;
    let held = held.expect("a session was held");
    assert_eq!((held.sessions, held.lost), (1, 1));
}

#[tokio::test]
async fn a_fleet_needs_devices() {
    let nobody = plan(any_port(), 0, Confirm::Skip);
    let refusal = storm::run(nobody, Arc::default()).await;
    assert!(matches!(refusal, Err(PlanError::NoDevices)));
}
