//! What runs beside the connections: ending sessions that must end, and the
//! reports on `provisioning/fleet` and `provisioning/refusals`.

mod refusal_log;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firstwake::mailbox::Change;
use firstwake::topic::{Limits, TopicName};
use firstwake::{Counts, EventKind, Indexing, Lifecycle, NotAdmitted, Qos, RegistryError, Subject};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use self::refusal_log::RefusalLog;
use crate::broker::Broker;
use crate::bus::Message;
use crate::sessions::Owner;

/// Events read at once.
const PAGE: usize = 1024;
/// How often deadlines are looked at: so late may a silent peer be ended.
const SWEEP: Duration = Duration::from_millis(200);
/// How long values that came over MQTT wait to be written.
const WRITING: Duration = Duration::from_millis(750);
/// How often sessions that are over are looked for: they take up disk, and
/// nothing else.
const EXPIRY_ROUND: Duration = Duration::from_secs(10 * 60);

/// Ends sessions whose deadline is over. One sweep now and then, in place of
/// a timer for each of thousands.
pub(crate) async fn sweep(broker: Arc<Broker>) {
    let mut pause = interval(SWEEP);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let now = broker.clock.tick();
        broker.sessions.sweep(now);
        broker.bus.retained().sweep(broker.clock.cautious());
        for will in broker.wills.take_due(now) {
            broker.publish_will(will).await;
        }
    }
}

/// Writes the values that came over MQTT, again and again.
pub(crate) async fn write_values(broker: Arc<Broker>) {
    let mut pause = interval(WRITING);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = pause.tick() => {}
            () = broker.values.press() => {}
        }
        let now = broker.clock.now();
        broker.values.write(&broker.provisioner, now).await;
    }
}

/// Ends the sessions of devices that have stayed away for too long, now and
/// then. One whose device comes back first is ended there.
pub(crate) async fn expire(broker: Arc<Broker>) {
    let mut pause = interval(EXPIRY_ROUND);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        if let Err(error) = expire_round(&broker).await {
            tracing::warn!(%error, "sessions that are over could not be looked for");
        }
    }
}

async fn expire_round(broker: &Broker) -> Result<(), RegistryError> {
    let registry = broker.provisioner.registry();
    let mut after = None;
    loop {
        let page = registry.mailboxes(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(*last);
        let moment = broker.clock.cautious_moment();
        for (feed, mailbox) in page {
            if mailbox.is_over(moment) && !broker.sessions.has_device(feed) {
                registry
                    .change_mailbox(feed, Change::Expire { moment })
                    .await?;
            }
        }
    }
}

/// Renews the leases of devices that are connected: one that stays is not
/// away. A lease is looked after four times before it could run out.
pub(crate) async fn renew_leases(broker: Arc<Broker>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = broker.clock.now();
    loop {
        second.tick().await;
        let now = broker.clock.now();
        let Some(lease) = broker.provisioner.shortest_lease() else {
            continue;
        };
        if now.apart(last) < lease / 4 {
            continue;
        }
        last = now;
        for feed in broker.sessions.connected_devices() {
            match broker.provisioner.renew_lease(feed, now).await {
                // What is gone has no lease.
                Ok(()) | Err(NotAdmitted::Refused(_)) => {}
                Err(NotAdmitted::Unavailable(error)) => {
                    tracing::warn!(%error, "leases could not be renewed; trying again");
                    break;
                }
            }
        }
    }
}

/// Brings the index of codes up to products' secrets, a step at a time: what
/// activates meanwhile waits behind one step at most.
pub(crate) async fn index_codes(broker: Arc<Broker>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match broker
            .provisioner
            .index_codes(broker.clock.cautious())
            .await
        {
            Ok(Indexing::Goes) => continue,
            Ok(Indexing::Done) => {}
            Err(error) => {
                tracing::warn!(%error, "the index of codes could not be brought on; trying again");
            }
        }
        second.tick().await;
    }
}

/// Removes what has ended by itself. None of it held any more, but for
/// sessions that were opened with a token: those end here.
pub(crate) async fn drop_ended(broker: Arc<Broker>) {
    let mut minute = interval(Duration::from_secs(60));
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        minute.tick().await;
        let (provisioner, now) = (&broker.provisioner, broker.clock.cautious());
        for dropped in [
            provisioner.drop_ended_bans(now).await,
            provisioner.drop_expired_tokens(now).await,
            provisioner.forget_old_requests(now).await,
        ] {
            if let Err(error) = dropped {
                tracing::warn!(%error, "what has ended could not be removed");
            }
        }
    }
}

