//! What operators do to devices, one or many.

use std::time::Duration;

use firstwake::{
    Device, DeviceError, DeviceFilter, DeviceName, Lifecycle, ProductId, Timestamp, Transition,
    TransitionError,
};

use super::{CHUNK, known};
use crate::control::declined::Declined;
use crate::control::request::{Act, DevicePage, Failure, Outcome};
use crate::downlink::Dispatch;

/// Devices read at once.
const PAGE: usize = 1000;
/// Devices looked at for one page of those that are looked for.
const LOOK: usize = 100_000;

/// The next devices that the filter takes. The page is short where they are
/// rare: nobody may have the whole registry read with one question.
pub(super) async fn page(
    product: Option<ProductId>,
    after: Option<DeviceName>,
    filter: &DeviceFilter,
    limit: usize,
    dispatch: &Dispatch<'_>,
) -> Result<DevicePage, Declined> {
    let registry = dispatch.provisioner.registry();
    let (begun, mut last) = match after {
        Some(name) => (name.product, Some(name.serial)),
        None => (None, None),
    };
    let mut products: Vec<ProductId> = match product {
        Some(one) => vec![known::product(&one, dispatch).await?.id],
        None => registry
            .products()
            .await?
            .into_iter()
            .map(|it| it.id)
            .collect(),
    };
    if let Some(begun) = begun {
        if last.is_some() && products.binary_search(&begun).is_err() {
            // It was removed meanwhile: on with the next.
            last = None;
        }
        products.retain(|id| *id >= begun);
    }
    let mut found = DevicePage {
        devices: Vec::new(),
        next: None,
    };
    let mut looked = 0;
    for id in products {
        loop {
            let read = registry.devices(&id, last.as_ref(), PAGE).await?;
            if read.is_empty() {
                last = None;
                break;
            }
            for device in read {
                looked += 1;
                last = Some(device.serial.clone());
                if filter.takes(&device) {
                    found.devices.push(device.into());
                }
                if found.devices.len() >= limit || looked >= LOOK {
                    found.next = last.map(|serial| DeviceName {
                        product: Some(id),
                        serial,
                    });
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// Changes one device. What is so already is as good as done.
pub(super) async fn change(
    name: &DeviceName,
    act: Act,
    dispatch: &Dispatch<'_>,
) -> Result<Device, Declined> {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    match provisioner
        .change_device(name, transition(act, now), now)
        .await
    {
        Err(DeviceError::Transition(TransitionError::Already(_))) => {
            Ok(provisioner.find_device(name).await?)
        }
        changed => Ok(changed?),
    }
}

pub(super) async fn change_many(
    names: &[DeviceName],
    act: Act,
    dispatch: &Dispatch<'_>,
) -> Outcome {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let transition = transition(act, now);
    let mut outcome = Outcome::default();
    for chunk in names.chunks(CHUNK) {
        let each = provisioner.change_devices(chunk, transition, now).await;
        outcome.add(chunk, each.into_iter().map(became));
    }
    outcome
}

/// Excepts devices from a block that is being prepared.
pub(super) async fn except(
    product: &ProductId,
    block: u32,
    names: &[DeviceName],
    dispatch: &Dispatch<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for chunk in names.chunks(CHUNK) {
        let each = dispatch.provisioner.except(product, block, chunk).await;
        let each = each.into_iter().map(|one| one.map(|()| Became::Changed));
        outcome.add(chunk, each);
    }
    outcome
}

/// What became of one device of many.
enum Became {
    Changed,
    Already,
}

/// Of many devices, some are so already: nothing that anybody has to look at.
fn became(changed: Result<Device, DeviceError>) -> Result<Became, DeviceError> {
    use Lifecycle::{Active, Issued, Registered};
    match changed {
        Ok(_) => Ok(Became::Changed),
        Err(DeviceError::Transition(
            TransitionError::Already(_)
            | TransitionError::NotIn {
                found: Registered | Issued | Active,
                ..
            },
        )) => Ok(Became::Already),
        Err(error) => Err(error),
    }
}

impl Outcome {
    fn add(
        &mut self,
        names: &[DeviceName],
        each: impl IntoIterator<Item = Result<Became, DeviceError>>,
    ) {
        for (name, one) in names.iter().zip(each) {
            match one {
                Ok(Became::Changed) => self.changed += 1,
                Ok(Became::Already) => self.already += 1,
                Err(error) => self.failed.push(Failure {
                    device: name.clone(),
                    reason: error.to_string(),
                }),
            }
        }
    }
}

fn transition(act: Act, now: Timestamp) -> Transition {
    match act {
        Act::Suspend => Transition::Suspend,
        Act::Resume => Transition::Resume,
        Act::Quarantine => Transition::Quarantine,
        Act::Release => Transition::Release,
        Act::Revoke => Transition::Revoke,
        Act::Reset => Transition::Reset,
        Act::ResetFromRevoked => Transition::ResetFromRevoked,
        Act::Reopen { seconds } => Transition::Reopen {
            until: now.plus(Duration::from_secs(seconds)),
        },
        Act::ForgetHardware => Transition::ForgetHardware,
        Act::Renew => Transition::Renew,
    }
}
