//! Messages down to a device.
//!
//! One way for all of them, whoever sends: what is to wait is in the device's
//! mailbox before the sender hears that it is.

use crate::event::EventKind;
use crate::identity::FeedId;
use crate::mailbox::{Capacity, Change, Mail, Moment, Outcome};
use crate::provision::Provisioner;
use crate::provision::door::tally::Folding;
use crate::qos::Qos;
use crate::refusal::Refusal;
use crate::registry::RegistryError;
use crate::topic::device::{Downlink, DownlinkKind};

/// A message for a device.
#[derive(Clone, Debug)]
pub struct Body {
    /// The quality it was published with.
    pub qos: Qos,
    /// The time from which on it is of no use.
    pub expires_at: Option<crate::clock::Timestamp>,
    /// The message itself, in the words of whoever reads it; `None` if it says
    /// nothing, which clears a configuration.
    pub content: Option<Vec<u8>>,
}

/// What became of a message to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It waits in the mailbox until the device has received it.
    Waits,
    /// Nothing waits: a device that is connected may read it now.
    ForWhoIsThere,
    /// The device has no session that subscribed to it.
    NobodyThere,
}

/// Why a message cannot be sent to a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPosted {
    /// No device has this feed.
    #[error("no device has the feed {0}")]
    Unknown(FeedId),
    /// The device is out for good.
    #[error("the device of feed {0} is revoked")]
    Revoked(FeedId),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Provisioner {
    /// Sends a message down to a device. Whoever asks has the right to.
    pub async fn post(
        &self,
        downlink: &Downlink,
        body: Body,
        capacity: Capacity,
        moment: Moment,
    ) -> Result<Posted, NotPosted> {
        let feed = downlink.feed();
        let device = self.registry.device(feed).await?;
        let device = device.ok_or(NotPosted::Unknown(feed))?;
        if device.put_aside() == Some(Refusal::Revoked) {
            return Err(NotPosted::Revoked(feed));
        }
        let mail = body.content.map(|content| Mail {
            topic: downlink.topic().clone(),
            expires_at: body.expires_at,
            retained: false,
            content,
        });
        let change = match (downlink.kind(), mail) {
            (DownlinkKind::Configuration, mail) => Change::Configure {
                mail,
                capacity,
                moment,
            },
            (DownlinkKind::Command, Some(mail)) if body.qos > Qos::AtMostOnce => Change::Post {
                mail,
                capacity,
                moment,
            },
            (DownlinkKind::Command, _) => {
                let mailbox = self.registry.mailbox(feed).await?;
                let reads = mailbox.is_some_and(|found| found.reads(downlink.topic(), moment));
                return Ok(match reads {
                    true => Posted::ForWhoIsThere,
                    false => Posted::NobodyThere,
                });
            }
        };
        match self.registry.change_mailbox(feed, change).await? {
            Outcome::Posted { dropped } => {
                self.report_dropped(&device, dropped, moment).await;
                Ok(Posted::Waits)
            }
            Outcome::NobodyThere => Ok(Posted::NobodyThere),
            Outcome::Fleeting => Ok(Posted::ForWhoIsThere),
            // So does a configuration that says nothing.
            _ => Ok(Posted::ForWhoIsThere),
        }
    }

    /// Writes down, folded, that messages were lost to an operator.
    async fn report_dropped(&self, device: &crate::Device, dropped: usize, moment: Moment) {
        for _ in 0..dropped {
            if let Some(count) = self.folded.due(Folding::Mail(device.feed), moment.at) {
                let kind = EventKind::MailDropped { count };
                self.note(device.event(kind, moment.at)).await;
            }
        }
    }
}
