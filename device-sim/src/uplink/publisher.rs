//! A device that is in, and publishes.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::connection::RawPacket;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Puback, Publish};
use mqtt_protocol_core::mqtt::packet::{PacketType, Qos};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use tokio::time::sleep_until;

use super::payload::Message;
use super::plan::UplinkQos;
use crate::device::{write, write_farewell};
use crate::outcome::{Mishap, Outcome, Step};
use crate::patience::Patience;
use crate::stream::Stream;
use crate::wire::{self, Buffers};

/// What is the same for every device.
pub(super) struct Terms {
    pub(super) run: u32,
    pub(super) begun: Instant,
    pub(super) messages: u16,
    pub(super) size: usize,
    pub(super) qos: UplinkQos,
    pub(super) timing: Timing,
    pub(super) step_deadline: Duration,
}

/// When a message is due.
pub(super) enum Timing {
    /// As soon as fewer than this many are unacknowledged.
    Window(NonZeroU16),
    /// The device's first after its place in the fleet, then one each round.
    Schedule {
        /// Between one device's message and the next device's.
        step: Duration,
        /// Between a device's own messages.
        round: Duration,
    },
}

/// What came of one device.
pub(super) struct Published {
    pub(super) outcome: Outcome,
    pub(super) sent: u16,
    /// When it had sent the last one, since the run began.
    pub(super) sent_by: Duration,
    /// When it had the last acknowledgement.
    pub(super) acknowledged_by: Duration,
    /// From the intended time of sending to the acknowledgement, one for each
    /// that came.
    pub(super) acknowledged: Vec<Duration>,
}

/// A device in the middle of its run.
pub(super) struct Publisher {
    terms: Arc<Terms>,
    device: u32,
    topic: String,
    stream: Stream,
    buffers: Buffers,
    patience: Patience,
    payload: Vec<u8>,
    /// Packet ids in the order of sending, with the times at which their
    /// messages were meant to be sent.
    unacknowledged: VecDeque<(u16, Duration)>,
    published: Published,
}

/// A device hears nothing but acknowledgements.
const HEARD: usize = 256;

/// Messages that go into one write, at most.
const BATCH: usize = 16;

impl Publisher {
    pub(super) fn new(terms: Arc<Terms>, device: u32, topic: String, stream: Stream) -> Self {
        Self {
            patience: Patience::new(terms.step_deadline),
            terms,
            device,
            topic,
            stream,
            buffers: Buffers::hearing(HEARD),
            payload: Vec::new(),
            unacknowledged: VecDeque::new(),
            published: Published {
                outcome: Outcome::Published,
                sent: 0,
                sent_by: Duration::ZERO,
                acknowledged_by: Duration::ZERO,
                acknowledged: Vec::new(),
            },
        }
    }

    /// Sends every message, and leaves.
    pub(super) async fn run(mut self) -> Published {
        if let Err(mishap) = self.publish_all().await {
            self.published.outcome = mishap.at(Step::Puback);
            return self.published;
        }
        write_farewell(&mut self.buffers.out);
        self.patience.renew();
        // It has done what it came for: that this does not arrive is no mishap.
        let _ = self.send().await;
        self.published
    }

    async fn publish_all(&mut self) -> Result<(), Mishap> {
        while self.published.sent < self.terms.messages || !self.unacknowledged.is_empty() {
            let sent = self.write_what_is_due()?;
            self.patience.renew();
            if sent > 0 {
                self.send().await?;
                self.published.sent += sent;
                self.published.sent_by = self.terms.begun.elapsed();
            }
            match self.terms.qos {
                UplinkQos::AtMostOnce => self.wait_for_time().await,
                UplinkQos::AtLeastOnce => self.wait_for_time_or_acknowledgement().await?,
            }
        }
        Ok(())
    }

    /// Writes what may be sent now, and returns how many messages that is.
    fn write_what_is_due(&mut self) -> Result<u16, Mishap> {
        let now = self.terms.begun.elapsed();
        let mut count = 0;
        while usize::from(count) < BATCH {
            let number = self.published.sent + count;
            let Some(intended) = self.due(number, now).filter(|due| *due <= now) else {
                break;
            };
            self.write_message(number, intended)?;
            count += 1;
        }
        Ok(count)
    }

