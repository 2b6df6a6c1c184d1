//! One slot of the storm: takes a device through its story, then the next.
//!
//! Holds what devices in the same slot share, which is buffers and a timer and
//! nothing that one device could learn about another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use firstwake::{ActivationCode, ProductSecret, Serial};
use mqtt_protocol_core::mqtt::connection::RawPacket;
use tokio::net::TcpStream;

use crate::answer::{Credentials, IssuedKey};
use crate::device::{Activation, Confirmation, Turn, write_farewell};
use crate::outcome::{Mishap, Outcome, Step};
use crate::patience::Patience;
use crate::plan::Ask;
use crate::progress::Progress;
use crate::record::{DeviceResult, Phase, Timings};
use crate::source::Sources;
use crate::wire::{self, Buffers};

use super::hold::HeldSession;

/// What is the same for every device.
pub(super) struct Terms {
    pub(super) broker: SocketAddr,
    pub(super) sources: Sources,
    pub(super) ask: Ask,
    /// `None`: devices do not confirm.
    pub(super) after_confirm: Option<AfterConfirm>,
    pub(super) step_deadline: Duration,
}

#[derive(Clone, Copy)]
pub(super) enum AfterConfirm {
    Close,
    Hold,
}

pub(super) struct Slot<'a> {
    terms: &'a Terms,
    progress: &'a Progress,
    buffers: Buffers,
    patience: Patience,
}

impl<'a> Slot<'a> {
    pub(super) fn new(terms: &'a Terms, progress: &'a Progress) -> Self {
        Self {
            terms,
            progress,
            buffers: Buffers::new(),
            patience: Patience::new(terms.step_deadline),
        }
    }

    /// A device's whole story, and its session if that is to be held.
    pub(super) async fn live(
        &mut self,
        secret: &ProductSecret,
        serial: &Serial,
    ) -> (DeviceResult, Option<HeldSession>) {
        let mut device = DeviceResult {
            serial: serial.clone(),
            outcome: Outcome::Activated,
            credentials: None,
            timings: Timings::default(),
        };
        let code = ActivationCode::compute(secret, serial);
        let session = match self.story(&mut device, &code).await {
            Ok(session) => session,
            Err(outcome) => {
                device.outcome = outcome;
                None
            }
        };
        self.progress.device_done(device.outcome);
        (device, session)
    }

    async fn story(
        &mut self,
        device: &mut DeviceResult,
        code: &ActivationCode,
    ) -> Result<Option<HeldSession>, Outcome> {
        let timings = &mut device.timings;
        let credentials = self.activate(&device.serial, code, timings).await?;
        let credentials = device.credentials.insert(credentials);
        self.progress.device_activated();

        let Some(after_confirm) = self.terms.after_confirm else {
            return Ok(None);
        };
        let confirmed = self
            .confirm(&device.serial, &credentials.key, timings)
            .await;
        let mut stream = confirmed?;
        device.outcome = Outcome::Confirmed;
        match after_confirm {
            AfterConfirm::Hold => Ok(HeldSession::new(stream)),
            AfterConfirm::Close => {
                write_farewell(&mut self.buffers.out);
                self.leave(&mut stream).await;
                Ok(None)
            }
        }
    }

    async fn activate(
        &mut self,
        serial: &Serial,
        code: &ActivationCode,
        timings: &mut Timings,
    ) -> Result<Credentials, Outcome> {
        let begun = Instant::now();
        let mut stream = self.connect(Step::Connect).await?;
        let connected = Instant::now();
        timings.set(Phase::Connect, connected - begun);

        let mut step = Step::Connack;
        let mut step_begun = connected;
        self.patience.renew();
        let mut activation = Activation::begin(serial, code, self.terms.ask, &mut self.buffers.out)
            .map_err(|mishap| mishap.at(step))?;
        loop {
            let turn = match self.exchange(&mut stream).await {
                Ok(packet) => activation.hear(packet, &mut self.buffers.out),
                Err(mishap) => Err(mishap),
            };
            match turn.map_err(|mishap| mishap.at(step))? {
                Turn::Waiting(next) => activation = next,
                Turn::Connected(next) => {
                    let now = Instant::now();
                    timings.set(Phase::Connack, now - step_begun);
                    (step, step_begun) = (Step::Answer, now);
                    self.patience.renew();
                    activation = next;
                }
                Turn::Answered(credentials) => {
                    let now = Instant::now();
                    timings.set(Phase::Answer, now - step_begun);
                    timings.set(Phase::Activation, now - begun);
                    self.leave(&mut stream).await;
                    return Ok(credentials);
                }
            }
        }
    }

    async fn confirm(
        &mut self,
        serial: &Serial,
        key: &IssuedKey,
        timings: &mut Timings,
    ) -> Result<TcpStream, Outcome> {
        let begun = Instant::now();
        let mut stream = self.connect(Step::ConfirmConnect).await?;
        self.patience.renew();
        let confirmed = match Confirmation::begin(serial, key, &mut self.buffers.out) {
            Ok(confirmation) => match self.exchange(&mut stream).await {
                Ok(packet) => confirmation.hear(&packet),
                Err(mishap) => Err(mishap),
            },
            Err(mishap) => Err(mishap),
        };
        confirmed.map_err(|mishap| mishap.at(Step::ConfirmConnack))?;
        timings.set(Phase::Confirm, begun.elapsed());
        Ok(stream)
    }

    async fn connect(&mut self, step: Step) -> Result<TcpStream, Outcome> {
        self.buffers.clear();
        self.patience.renew();
        let connecting = wire::connect(self.terms.broker, self.terms.sources.next());
        let connected = self.patience.bound(connecting).await;
        connected.map_err(|mishap| mishap.at(step))
    }

    /// Sends what there is to say, then waits for a packet.
    async fn exchange(&mut self, stream: &mut TcpStream) -> Result<RawPacket, Mishap> {
        let buffers = &mut self.buffers;
        self.patience
            .bound(async {
                wire::send(stream, buffers).await?;
                wire::next_packet(stream, buffers).await
            })
            .await
    }

    /// Sends the last words before the stream is dropped. The device has all
    /// it came for, so that they do not arrive is no mishap of its own.
    async fn leave(&mut self, stream: &mut TcpStream) {
        let last_words = wire::send(stream, &mut self.buffers);
        let _ = self.patience.bound(last_words).await;
    }
}
