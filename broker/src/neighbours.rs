//! The other servers on the same registry.
//!
//! A device may connect to any of them, and has one session among them all.
//! They tell each other in passing, and what is told here makes nothing right
//! that would be wrong without it: who gets in, and what waits for a device,
//! is in the registry. Where there is one server, nothing is told or heard.
//!
//! What is heard is another server's: hints are sealed and each is taken once
//! (`registry/hint`). A session that began elsewhere ends the earlier one here
//! on that server's word, because no row says yet who is the later: it is
//! written once the earlier one has let go.

use std::sync::Arc;

use firstwake::mailbox::Resume;
use firstwake::registry::Hint;
use firstwake::topic::device::Downlink;
use firstwake::{FeedId, Takeover, Timestamp};
use tokio::sync::broadcast::error::RecvError;

use crate::broker::Broker;
use crate::bus::Message;
use crate::mqtt::packet::Start;
use crate::sessions::{Origin, Owner, Yielded};

/// Tells the others that a device has begun a session here.
pub(crate) fn tell_of_session(broker: &Broker, feed: FeedId, origin: &Origin, start: Start) {
    broker.provisioner.registry().tell(Hint::Session {
        feed,
        began: origin.began.as_u64(),
        resume: match start {
            Start::Clean => Resume::No,
            Start::Resume => Resume::Yes,
        },
        peer: origin.into(),
    });
}

/// Does what the others' hints ask for.
pub(crate) async fn heed(broker: Arc<Broker>) {
    let Some(mut hints) = broker.provisioner.registry().hints() else {
        return std::future::pending().await;
    };
    loop {
        match hints.recv().await {
            Ok(hint) => heed_one(&broker, hint).await,
            Err(RecvError::Lagged(_)) => look_around(&broker),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn heed_one(broker: &Arc<Broker>, hint: Hint) {
    match hint {
        Hint::Session {
            feed,
            began,
            resume,
            peer,
        } => {
            let start = match resume {
                Resume::No => Start::Clean,
                Resume::Yes => Start::Resume,
            };
            match broker.sessions.yield_device(feed, began.into(), start) {
                Yielded::Place(origin) => {
                    let from = (&origin).into();
                    let takeover = Takeover { from, to: peer };
                    let noting = note_takeover(Arc::clone(broker), feed, takeover);
                    broker.tasks.spawn(noting);
                }
                Yielded::NotTo(origin) => {
                    return tell_of_session(broker, feed, &origin, Start::Resume);
                }
                Yielded::Nothing => {}
            }
            // Its will is not due any more, or is due now.
            let will = broker.wills.take(&Owner::Device(feed));
            if let (Some(will), Resume::No) = (will, resume) {
                broker.publish_will(will).await;
            }
        }
        Hint::Takeover { feed, takeover } => {
            let now = broker.clock.now();
            broker.provisioner.learn_of_takeover(feed, &takeover, now);
        }
        Hint::Mail { feed } => broker.sessions.tell_of_mail(feed),
        Hint::Values { feed } => broker.sessions.tell_of_values(feed),
        Hint::Message { feed, mail } => {
            // A device reads nothing but what is its own, whoever says so.
            let is_its_own = Downlink::of(&mail.topic).is_some_and(|it| it.feed() == feed);
            if let (true, Some(message)) = (is_its_own, Message::of_mail(&mail)) {
                broker.sessions.hand(feed, Arc::new(message));
            }
        }
        Hint::Missed => look_around(broker),
    }
}

async fn note_takeover(broker: Arc<Broker>, feed: FeedId, takeover: Takeover) {
    let now: Timestamp = broker.clock.now();
    let noted = broker.provisioner.note_takeover(feed, &takeover, now);
    if let Err(error) = noted.await {
        tracing::debug!(%error, "a takeover could not be noted");
    }
}

/// Somebody may have told something that was not heard: every session looks
/// for itself, and is told of again, so that the later of two stays.
fn look_around(broker: &Broker) {
    for (feed, origin) in broker.sessions.device_origins() {
        broker.sessions.tell_of_values(feed);
        tell_of_session(broker, feed, &origin, Start::Resume);
    }
}
