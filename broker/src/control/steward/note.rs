//! A message down to a device, as a command sends it.

use firstwake::topic::device::Downlink;
use firstwake::{FeedId, Qos};

use crate::bus::Message;
use crate::control::declined::{Because, Declined};
use crate::control::request::{Note, Wanted};
use crate::downlink::{Dispatch, Sent};
use crate::mqtt::packet::Properties;

pub(super) async fn send(
    feed: FeedId,
    note: Note,
    dispatch: &Dispatch<'_>,
) -> Result<Wanted, Declined> {
    let (downlink, payload, qos, expiry) = match note {
        Note::Command {
            name,
            payload,
            qos,
            expiry,
        } => {
            let downlink = Downlink::command(feed, &name).map_err(|_| {
                Because::Invalid
                    .told("a command's name is one level of a topic: no / + #, not empty")
            })?;
            (downlink, payload, qos, expiry)
        }
        Note::Configuration { payload } => {
            let downlink = Downlink::configuration(feed);
            (downlink, payload, Qos::AtLeastOnce, None)
        }
    };
    let message = Message {
        qos,
        properties: Properties {
            message_expiry: expiry,
            ..Properties::default()
        },
        ..Message::of_server(downlink.topic().clone(), payload, dispatch.moment.at)
    };
    let sent = dispatch.send(&downlink, message).await?;
    Ok(match sent {
        Sent::Waits => Wanted::Waits,
        Sent::Handed => Wanted::Handed,
        Sent::Kept => Wanted::Kept,
        Sent::NobodyThere => Wanted::Nobody,
    })
}
