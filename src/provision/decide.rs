//! Every rule about who gets in, as functions of what is known.
//!
//! Nothing here waits, writes or looks anything up.

use crate::clock::Timestamp;
use crate::code::{ActivationCode, CodeMatch};
use crate::device::{Device, Keys};
use crate::identity::{DeviceName, FeedId, Serial};
use crate::product::Product;
use crate::refusal::Refusal;
use crate::secret::{KeyDigest, ProductSecret};

use super::catalogue::OpenProduct;

/// How many secrets of a product a code is held against, always: a product
/// that has fewer is padded, so that the work tells nothing.
pub(super) const SECRETS_TRIED: usize = 2;

/// What holding a code against one device's product showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeVerdict {
    /// Proved, with the secret of this generation.
    Right(u32),
    /// The near miss.
    SecretAsText,
    /// Nothing.
    Wrong,
}

/// Holds a code against a product's live secrets, doing the same work whatever
/// comes out. `None` stands for a device that does not exist.
pub(super) fn code_against(
    code: &ActivationCode,
    serial: &Serial,
    product: Option<&OpenProduct>,
    decoy: &ProductSecret,
    now: Timestamp,
) -> CodeVerdict {
    let live = product.into_iter().flat_map(|product| product.live(now));
    let padded = live
        .map(|(generation, secret)| (Some(generation), secret))
        .chain(std::iter::repeat((None, decoy)));
    let mut verdict = CodeVerdict::Wrong;
    for (generation, secret) in padded.take(SECRETS_TRIED) {
        match (code.matches(secret, serial), generation) {
            (CodeMatch::Right, Some(generation)) => verdict = CodeVerdict::Right(generation),
            (CodeMatch::SecretAsText, Some(_)) if verdict == CodeVerdict::Wrong => {
                verdict = CodeVerdict::SecretAsText;
            }
            _ => {}
        }
    }
    verdict
}

/// Whether a device that proved its code may have a key.
pub(super) fn activation(
    device: &Device,
    product: &Product,
    now: Timestamp,
) -> Result<(), Refusal> {
    may_stay(device, product)?;
    device.may_activate(product.reactivation, now)
}

/// What a login with a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyLogin {
    /// The confirmed key: nothing changes.
    Open,
    /// The pending key: it is confirmed first.
    Confirm,
}

/// Whether a device may log in with this key, which is one of its own.
pub(super) fn key_login(
    device: &Device,
    product: &Product,
    key: &KeyDigest,
) -> Result<KeyLogin, Refusal> {
    let login = match device.keys {
        Keys::Confirmed { current, .. } if current == *key => KeyLogin::Open,
        Keys::Confirmed {
            pending: Some(pending),
            ..
        }
        | Keys::Pending(pending)
            if pending == *key =>
        {
            KeyLogin::Confirm
        }
        _ => return Err(Refusal::KeyEnded),
    };
    may_stay(device, product)?;
    Ok(login)
}

/// Whether nothing that an operator did keeps the device out.
pub(super) fn may_stay(device: &Device, product: &Product) -> Result<(), Refusal> {
    device.put_aside().map_or(Ok(()), Err)?;
    if device.is_blocked(product.block) {
        return Err(Refusal::ProductBlocked);
    }
    Ok(())
}

/// Whether a session that was opened with this key may go on.
pub(super) fn may_stay_with(
    device: &Device,
    product: &Product,
    key: &KeyDigest,
) -> Result<(), Refusal> {
    if !matches!(device.keys, Keys::Confirmed { .. }) {
        // A reset took the key away; no newer one has replaced it.
        may_stay(device, product)?;
        return Err(Refusal::WrongKey);
    }
    match key_login(device, product, key)? {
        KeyLogin::Open => Ok(()),
        KeyLogin::Confirm => Err(Refusal::KeyEnded),
    }
}

/// What a username says about whose key is shown with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing, or this very device.
    Fits,
    /// Something else: refused if a device is called so. A number may be a
    /// feed and a serial.
    Foreign {
        feed: Option<FeedId>,
        name: Option<DeviceName>,
    },
}

/// Reads the username that came with a key.
pub(super) fn claim(device: &Device, username: Option<&str>) -> Claim {
    let Some(username) = username else {
        return Claim::Fits;
    };
    let feed = FeedId::parse(username).ok();
    let name = DeviceName::parse(username).ok();
    let names_it = name.as_ref().is_some_and(|name| name.fits(device));
    if names_it || feed == Some(device.feed) {
        Claim::Fits
    } else {
        Claim::Foreign { feed, name }
    }
}
