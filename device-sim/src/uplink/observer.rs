//! The operator at the other end: hears the fleet and counts.

use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::connection::{PacketData, RawPacket};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Pingreq, Puback, Publish};
use mqtt_protocol_core::mqtt::packet::{PacketType, Qos};
use tokio::sync::oneshot;
use tokio::time::interval;

use super::tally::Tally;
use crate::device::{append, write};
use crate::outcome::Mishap;
use crate::service::{PING_EVERY, Service};
use crate::wire;

/// How the counting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Every message is there, or nothing came for long enough.
    Out,
    /// The broker closed, or said what is not MQTT.
    CutOff,
}

/// Counts until every message is there; or, once `sent` tells that no more
/// will be sent, until nothing has come for as long as `patience`.
pub(super) async fn observe(
    mut service: Service,
    mut tally: Tally,
    begun: Instant,
    mut sent: oneshot::Receiver<()>,
    patience: Duration,
) -> (Tally, Heard) {
    let mut ping = interval(PING_EVERY);
    let mut quiet = interval(patience);
    let mut all_sent = false;
    let mut counted = 0;
    while !tally.is_complete() {
        tokio::select! {
            heard = count_what_came(&mut service, &mut tally, begun) => {
                if heard.is_err() {
                    return (tally, Heard::CutOff);
                }
            }
            // A dropped sender has nothing more to send either.
            _ = &mut sent, if !all_sent => {
                all_sent = true;
                quiet.reset();
                counted = tally.delivered;
            }
            _ = quiet.tick(), if all_sent => {
                if tally.delivered == counted {
                    break;
                }
                counted = tally.delivered;
            }
            _ = ping.tick() => append(&mut service.buffers.out, &Pingreq::new()),
        }
    }
    (tally, Heard::Out)
}

/// Sends what there is to say and waits for a packet; counts it, and all that
/// came along. Dropped half-way it loses nothing: what is not sent stays to be
/// sent, and what is heard stays in the buffers.
async fn count_what_came(
    service: &mut Service,
    tally: &mut Tally,
    begun: Instant,
) -> Result<(), Mishap> {
    let Service { stream, buffers } = service;
    wire::send_some(stream, buffers).await?;
    let mut next = Some(wire::next_packet(stream, buffers).await?);
    let now = begun.elapsed();
    while let Some(packet) = next {
        count(packet, tally, now, &mut buffers.out)?;
        next = buffers.cut_packet()?;
    }
    Ok(())
}

fn count(
    packet: RawPacket,
    tally: &mut Tally,
    now: Duration,
    out: &mut Vec<u8>,
) -> Result<(), Mishap> {
    if packet.packet_type() != PacketType::Publish as u8 {
        return Ok(());
    }
    let flags = packet.flags();
    let PacketData::Publish(body) = packet.data else {
        return Ok(());
    };
    let (publish, _) = Publish::parse(flags, body).map_err(|_| Mishap::Malformed)?;
    tally.count(publish.topic_name(), publish.payload().as_slice(), now);
    match (publish.qos(), publish.packet_id()) {
        (Qos::AtLeastOnce, Some(id)) => write(out, Puback::builder().packet_id(id).build()),
        _ => Ok(()),
    }
}
