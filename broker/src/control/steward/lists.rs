//! Lists of devices: taken in, and given to a factory.

use std::collections::HashSet;

use firstwake::registry::Registration;
use firstwake::{Imported, ProductId, Serial};

use crate::control::declined::{Because, Declined};
use crate::control::request::{CodeOf, CodePage, Registered};
use crate::control::wish::{DevicesWish, ImportWish};
use crate::downlink::Dispatch;

/// Codes given out at once, at most.
const CODES: usize = 10_000;

pub(super) async fn register(
    wish: DevicesWish,
    dispatch: &Dispatch<'_>,
) -> Result<Registered, Declined> {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let product = wish.product_id;
    let devices = wish.serials;
    let all = devices.len();
    let serials: HashSet<Serial> = devices.iter().map(|one| one.serial.clone()).collect();
    let repeated = all - serials.len();
    let known = if wish.dry_run {
        let serials: Vec<Serial> = serials.into_iter().collect();
        let known = provisioner.are_known(&product, &serials).await?;
        known.into_iter().filter(|is_known| *is_known).count()
    } else {
        let devices = devices.into_iter().map(Into::into).collect();
        let outcome = provisioner.register(&product, devices, now).await?;
        let is_known = |one: &&Registration| matches!(one, Registration::Known(_));
        // The store finds a serial known that stands before in the same list.
        outcome
            .iter()
            .filter(is_known)
            .count()
            .saturating_sub(repeated)
    };
    Ok(Registered {
        new: all - known - repeated,
        known,
        repeated,
    })
}

pub(super) async fn finish_import(
    wish: &ImportWish,
    dispatch: &Dispatch<'_>,
) -> Result<(), Declined> {
    let imported = Imported {
        new: wish.new,
        known: wish.known,
        rejected: wish.rejected,
    };
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    provisioner
        .finish_import(&wish.product_id, imported, now)
        .await?;
    Ok(())
}

pub(super) async fn codes(
    product: &ProductId,
    after: Option<&Serial>,
    limit: usize,
    dispatch: &Dispatch<'_>,
) -> Result<CodePage, Declined> {
    if !(1..=CODES).contains(&limit) {
        let sentence = format!("a page has from 1 to {CODES} codes (limit)");
        return Err(Because::Invalid.told(sentence));
    }
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let page = provisioner.export_codes(product, after, limit, now).await?;
    let last = page.last().map(|(device, _)| device.serial.clone());
    Ok(CodePage {
        next: last.filter(|_| page.len() == limit),
        devices: page
            .into_iter()
            .map(|(device, code)| CodeOf {
                serial: device.serial,
                label: device.label,
                activation_code: code.expose_hex(),
            })
            .collect(),
    })
}
