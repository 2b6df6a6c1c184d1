//! Fleets that publish, and what is said of a broker that loses a message.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use device_sim::uplink::{
    self, MessagesPerDevice, Pace, PayloadSize, Topics, UplinkError, UplinkPlan, UplinkQos,
    UplinkReport,
};
use device_sim::{Outcome, ServiceLogin, Shortfall, Step, Transport};

use super::relay::{Manners, relay};
use super::{DEADLINE, any_port, in_flight, keyholders};

const DEVICES: u64 = 30;
const MESSAGES: u16 = 20;
const ALL: u64 = DEVICES * MESSAGES as u64;

async fn plan(manners: Manners, qos: UplinkQos) -> UplinkPlan {
    UplinkPlan {
        broker: relay(manners).await,
        transport: Transport::Plain,
        devices: keyholders(DEVICES),
        in_flight: in_flight(),
        operator: ServiceLogin {
            username: "o".to_owned(),
            password: "p".to_owned().into(),
        },
        topics: Topics {
            prefix: "feeds".to_owned(),
            datastream: "t".to_owned(),
        },
        messages: MessagesPerDevice::new(MESSAGES).expect("some"),
        size: PayloadSize::new(64).expect("large enough"),
        qos,
        pace: Pace::Window(NonZeroU16::new(4).expect("not zero")),
        patience: Duration::from_millis(200),
        step_deadline: DEADLINE,
    }
}

async fn run(plan: UplinkPlan) -> UplinkReport {
    uplink::run(plan).await.expect("a sound plan")
}

#[tokio::test]
async fn every_message_arrives_at_qos_1() {
    let report = run(plan(Manners::Faithful, UplinkQos::AtLeastOnce).await).await;
    let result = &report.result;
    assert_eq!(report.verdict(), Ok(()));
    let counts = [&result.sent, &result.acknowledged, &result.delivered];
    assert_eq!(counts.map(|rate| rate.messages), [ALL; 3]);
    let seen = [result.acknowledge_us, result.deliver_us];
    assert_eq!(seen.map(|latency| latency.expect("some").count), [ALL; 2]);
    assert!(result.operator_stayed);
}

#[tokio::test]
async fn nothing_is_acknowledged_at_qos_0() {
    let report = run(plan(Manners::Faithful, UplinkQos::AtMostOnce).await).await;
    let result = &report.result;
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(
        (result.sent.messages, result.delivered.messages),
        (ALL, ALL)
    );
    assert_eq!(result.acknowledged.messages, 0);
    assert_eq!(result.acknowledge_us, None);
}

#[tokio::test]
async fn a_schedule_is_kept() {
    let closed = plan(Manners::Faithful, UplinkQos::AtLeastOnce).await;
    let rate = NonZeroU32::new(3_000).expect("not zero");
    let report = run(UplinkPlan {
        pace: Pace::PerSecond(rate),
        ..closed
    })
    .await;
    assert_eq!(report.verdict(), Ok(()));
    // The last of 600 is due after 599/3000 s.
    assert!(report.result.sent.elapsed_us >= 199_000, "{report}");
}

#[tokio::test]
async fn what_goes_wrong_is_counted() {
    async fn check(manners: Manners, lost: u64, duplicates: u64) {
        let report = run(plan(manners, UplinkQos::AtLeastOnce).await).await;
        let verdict = report.verdict();
        let expected = Shortfall::Messages {
            sent: ALL,
            lost,
            duplicates,
            foreign: 0,
        };
        assert_eq!(verdict, Err(expected));
    }
    check(Manners::LosesOne, 1, 0).await;
    check(Manners::RepeatsOne, 0, 1).await;
}

#[tokio::test]
async fn a_device_does_not_wait_for_ever() {
    let patient = plan(Manners::NeverAcknowledges, UplinkQos::AtLeastOnce).await;
    let report = run(UplinkPlan {
        step_deadline: Duration::from_millis(100),
        ..patient
    })
    .await;
    let outcomes: Vec<_> = report.result.outcomes.into_iter().collect();
    assert_eq!(outcomes, [(Outcome::TimedOut(Step::Puback), DEVICES)]);
    assert_eq!(report.result.sent.messages, DEVICES * 4, "the window");
}

#[tokio::test]
async fn nobody_publishes_when_nobody_counts() {
    let alone = UplinkPlan {
        broker: any_port(),
        ..plan(Manners::Faithful, UplinkQos::AtMostOnce).await
    };
    let refusal = uplink::run(alone).await;
    assert!(matches!(refusal, Err(UplinkError::Operator { .. })));
}
