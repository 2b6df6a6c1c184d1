//! Every rule about who gets in, as functions of what is known.
//!
//! Nothing here waits, writes or looks anything up.

use crate::clock::Timestamp;
use crate::code::{ActivationCode, CodeMatch};
use crate::device::{Device, Key, Keys, Lifecycle};
use crate::hardware::{Compared, Facts, HardwareMode};
use crate::identity::{DeviceName, FeedId, Serial};
use crate::product::{Product, ProofPolicy};
use crate::refusal::Refusal;
use crate::registry::Census;
use crate::secret::ProductSecret;

use crate::provision::catalogue::OpenProduct;

/// How many secrets of a product are accepted at once.
pub(in crate::provision) const LIVE_SECRETS: usize = 2;

/// How many a code is held against, always: those that are accepted and the
/// last that was. A product that has fewer is padded, so that the work tells
/// nothing.
pub(in crate::provision) const SECRETS_TRIED: usize = LIVE_SECRETS + 1;

/// What holding a code against one device's product showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provision) enum CodeVerdict {
    /// Proved, with the secret of this generation.
    Right(u32),
    /// Made with a secret that is accepted no more: proves nothing, but an
    /// operator may know.
    Ended,
    /// The near miss.
    SecretAsText,
    /// Nothing.
    Wrong,
}

/// Products that may share a serial before a wrong code takes longer than for a
/// serial of one, or of none.
pub(in crate::provision) const SHARING: usize = 8;

/// Holds a code against a product's secrets, doing the same work whatever
/// comes out. `None` stands for a device that does not exist.
pub(in crate::provision) fn code_against(
    code: &ActivationCode,
    serial: &Serial,
    product: Option<&OpenProduct>,
    decoy: &ProductSecret,
    now: Timestamp,
) -> CodeVerdict {
    let live = product.into_iter().flat_map(|product| product.live(now));
    let live = live.map(|(generation, secret)| (CodeVerdict::Right(generation), secret));
    let ended = product.and_then(|product| product.last_ended(now));
    let ended = ended.map(|secret| (CodeVerdict::Ended, secret));
    let padded = live
        .take(LIVE_SECRETS)
        .chain(ended)
        .chain(std::iter::repeat((CodeVerdict::Wrong, decoy)));
    let mut verdict = CodeVerdict::Wrong;
    for (if_right, secret) in padded.take(SECRETS_TRIED) {
        match (code.matches(secret, serial), if_right) {
            (CodeMatch::Right, right) if verdict == CodeVerdict::Wrong => verdict = right,
            (CodeMatch::Right, right @ CodeVerdict::Right(_)) => verdict = right,
            (CodeMatch::SecretAsText, CodeVerdict::Right(_)) if verdict == CodeVerdict::Wrong => {
                verdict = CodeVerdict::SecretAsText;
            }
            _ => {}
        }
    }
    verdict
}

/// Whether a device that proved its code may have a key.
pub(in crate::provision) fn activation(
    device: &Device,
    product: &Product,
    now: Timestamp,
) -> Result<(), Refusal> {
    may_stay(device, product)?;
    if !product.takes_codes(now) {
        return Err(Refusal::CodeDisabled);
    }
    device.may_activate(product.reactivation, now)
}

/// What a login with a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provision) enum KeyLogin {
    /// The confirmed key: nothing changes.
    Open,
    /// The pending key: it is confirmed first.
    Confirm,
}

/// Whether a device may log in with this key, which is or was one of its own.
pub(in crate::provision) fn key_login(
    device: &Device,
    product: &Product,
    key: &Key,
    now: Timestamp,
) -> Result<KeyLogin, Refusal> {
    let login = match Some(*key) {
        current if current == device.keys.current() => KeyLogin::Open,
        pending if pending == usable_pending(device, product, now) => KeyLogin::Confirm,
        _ => return Err(Refusal::KeyEnded),
    };
    may_stay(device, product)?;
    takes(product, key)?;
    Ok(login)
}

/// The key that has not been used yet, if it may be. A first login ends an
/// activation, so the secret that the activation began with must be accepted
/// still: whoever got a key with a secret that an operator has ended since is
/// not let in by it.
pub(in crate::provision) fn usable_pending(
    device: &Device,
    product: &Product,
    now: Timestamp,
) -> Option<Key> {
    let pending = device.pending_in_window(now);
    pending.filter(|_| product.accepts(device.generation, now))
}

/// Whether the product takes keys of this kind.
fn takes(product: &Product, key: &Key) -> Result<(), Refusal> {
    match (product.proof, key.signs()) {
        (ProofPolicy::Signed, false) => Err(Refusal::KeyDisabled),
        (ProofPolicy::Code, true) => Err(Refusal::SigningDisabled),
        _ => Ok(()),
    }
}

/// Whether a device may log in with a signature of this key, which was held
/// against the right one.
pub(in crate::provision) fn signed_login(
    device: &Device,
    product: &Product,
    now: Timestamp,
) -> Result<(), Refusal> {
    may_stay(device, product)?;
    if product.proof == ProofPolicy::Code {
        return Err(Refusal::SigningDisabled);
    }
    lease(device, product, now)
}