/// Follows the event log and has every session that an event concerns check
/// its admission again. So whoever writes the change, it bites here.
pub(crate) async fn enforce(broker: Arc<Broker>) {
    let registry = broker.provisioner.registry();
    let mut newest = registry.newest();
    let mut read = broker.provisioner.loaded_at();
    // What was read may be ahead of what was told: a batch is there first.
    let mut told = read;
    while newest
        .wait_for(|newest| *newest > read || *newest < told)
        .await
        .is_ok()
    {
        let before = std::mem::replace(&mut told, *newest.borrow());
        if told < before {
            // What was followed has not happened, and what is known of it is
            // wrong: a server that starts anew reads what there is.
            tracing::error!("the registry has gone back: the server ends, to be started again");
            return;
        }
        let page = match registry.events(read, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "the event log could not be read; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        for event in page {
            // What sessions are about to ask has to be known first.
            if let Err(error) = broker.provisioner.follow(&event).await {
                tracing::warn!(%error, "an event could not be followed; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                break;
            }
            read = event.seq;
            if let (Subject::Device { feed, .. }, EventKind::DeviceReset) =
                (&event.body.subject, &event.body.kind)
            {
                // A device that has activated anew by the time the will is due
                // has no part in it.
                drop(broker.wills.take(&Owner::Device(*feed)));
            }
            match (&event.body.subject, ends_sessions(&event.body.kind)) {
                (Subject::Device { feed, .. }, true) => {
                    broker.sessions.poke_device(*feed);
                    broker.peers.poke_device(*feed);
                }
                (Subject::Product(_), true) => {
                    broker.sessions.poke_devices();
                    broker.peers.poke_devices();
                }
                (Subject::Operator(name), true) => {
                    broker.sessions.poke_operator(name);
                    broker.peers.poke_operator(name);
                }
                (Subject::Source(network), true) => {
                    broker.sessions.end_from(*network);
                    broker.peers.end_from(*network);
                }
                _ => {}
            }
        }
    }
}

/// Whether a session might have to end after such an event.
fn ends_sessions(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::DeviceSuspended
            | EventKind::DeviceQuarantined
            | EventKind::DeviceRevoked
            | EventKind::DeviceReset
            | EventKind::DeviceRemoved
            | EventKind::DeviceRenamed { .. }
            | EventKind::KeyEnded { .. }
            | EventKind::OperatorAdded { .. }
            | EventKind::OperatorRemoved
            | EventKind::TokenRemoved { .. }
            | EventKind::ProductBlocked { .. }
            // It may take other proof from now on.
            | EventKind::ProductChanged
            | EventKind::SourceBanned { .. }
    )
}

/// Publishes what operators watch, at most once a second and only when it has
/// changed.
pub(crate) async fn report(broker: Arc<Broker>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Counts::default();
    let mut log = RefusalLog::default();
    let mut last = Value::Null;
    loop {
        second.tick().await;
        let now = broker.provisioner.counts();
        let rates = Counts {
            issued: now.issued - before.issued,
            confirmed: now.confirmed - before.confirmed,
            refused: now.refused - before.refused,
        };
        *broker.rates.lock().unwrap_or_else(PoisonError::into_inner) = rates;
        if let Ok(census) = broker.provisioner.registry().census().await {
            let counts: serde_json::Map<String, Value> = Lifecycle::ALL
                .into_iter()
                .map(|lifecycle| (lifecycle.to_string(), json!(census.of(lifecycle))))
                .collect();
            let fleet = json!({
                "devices": counts,
                "activations_per_second": rates.issued,
                "confirmations_per_second": rates.confirmed,
                "refusals_per_second": rates.refused,
            });
            if fleet != last {
                publish(&broker, "provisioning/fleet", &fleet, Retain::Latest).await;
                last = fleet;
            }
        }
        before = now;
        if let Err(error) = broker.provisioner.look_into_refusals().await {
            tracing::debug!(%error, "refused logins could not be looked into");
        }
        log.report(broker.provisioner.take_reasons());
        let tally = broker.provisioner.take_refusals();
        if !tally.refusals.is_empty() || !tally.near.is_empty() {
            let tally = json!(tally);
            publish(&broker, "provisioning/refusals", &tally, Retain::Nothing).await;
        }
    }
}

enum Retain {
    Latest,
    Nothing,
}

async fn publish(broker: &Broker, topic: &str, body: &Value, retain: Retain) {
    let Ok(topic) = TopicName::parse(topic, Limits::SERVICE) else {
        return;
    };
    let message = Message {
        qos: Qos::AtLeastOnce,
        retain: matches!(retain, Retain::Latest),
        ..Message::of_server(topic, body.to_string().into_bytes(), broker.clock.now())
    };
    // Without a router the server is about to stop.
    drop(broker.bus.publish(message).await);
}
