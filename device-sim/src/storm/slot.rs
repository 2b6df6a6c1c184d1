//! One slot of the storm: takes a device through its story, then the next.

use std::time::{Duration, Instant};

use firstwake::{ActivationCode, ProductSecret, Serial};

use crate::answer::{Credentials, IssuedKey};
use crate::device::{Activation, Confirmation, Turn, write_farewell};
use crate::hold::HeldSession;
use crate::http;
use crate::line::Line;
use crate::outcome::{Outcome, Step};
use crate::plan::Ask;
use crate::progress::Progress;
use crate::record::{DeviceResult, Phase, Timings};
use crate::route::Route;
use crate::stream::Stream;

/// What is the same for every device.
pub(super) struct Terms {
    pub(super) route: Route,
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
    line: Line<'a>,
}

impl<'a> Slot<'a> {
    pub(super) fn new(terms: &'a Terms, progress: &'a Progress) -> Self {
        Self {
            terms,
            progress,
            line: Line::new(&terms.route, terms.step_deadline),
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
        let credentials = match self.terms.ask {
            Ask::Http => self.ask_over_http(code, timings).await?,
            Ask::Subscribe | Ask::SubscribeAndRequest => {
                self.activate(&device.serial, code, timings).await?
            }
        };
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
                write_farewell(&mut self.line.buffers.out);
                self.line.leave(&mut stream).await;
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
        let opened = self.line.open().await;
        let opened = opened.map_err(|mishap| mishap.at(Step::Connect))?;
        timings.opened(&opened);
        let mut stream = opened.stream;

        let mut step = Step::Connack;
        let mut step_begun = Instant::now();
        self.line.begin_step();
        let out = &mut self.line.buffers.out;
        let mut activation = Activation::begin(serial, code, self.terms.ask, out)
            .map_err(|mishap| mishap.at(step))?;
        loop {
            let turn = match self.line.exchange(&mut stream).await {
                Ok(packet) => activation.hear(packet, &mut self.line.buffers.out),
                Err(mishap) => Err(mishap),
            };
            match turn.map_err(|mishap| mishap.at(step))? {
                Turn::Waiting(next) => activation = next,
                Turn::Connected(next) => {
                    let now = Instant::now();
                    timings.set(Phase::Connack, now - step_begun);
                    (step, step_begun) = (Step::Answer, now);
                    self.line.begin_step();
                    activation = next;
                }
                Turn::Answered(credentials) => {
                    let now = Instant::now();
                    timings.set(Phase::Answer, now - step_begun);
                    timings.set(Phase::Activation, now - begun);
                    self.line.leave(&mut stream).await;
                    return Ok(credentials);
                }
            }
        }
    }

    async fn ask_over_http(
        &mut self,
        code: &ActivationCode,
        timings: &mut Timings,
    ) -> Result<Credentials, Outcome> {
        let begun = Instant::now();
        let opened = self.line.open().await;
        let opened = opened.map_err(|mishap| mishap.at(Step::Connect))?;
        timings.opened(&opened);
        let mut stream = opened.stream;

        let asked = Instant::now();
        self.line.begin_step();
        http::ask(code, self.terms.route.broker(), &mut self.line.buffers.out);
        let credentials = self.line.ask(&mut stream, http::hear).await;
        let credentials = credentials.map_err(|mishap| mishap.at(Step::Answer))?;
        let now = Instant::now();
        timings.set(Phase::Answer, now - asked);
        timings.set(Phase::Activation, now - begun);
        self.line.leave(&mut stream).await;
        Ok(credentials)
    }

    async fn confirm(
        &mut self,
        serial: &Serial,
        key: &IssuedKey,
        timings: &mut Timings,
    ) -> Result<Stream, Outcome> {
        let begun = Instant::now();
        let opened = self.line.open().await;
        let opened = opened.map_err(|mishap| mishap.at(Step::ConfirmConnect))?;
        let mut stream = opened.stream;
        self.line.begin_step();
        let confirmed = match Confirmation::begin(serial, key, &mut self.line.buffers.out) {
            Ok(confirmation) => match self.line.exchange(&mut stream).await {
                Ok(packet) => confirmation.hear(&packet),
                Err(mishap) => Err(mishap),
            },
            Err(mishap) => Err(mishap),
        };
        confirmed.map_err(|mishap| mishap.at(Step::ConfirmConnack))?;
        timings.set(Phase::Confirm, begun.elapsed());
        Ok(stream)
    }
}