/// What a device's signatures are held against, the one that it was to use
/// next first. A device that has enrolled a public key, or has signed before,
/// has that choice behind it; any other signs with the device key of one of
/// its product's live secrets.
pub(in crate::provision) fn signing_keys(
    device: &Device,
    product: &OpenProduct,
    now: Timestamp,
) -> Vec<Key> {
    let chosen: Vec<Key> = [
        usable_pending(device, &product.record, now),
        device.keys.current(),
    ]
    .into_iter()
    .flatten()
    .filter(Key::signs)
    .collect();
    match chosen.is_empty() {
        true => product
            .live(now)
            .map(|(generation, _)| Key::Derived(generation))
            .collect(),
        false => chosen,
    }
}

/// Whether a device's lease lets it in.
pub(in crate::provision) fn lease(
    device: &Device,
    product: &Product,
    now: Timestamp,
) -> Result<(), Refusal> {
    match device.lease_until {
        Some(until) if product.licence.counts(until) && until <= now => Err(Refusal::LeaseExpired),
        _ => Ok(()),
    }
}

/// Whether a device that has never been activated finds a seat.
pub(in crate::provision) fn seat(
    device: &Device,
    product: &Product,
    census: &Census,
) -> Result<(), Refusal> {
    let full = |seats| census.seats_taken() >= seats;
    match device.lifecycle() == Lifecycle::Registered && product.licence.seats.is_some_and(full) {
        true => Err(Refusal::NoSeats),
        false => Ok(()),
    }
}

/// What follows from the board that a device shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::provision) enum BoardVerdict {
    /// Let it in; this is what is known of it from now on.
    Fits(Compared),
    /// Let it in, but two may be using it.
    Suspect(Compared),
    /// Keep it out.
    Mismatch(Compared),
}

/// The step at which a device shows its board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provision) enum Showing {
    /// At its activation, with its code or with its first signature.
    Activation,
    /// Later, with a login or a request.
    Login,
}

impl Showing {
    /// The step that a signature of this device is.
    pub(in crate::provision) fn by_signature(device: &Device) -> Self {
        match device.keys {
            Keys::Confirmed { .. } => Self::Login,
            Keys::None | Keys::Pending(_) => Self::Activation,
        }
    }
}

/// Holds what a device shows of its board against what was enrolled.
pub(in crate::provision) fn board(
    device: &Device,
    product: &Product,
    shown: &Facts,
    showing: Showing,
) -> BoardVerdict {
    let policy = &product.hardware;
    let mut compared = policy.compare(&device.hardware, shown);
    if policy.mode == HardwareMode::Enforce && showing == Showing::Login && !device.enrols_board {
        // A copy might be the first to show it: an operator enrols it, or lets
        // one login do so.
        compared = compared.without_new(&device.hardware);
    }
    match (policy.mode, compared.broken.is_empty()) {
        (HardwareMode::Off, _) => BoardVerdict::Fits(Compared::unchanged(&device.hardware)),
        // What it shows is what it is; what it does not show stays known.
        (HardwareMode::Record, _) => BoardVerdict::Fits(compared.believed(shown)),
        (HardwareMode::Enforce, _) if shown.is_empty() => BoardVerdict::Mismatch(compared),
        (_, true) => BoardVerdict::Fits(compared),
        (HardwareMode::Warn, false) => BoardVerdict::Suspect(compared),
        (HardwareMode::Enforce, false) => BoardVerdict::Mismatch(compared),
    }
}

/// Whether nothing that an operator did keeps the device out.
pub(in crate::provision) fn may_stay(device: &Device, product: &Product) -> Result<(), Refusal> {
    device.put_aside().map_or(Ok(()), Err)?;
    if device.is_blocked(product.block) {
        return Err(Refusal::ProductBlocked);
    }
    Ok(())
}

/// Whether a session that was opened with this key may go on.
pub(in crate::provision) fn may_stay_with(
    device: &Device,
    product: &Product,
    key: &Key,
) -> Result<(), Refusal> {
    if !matches!(device.keys, Keys::Confirmed { .. }) {
        // A reset took the key away; no newer one has replaced it.
        may_stay(device, product)?;
        return Err(Refusal::WrongKey);
    }
    if device.keys.current() != Some(*key) {
        return Err(Refusal::KeyEnded);
    }
    may_stay(device, product)?;
    takes(product, key)
}

/// Whether what a device left, that logged in with this key, may be published.
pub(in crate::provision) fn may_leave_will(
    device: &Device,
    product: &Product,
    key: &Key,
) -> Result<(), Refusal> {
    may_stay(device, product)?;
    match device.keys {
        Keys::Confirmed { .. } => takes(product, key),
        // A reset took the key away.
        _ => Err(Refusal::WrongKey),
    }
}

/// Whether a username may come with a device's key: its serial, with or without
/// its product, its feed id, or nothing. Any other name is wrong, whether a
/// device is called so or not: the answer says nothing of other devices.
pub(in crate::provision) fn is_own_name(device: &Device, username: Option<&str>) -> bool {
    username.is_none_or(|username| {
        let is_name = DeviceName::parse(username).is_ok_and(|name| name.fits(device));
        is_name || FeedId::parse(username).is_ok_and(|feed| feed == device.feed)
    })
}
