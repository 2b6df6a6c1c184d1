//! What happened to a device, and what to do next, in words.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Device, Lifecycle};
use crate::identity::DeviceName;
use crate::product::Reactivation;
use crate::provision::door::attempts::{RefusedAttempt, SessionProblem};
use crate::provision::door::decide;
use crate::provision::{DeviceError, Provisioner};
use crate::refusal::Refusal;

/// What is known of a device's way in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The device.
    pub device: Device,
    /// What the product is called.
    pub product_name: String,
    /// Whether a block of the product keeps it out.
    pub product_blocked: bool,
    /// Since when this server remembers: its start. `None` where none serves.
    pub since: Option<Timestamp>,
    /// Its last refusals since the server started, the oldest first.
    pub attempts: Vec<RefusedAttempt>,
    /// What went wrong in its sessions since then, the oldest first.
    pub problems: Vec<SessionProblem>,
    /// One sentence: what to do next.
    pub advice: String,
}

impl Provisioner {
    /// Tells what happened to a device and what to do about it.
    pub async fn explain(
        &self,
        name: &DeviceName,
        now: Timestamp,
    ) -> Result<Explanation, DeviceError> {
        self.look_into_refusals().await?;
        let device = match self.find_device(name).await {
            Err(DeviceError::Unknown { name, similar }) => {
                return Err(match self.tell_of_stranger(&name).await? {
                    Some(tried) => DeviceError::Tried { name, tried },
                    None => DeviceError::Unknown { name, similar },
                });
            }
            found => found?,
        };
        let product = self.product_of(&device).await?;
        let mut attempts = self.attempts.of(device.feed);
        // Over HTTP a code comes without a serial: nobody knew then whose it
        // was meant to be.
        for (_, secret) in product.live(now) {
            let near_miss = ActivationCode::near_miss(secret, &device.serial);
            attempts.extend(self.attempts.of_code(&near_miss.digest()));
        }
        attempts.sort_by_key(|attempt| attempt.at);
        let problems = self.problems_of(&device);
        let seen = Seen {
            attempts: &attempts,
            problems: &problems,
            since: self.since,
        };
        let mut advice = advice(&device, product.record.reactivation, &seen, now);
        if device.put_aside().is_none() {
            let kept_out = match device.is_blocked(product.record.block) {
                true => Err(Refusal::ProductBlocked),
                false => decide::lease(&device, &product.record, now),
            };
            if let Err(refusal) = kept_out {
                advice = format!("{}.", refusal.advice());
            }
        }
        Ok(Explanation {
            product_name: product.record.name.clone(),
            product_blocked: device.is_blocked(product.record.block),
            device,
            since: self.since,
            attempts,
            problems,
            advice,
        })
    }
}

/// The failures of a device, and since when they are remembered.
struct Seen<'a> {
    attempts: &'a [RefusedAttempt],
    problems: &'a [SessionProblem],
    since: Option<Timestamp>,
}

/// The last failure says most, unless the device got further since.
fn advice(device: &Device, policy: Reactivation, seen: &Seen<'_>, now: Timestamp) -> String {
    let progress = device.confirmed_at.max(device.issued_at);
    let refused = seen.attempts.last().map(|last| {
        let advice = last.cause.map_or(last.refusal.advice(), Cause::advice);
        (last.at, advice)
    });
    let problem = seen
        .problems
        .last()
        .map(|last| (last.at, last.cause.advice()));
    if let Some((at, advice)) = refused.max(problem)
        && progress.is_none_or(|progress| progress <= at)
    {
        return format!("{advice}.");
    }
    if let Some(refusal) = device.put_aside() {
        return format!("{}.", refusal.advice());
    }
    let words = match device.lifecycle() {
        Lifecycle::Registered => {
            let check = "check that it is powered, reaches this server, and sends its serial as username and its activation code as password";
            return match seen.since {
                Some(since) => format!(
                    "Nothing was seen of it since {since}, when the server started; other servers on the registry know their own: {check}."
                ),
                None => format!("It has never been given a key: {check}."),
            };
        }
        Lifecycle::Issued if policy == Reactivation::Never => {
            "It was sent a key that it has not used, and its code works only once: if it lost the answer, `device reset` or `device reopen` lets it activate again."
        }
        Lifecycle::Issued => {
            "It was sent a key that it has not used yet: it may log in with that, or activate again."
        }
        _ if device.reactivation_until.is_some_and(|until| now < until) => {
            "It is active, and its code works again until the window closes."
        }
        _ => "Nothing needs to be done: it is active.",
    };
    words.to_owned()
}
