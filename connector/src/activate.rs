//! Activation on its own: to the first login with a stored key, and no further.

use std::time::Duration;

use firstwake::ActivationCode;
use tokio::time::timeout;

use crate::credentials::{Handover, Stored};
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

/// Activates the device, or finishes an activation that was interrupted. A
/// device whose key was burnt in needs no code.
///
/// When it returns well, the credentials are stored and a login with them has
/// succeeded. Trouble is retried until `give_up_after`; a refusal is not. It
/// can be dropped at any moment and called again.
pub async fn activate(
    device: &Device,
    code: Option<&ActivationCode>,
    give_up_after: Duration,
) -> Result<Activated, ActivateError> {
    let mut waking = Waking::new(device, code);
    if let Some(stored) = waking.stored()?
        && stored.credentials().handover() == Handover::Confirmed
    {
        return Ok(Activated::Already(stored));
    }
    let first = waking.first()?.ok_or(ActivateError::NoCode)?;
    let wake = waking.wake(first);
    let Ok(ended) = timeout(give_up_after, wake).await else {
        return Err(ActivateError::GaveUp {
            after: give_up_after,
            last: waking.into_last_trouble(),
        });
    };
    let awake = ended?;
    awake.connection.close().await;
    Ok(Activated::Now(awake.stored))
}

impl From<NotAwake> for ActivateError {
    fn from(not: NotAwake) -> Self {
        match not {
            NotAwake::Refused(refusal) => Self::Refused(refusal),
            NotAwake::Credentials(error) => error.into(),
        }
    }
}
