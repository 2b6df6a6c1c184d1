//! What a device that is in asks the server: who it is taken for, its product's
//! pepper, a licence.
//!
//! An answer is for the connection that asked. It goes at QoS 0, the quality at
//! which nothing waits: it is in no mailbox, so no later connection could send
//! it again. What is asked too fast is told so and costs nothing: neither a
//! signature nor a write.

use firstwake::Answer;

use super::DeviceSession;
use crate::broker::Broker;
use crate::mqtt::packet::{Publish, Qos, Verdict};
use crate::session::Departure;
use crate::session::asked::{Asked, Topics};
use crate::wire::Stream;

/// What a session keeps of its device's questions, once there was one.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// One that came before the subscription.
    waiting: Option<Asked>,
}

impl<S: Stream> DeviceSession<S> {
    /// Whether a message is meant for the server, and not for those who read
    /// what the device measures.
    pub(super) fn is_asked(publish: &Publish) -> bool {
        let topic = publish.topic.as_ref();
        topic.is_ok_and(|topic| topic.as_str().starts_with("provision/"))
    }

    /// Answers a request, or keeps it until the device subscribes to the
    /// answer. One is kept; of others, the device is told no as of anything
    /// that is too many.
    pub(super) async fn take_request(
        &mut self,
        publish: Publish,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let topics = Topics::of(self.login.serial());
        let verdict = topics.judge(&publish);
        if verdict != Verdict::Accepted {
            self.wire.machine.acknowledge(publish.receipt, verdict);
            return self.forbid(broker);
        }
        let hears = self.hears(&topics);
        let asking = self.asking.get_or_insert_default();
        if !hears && asking.waiting.is_some() {
            let told = self.wire.machine.can_refuse(publish.receipt);
            let quota = Verdict::QuotaExceeded;
            self.wire.machine.acknowledge(publish.receipt, quota);
            return if told { Ok(()) } else { self.forbid(broker) };
        }
        let (asked, receipt) = Asked::read(publish);
        self.wire.machine.acknowledge(receipt, Verdict::Accepted);
        if hears {
            return self.answer(asked, &topics, broker).await;
        }
        asking.waiting = Some(asked);
        Ok(())
    }

    /// Answers what has waited for the subscription.
    pub(super) async fn answer_waiting(&mut self, broker: &Broker) -> Result<(), Departure> {
        if self.asking.as_ref().is_none_or(|it| it.waiting.is_none()) {
            return Ok(());
        }
        let topics = Topics::of(self.login.serial());
        if !self.hears(&topics) {
            return Ok(());
        }
        match self.asking.as_mut().and_then(|it| it.waiting.take()) {
            Some(asked) => self.answer(asked, &topics, broker).await,
            None => Ok(()),
        }
    }

    /// Whether the device has subscribed to its answers.
    fn hears(&self, topics: &Topics) -> bool {
        let held = self.hold.as_ref();
        let mut held = held.into_iter().flat_map(|hold| hold.subscriptions());
        held.any(|held| held.filter.as_str() == topics.response.as_str())
    }

    async fn answer(
        &mut self,
        asked: Asked,
        topics: &Topics,
        broker: &Broker,
    ) -> Result<(), Departure> {
        let feed = self.login.feed();
        let in_time = broker.paces.ask(feed, broker.clock).is_ok();
        let answer = match &asked.request {
            Ok(_) if !in_time => Answer::error(
                "too_many",
                "one request a second is carried out: wait, and ask again",
            ),
            Ok(request) => {
                let provisioner = &broker.provisioner;
                let answer = provisioner.answer(&self.login, request, broker.clock.now());
                answer.await.unwrap_or_else(|not| not.answer())
            }
            Err(invalid) => Answer::error("bad_request", &invalid.to_string()),
        };
        asked.answer(&answer, topics, Qos::AtMostOnce, &mut self.wire.machine)
    }
}