    /// When a message is meant to be sent, which is `now` if nothing holds it
    /// back; `None` if an acknowledgement has to come first.
    fn due(&self, number: u16, now: Duration) -> Option<Duration> {
        if number >= self.terms.messages {
            return None;
        }
        match (&self.terms.timing, self.terms.qos) {
            (Timing::Window(_), UplinkQos::AtMostOnce) => Some(now),
            (Timing::Window(window), UplinkQos::AtLeastOnce) => {
                let room = self.unacknowledged.len() < usize::from(window.get());
                room.then_some(now)
            }
            (Timing::Schedule { step, round }, _) => {
                Some(*step * self.device + *round * u32::from(number))
            }
        }
    }

    fn write_message(&mut self, number: u16, intended: Duration) -> Result<(), Mishap> {
        let message = Message {
            run: self.terms.run,
            device: self.device,
            number: number.into(),
            intended_us: u64::try_from(intended.as_micros()).unwrap_or(u64::MAX),
        };
        message.write(self.terms.size, &mut self.payload);
        let id = match self.terms.qos {
            UplinkQos::AtMostOnce => None,
            UplinkQos::AtLeastOnce => {
                // There are fewer messages than packet ids.
                let id = number + 1;
                self.unacknowledged.push_back((id, intended));
                Some(id)
            }
        };
        write(
            &mut self.buffers.out,
            publish(&self.topic, id, &self.payload),
        )
    }

    async fn send(&mut self) -> Result<(), Mishap> {
        let sending = wire::send(&mut self.stream, &mut self.buffers);
        self.patience.bound(sending).await
    }

    async fn wait_for_time(&self) {
        match self.next_due() {
            Some(due) => sleep_until(due).await,
            // As fast as it goes, but not at the cost of the others.
            None => tokio::task::yield_now().await,
        }
    }

    async fn wait_for_time_or_acknowledgement(&mut self) -> Result<(), Mishap> {
        let next_due = self.next_due();
        if self.unacknowledged.is_empty() {
            self.wait_for_time().await;
            return Ok(());
        }
        let hearing = wire::next_packet(&mut self.stream, &mut self.buffers);
        let heard = self.patience.bound(async {
            match next_due {
                None => hearing.await.map(Some),
                Some(due) => tokio::select! {
                    packet = hearing => packet.map(Some),
                    () = sleep_until(due) => Ok(None),
                },
            }
        });
        let mut next = heard.await?;
        while let Some(packet) = next {
            self.acknowledge(&packet)?;
            next = self.buffers.cut_packet()?;
        }
        Ok(())
    }

    /// On a schedule, when the next message is due; it may be overdue.
    fn next_due(&self) -> Option<tokio::time::Instant> {
        match self.terms.timing {
            Timing::Window(_) => None,
            Timing::Schedule { .. } => {
                let due = self.due(self.published.sent, Duration::ZERO)?;
                Some((self.terms.begun + due).into())
            }
        }
    }

    /// MQTT 3.1.1, 4.6: acknowledgements come in the order of the messages.
    fn acknowledge(&mut self, packet: &RawPacket) -> Result<(), Mishap> {
        if packet.packet_type() != PacketType::Puback as u8 {
            return Err(Mishap::Malformed);
        }
        let puback = packet.parse_exact(Puback::parse);
        let id = puback.map_err(|_| Mishap::Malformed)?.packet_id();
        match self.unacknowledged.pop_front() {
            Some((expected, intended)) if expected == id => {
                let now = self.terms.begun.elapsed();
                self.published.acknowledged_by = now;
                let took = now.saturating_sub(intended);
                self.published.acknowledged.push(took);
                Ok(())
            }
            _ => Err(Mishap::Malformed),
        }
    }
}

fn publish(topic: &str, id: Option<u16>, payload: &[u8]) -> Result<Publish, MqttError> {
    let publish = Publish::builder().topic_name(topic)?.payload(payload);
    match id {
        None => publish.qos(Qos::AtMostOnce).build(),
        Some(id) => publish.qos(Qos::AtLeastOnce).packet_id(id).build(),
    }
}
