//! What happened to a device, and what to do next, in words.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Device, Lifecycle};
use crate::identity::DeviceName;
use crate::product::Reactivation;
use crate::provision::door::attempts::RefusedAttempt;
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
    /// Its last refusals since the server started, the oldest first.
    pub attempts: Vec<RefusedAttempt>,
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
        let device = self.find_device(name).await?;
        let product = self.product_of(&device).await?;
        let mut attempts = self.attempts.of(device.feed);
        // Over HTTP a code comes without a serial: nobody knew then whose it
        // was meant to be.
        for (_, secret) in product.live(now) {
            let near_miss = ActivationCode::near_miss(secret, &device.serial);
            attempts.extend(self.attempts.of_code(&near_miss.digest()));
        }
        attempts.sort_by_key(|attempt| attempt.at);
        let mut advice = advice(&device, product.record.reactivation, &attempts, now);
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
            attempts,
            advice,
        })
    }
}

/// The last refusal says most, unless the device got further since.
fn advice(
    device: &Device,
    policy: Reactivation,
    attempts: &[RefusedAttempt],
    now: Timestamp,
) -> String {
    let progress = device.confirmed_at.max(device.issued_at);
    if let Some(last) = attempts.last()
        && progress.is_none_or(|progress| progress <= last.at)
    {
        return format!("{}.", last.refusal.advice());
    }
    if let Some(refusal) = device.put_aside() {
        return format!("{}.", refusal.advice());
    }
    let words = match device.lifecycle() {
        Lifecycle::Registered => {
            "It has never been seen: check that it is powered, reaches this server, and sends its serial as username and its activation code as password."
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
