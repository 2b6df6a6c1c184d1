//! One slot of the reconnect storm: lets a device in, then the next.

use std::time::{Duration, Instant};

use crate::callers::Caller;
use crate::device::{Login, LoginTurn, write_farewell};
use crate::hold::HeldSession;
use crate::line::Line;
use crate::outcome::{Outcome, Step};
use crate::record::{Phase, Timings};
use crate::report::Handshakes;
use crate::route::Route;
use crate::stream::Stream;

use super::Then;

/// What is the same for every device.
pub(super) struct Terms {
    pub(super) route: Route,
    pub(super) then: Then,
    pub(super) step_deadline: Duration,
}

/// What was seen of one device.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) timings: Timings,
    pub(super) handshakes: Handshakes,
}

pub(super) struct Slot<'a> {
    terms: &'a Terms,
    line: Line<'a>,
}

impl<'a> Slot<'a> {
    pub(super) fn new(terms: &'a Terms) -> Self {
        Self {
            terms,
            line: Line::new(&terms.route, terms.step_deadline),
        }
    }

    /// One device, from its call to its place, and its session if it stays.
    pub(super) async fn live(&mut self, device: &Caller) -> (Attempt, Option<HeldSession>) {
        let mut attempt = Attempt {
            outcome: Outcome::LoggedIn,
            timings: Timings::default(),
            handshakes: Handshakes::default(),
        };
        match self.log_in(device, &mut attempt).await {
            Ok(stream) => {
                let session = self.settle(stream).await;
                (attempt, session)
            }
            Err(outcome) => {
                attempt.outcome = outcome;
                (attempt, None)
            }
        }
    }

    async fn log_in(&mut self, device: &Caller, attempt: &mut Attempt) -> Result<Stream, Outcome> {
        let begun = Instant::now();
        let opened = self.line.open().await;
        let opened = opened.map_err(|mishap| mishap.at(Step::Connect))?;
        attempt.timings.opened(&opened);
        attempt.handshakes.count(&opened.stream);
        let mut stream = opened.stream;

        let mut phase = (Step::Connack, Phase::Connack);
        let mut phase_begun = Instant::now();
        self.line.begin_step();
        let mut login = Login::begin(device, &mut self.line.buffers.out)
            .map_err(|mishap| mishap.at(phase.0))?;
        loop {
            let turn = match self.line.exchange(&mut stream).await {
                Ok(packet) => login.hear(&packet, &mut self.line.buffers.out),
                Err(mishap) => Err(mishap),
            };
            let now = Instant::now();
            match turn.map_err(|mishap| mishap.at(phase.0))? {
                LoginTurn::Waiting(next) => login = next,
                LoginTurn::Connected(next) => {
                    attempt.timings.set(phase.1, now - phase_begun);
                    phase = (Step::Suback, Phase::Suback);
                    phase_begun = now;
                    self.line.begin_step();
                    login = next;
                }
                LoginTurn::LoggedIn => {
                    attempt.timings.set(phase.1, now - phase_begun);
                    attempt.timings.set(Phase::Login, now - begun);
                    return Ok(stream);
                }
            }
        }
    }

    async fn settle(&mut self, mut stream: Stream) -> Option<HeldSession> {
        match self.terms.then {
            Then::Stay => HeldSession::new(stream),
            Then::Leave => {
                write_farewell(&mut self.line.buffers.out);
                self.line.leave(&mut stream).await;
                None
            }
        }
    }
}
