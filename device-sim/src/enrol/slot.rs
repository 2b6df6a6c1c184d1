//! One slot of the enrolment: takes a device through it, then the next.

use firstwake::{PrivateKey, Serial};
use serde_json::json;

use crate::callers::{Caller, key_pair};
use crate::device::{Enrolment, EnrolmentTurn};
use crate::line::Line;
use crate::outcome::{Outcome, Step};

use super::{EnrolPlan, Fleet};

pub(super) struct Slot<'a> {
    fleet: &'a Fleet,
    line: Line<'a>,
}

impl<'a> Slot<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        Self {
            fleet,
            line: Line::new(&fleet.route, fleet.plan.step_deadline),
        }
    }

    /// One device, from its call to its feed.
    pub(super) async fn live(&mut self, serial: &Serial) -> Outcome {
        match self.enrol(serial).await {
            Ok(()) => Outcome::Enrolled,
            Err(outcome) => outcome,
        }
    }

    async fn enrol(&mut self, serial: &Serial) -> Result<(), Outcome> {
        let device = Caller::with_code(&self.fleet.plan.secret, serial.clone());
        let pair = key_pair(&self.fleet.plan.secret, serial);
        let opened = self.line.open().await;
        let mut stream = opened.map_err(|mishap| mishap.at(Step::Connect))?.stream;

        let mut step = Step::Connack;
        self.line.begin_step();
        let mut enrolment = Enrolment::begin(&device, &mut self.line.buffers.out)
            .map_err(|mishap| mishap.at(step))?;
        loop {
            let packet = self.line.exchange(&mut stream).await;
            let packet = packet.map_err(|mishap| mishap.at(step))?;
            let out = &mut self.line.buffers.out;
            let turn = enrolment
                .hear(packet, out)
                .map_err(|mishap| mishap.at(step))?;
            step = Step::Answer;
            match turn {
                EnrolmentTurn::Waiting(next) => enrolment = next,
                EnrolmentTurn::Challenged(next, challenge) => {
                    let request = self.fleet.plan.request(&pair, serial, &challenge);
                    enrolment = next.ask(&request, out).map_err(|mishap| mishap.at(step))?;
                    self.line.begin_step();
                }
                EnrolmentTurn::Enrolled => {
                    self.line.leave(&mut stream).await;
                    return Ok(());
                }
            }
        }
    }
}

impl EnrolPlan {
    /// What enrols the public half of a pair.
    fn request(&self, pair: &PrivateKey, serial: &Serial, challenge: &str) -> Vec<u8> {
        let request = json!({
            "public_key": pair.public().to_string(),
            "challenge": challenge,
            "signature": pair.sign_enrolment(&self.product, serial, challenge),
        });
        request.to_string().into_bytes()
    }
}
