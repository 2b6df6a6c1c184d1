//! The one way for messages to devices, whoever sends: an operator's
//! session, the command line, and whatever else comes.
//!
//! The core puts what is to wait into the device's mailbox. A device that is
//! connected is woken, or handed what does not wait.

use std::sync::Arc;

use firstwake::clock::steady::Difference;
use firstwake::mailbox::{Capacity, Mail, Moment};
use firstwake::registry::Hint;
use firstwake::topic::device::{Downlink, DownlinkKind};
use firstwake::{Body, Counts, FeedId, NotPosted, Posted, Provisioner};

use crate::bus::Message;
use crate::sessions::Sessions;
use crate::values::Values;

/// Sends messages down to devices.
pub(crate) struct Dispatch<'a> {
    pub(crate) provisioner: &'a Provisioner,
    /// Nobody is connected where no server is running.
    pub(crate) sessions: Option<&'a Sessions>,
    /// Nor does any value wait there.
    pub(crate) values: Option<&'a Values>,
    pub(crate) capacity: Capacity,
    /// What happened in the last whole second.
    pub(crate) rates: Counts,
    pub(crate) moment: Moment,
    /// How far the machine's clock is from the server's time, if it has jumped.
    pub(crate) jump: Option<Difference>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It waits until the device has received it.
    Waits,
    /// It was handed to the device's session and waits nowhere else.
    Handed,
    /// It is a configuration, and told once the device asks for it.
    Kept,
    /// The device is not there and waits for nothing of this kind.
    NobodyThere,
}

impl Dispatch<'_> {
    /// Sends a message down to a device. Whoever asks has the right to.
    pub(crate) async fn send(
        &self,
        downlink: &Downlink,
        message: Message,
    ) -> Result<Sent, NotPosted> {
        let clears = downlink.kind() == DownlinkKind::Configuration && message.payload.is_empty();
        let body = Body {
            qos: message.qos,
            expires_at: message.expires_at(),
            content: (!clears).then(|| message.to_content()),
        };
        let posted = self
            .provisioner
            .post(downlink, body, self.capacity, self.moment)
            .await?;
        let feed = downlink.feed();
        if posted == Posted::Waits {
            self.tell_of_mail(feed);
            return Ok(Sent::Waits);
        }
        let handed = posted == Posted::ForWhoIsThere && self.hand(feed, message);
        Ok(match (handed, downlink.kind()) {
            (true, _) => Sent::Handed,
            (false, DownlinkKind::Configuration) => Sent::Kept,
            (false, DownlinkKind::Command) => Sent::NobodyThere,
        })
    }

    /// Wakes whoever reads a feed's values.
    pub(crate) fn tell_of_values(&self, feed: FeedId) {
        self.sessions
            .inspect(|sessions| sessions.tell_of_values(feed));
        self.provisioner.registry().tell(Hint::Values { feed });
    }

    fn tell_of_mail(&self, feed: FeedId) {
        self.sessions
            .inspect(|sessions| sessions.tell_of_mail(feed));
        self.provisioner.registry().tell(Hint::Mail { feed });
    }

    /// Hands over what waits nowhere: to the device's session here, or to
    /// whichever server has it.
    fn hand(&self, feed: FeedId, message: Message) -> bool {
        let registry = self.provisioner.registry();
        let here = self
            .sessions
            .is_some_and(|sessions| sessions.has_device(feed));
        if !here && registry.is_shared() {
            let mail = Mail {
                topic: message.topic.clone(),
                expires_at: message.expires_at(),
                retained: false,
                content: message.to_content(),
            };
            let fits = mail.content.len() <= Hint::CONTENT;
            if fits {
                registry.tell(Hint::Message { feed, mail });
            }
            return fits;
        }
        let message = Arc::new(message);
        self.sessions
            .is_some_and(|sessions| sessions.hand(feed, message))
    }
}
