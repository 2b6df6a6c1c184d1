//! The half of the plugin that answers.
//!
//! It reads every `provision/<serial>/request` and publishes what the
//! provisioner answers on the same serial's response topic, nowhere else: not
//! where a request asks to be answered, and never retained. It decides nothing:
//! without an activation that the auth handler kept there is no key to give.

use std::sync::Arc;

use bytes::Bytes;
use firstwake::topic::{decode_level, device};
use firstwake::{Answer, NotIssued, ProvisionRequest, Serial};
use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish, PublishProperties};
use rumqttd::{Forward, Notification};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::{NOWHERE, Shared};

/// All requests there are.
const REQUESTS: &str = "provision/+/request";
/// Requests under way at once: their keys share a write to the disk.
const AT_ONCE: usize = 64;

/// The router has ended the responder's link, or ended itself. Nobody is
/// answered any more: the process should say so and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rumqttd's router has ended the responder's link")]
pub struct ResponderEnded;

/// Answers activations on a local link.
pub struct Responder {
    shared: Arc<Shared>,
    tx: LinkTx,
    rx: LinkRx,
}

impl Responder {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut tx: LinkTx,
        rx: LinkRx,
    ) -> Result<Self, ResponderEnded> {
        tx.subscribe(REQUESTS).map_err(|_| ResponderEnded)?;
        Ok(Self { shared, tx, rx })
    }

    /// Answers until the router ends. Runs on a tokio runtime; dropping the
    /// future stops it.
    pub async fn run(self) -> ResponderEnded {
        let Self { shared, tx, mut rx } = self;
        let (answers, waiting) = mpsc::channel(AT_ONCE);
        // The router may keep a link waiting for room: not on a thread that
        // other tasks need.
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(hand_over(tx, waiting)));
        let mut serving = JoinSet::new();
        loop {
            match rx.next().await {
                Ok(Some(Notification::Forward(forward))) => {
                    let Some(request) = Request::of(forward) else {
                        continue;
                    };
                    while let Some(served) = serving.try_join_next() {
                        note(served);
                    }
                    if serving.len() == AT_ONCE
                        && let Some(served) = serving.join_next().await
                    {
                        note(served);
                    }
                    let (shared, answers) = (Arc::clone(&shared), answers.clone());
                    serving.spawn(async move {
                        let answer = shared.answer(&request).await;
                        // Nobody is left to hand it to: the router has ended.
                        drop(answers.send(request.answered_with(&answer)).await);
                    });
                }
                // All that was asked for was read: ask for more.
                Ok(Some(Notification::Unschedule)) => {
                    if rx.wake().await.is_err() {
                        return ResponderEnded;
                    }
                }
                Ok(_) => {}
                Err(_) => return ResponderEnded,
            }
        }
    }
}

/// Publishes answers until there are none to come, or no router.
async fn hand_over(mut tx: LinkTx, mut waiting: mpsc::Receiver<Packet>) {
    while let Some(answer) = waiting.recv().await {
        if tx.send(answer).await.is_err() {
            return;
        }
    }
}

fn note(served: Result<(), JoinError>) {
    if let Err(error) = served {
        tracing::error!(%error, "a request was not answered");
    }
}

/// One request.
struct Request {
    serial: Serial,
    payload: Bytes,
    /// MQTT 5: comes back with the answer.
    correlation: Option<Bytes>,
}

impl Request {
    /// Reads one; `None` if its topic holds no serial.
    fn of(forward: Forward) -> Option<Self> {
        Some(Self {
            serial: serial_of(&forward.publish.topic)?,
            payload: forward.publish.payload,
            correlation: forward
                .properties
                .and_then(|properties| properties.correlation_data),
        })
    }

    fn answered_with(self, answer: &Answer) -> Packet {
        let topic = Bytes::from(device::response(&self.serial).as_str().to_owned());
        let payload = Bytes::copy_from_slice(answer.expose_bytes());
        let properties = self.correlation.map(|correlation| PublishProperties {
            correlation_data: Some(correlation),
            ..PublishProperties::default()
        });
        Packet::Publish(Publish::new(topic, payload, false), properties)
    }
}

fn serial_of(topic: &[u8]) -> Option<Serial> {
    let topic = std::str::from_utf8(topic).ok()?;
    let level = topic.strip_prefix("provision/")?.strip_suffix("/request")?;
    Serial::parse(&decode_level(level)?).ok()
}

impl Shared {
    async fn answer(&self, request: &Request) -> Answer {
        let asked = match ProvisionRequest::parse(&request.payload) {
            Ok(asked) => asked,
            Err(invalid) => return Answer::error("bad_request", &invalid.to_string()),
        };
        let Some(activation) = self.kept.find(&request.serial, self.clock.elapsed()) else {
            return Answer::error(
                "unavailable",
                "connect again with the activation code and ask within a minute",
            );
        };
        let mut activation = activation.lock().await;
        // Stock rumqttd ends no session: what happened to the device since it
        // connected is seen here or not at all.
        let still = self.provisioner.recheck_activation(&activation).await;
        if let Err(not) = still {
            return NotIssued::from(not).answer();
        }
        let now = self.clock.now();
        let issued = self
            .provisioner
            .issue(&mut activation, &asked, NOWHERE, now);
        issued.await.unwrap_or_else(|error| error.answer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_in_topics() {
        let check = |topic: &str, expected: Option<&str>| {
            let serial = serial_of(topic.as_bytes());
            assert_eq!(serial.as_ref().map(Serial::as_str), expected, "{topic}");
        };
        check("provision/0123456789/request", Some("0123456789"));
        check("provision/a%2Bb/request", Some("a+b"));
        for wrong in [
            "provision//request",
            "provision/request",
            "provision/a b/request",
            "provision/a/b/request",
            "provision/+/request",
            "provision/a/response",
            "provision/a%41/request",
            "x/provision/a/request",
        ] {
            check(wrong, None);
        }
        assert_eq!(serial_of(b"provision/\xff/request"), None);
    }
}
