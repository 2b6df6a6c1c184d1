//! Activation on its own: to the first login with a stored key, and no further.

use std::time::Duration;

use firstwake::ActivationCode;
use tokio::time::timeout;

use crate::credentials::{Handover, Stored};
use crate::decide;
use crate::device::Device;
use crate::error::ActivateError;
use crate::wake::{NotAwake, Waking};

/// How a device came to be active.
#[derive(Debug)]
pub enum Activated {
    /// By this call.
    Now(Stored),
    /// Before; nothing was sent.
    Already(Stored),
}

/// Activates the device, or finishes an activation that was interrupted.
///
/// When it returns well, the credentials are stored and a login with them has
/// succeeded. Trouble is retried until `give_up_after`; a refusal is not. It
/// can be dropped at any moment and called again.
pub async fn activate(
    device: &Device,
    code: &ActivationCode,
    give_up_after: Duration,
) -> Result<Activated, ActivateError> {
    let stored = match device.credentials.load(&device.serial)? {
        Some(stored) if stored.credentials().handover() == Handover::Confirmed => {
            return Ok(Activated::Already(stored));
        }
        pending => pending,
    };
    let mut waking = Waking::new(device, Some(code));
    let wake = waking.wake(decide::first(stored, code));
    let Ok(ended) = timeout(give_up_after, wake).await else {
        return Err(ActivateError::GaveUp {
            after: give_up_after,
            last: waking.into_last_trouble(),
        });
    };
    let awake = ended.map_err(|error| match error {
        NotAwake::Refused(refusal) => ActivateError::Refused(refusal),
        NotAwake::Load(error) => ActivateError::Load(error),
        NotAwake::Store(error) => ActivateError::Store(error),
    })?;
    awake.connection.close().await;
    Ok(Activated::Now(awake.stored))
}
