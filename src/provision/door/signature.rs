//! Devices that sign: their logins, and their requests to others' servers.
//!
//! A signature is looked at before anything else is said: who cannot sign
//! learns nothing. Used once means one conditional write: a login moves the
//! device's last login on, a request marks its counter.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Admission, DeviceLogin, NotAdmitted};
use super::decide::{self, Showing};
use super::tally::Folding;
use super::writes::Writer;
use crate::clock::Timestamp;
use crate::clones::{CloneSignal, Evidence};
use crate::code::DeviceKey;
use crate::device::{Device, Key};
use crate::hardware::Compared;

use crate::identity::{DeviceName, FeedId};
use crate::jws::Verifier;
use crate::provision::{OpenProduct, Provisioner};
use crate::refusal::Refusal;
use crate::registry::{Commit, Write};
use crate::signed::{Audience, Claims, RequestDigest, Unproved};

/// A device whose signature holds, and what it says.
struct Signed {
    device: Device,
    product: Arc<OpenProduct>,
    key: Key,
    claims: Claims,
}

impl Provisioner {
    pub(in crate::provision) async fn admit_signed(
        &self,
        username: Option<&str>,
        token: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Admission, NotAdmitted> {
        let mut paced = false;
        loop {
            let signed = self.prove(username, token, source, now).await?;
            let Some(login) = signed.claims.login() else {
                // A request's token lets nobody in.
                return Err(self.disproved(&signed.device, source, now));
            };
            let (device, product) = (&signed.device, &signed.product);
            let allowed = decide::signed_login(device, &product.record, now);
            let seat = self.seat(device, &product.record).await?;
            if let Err(refusal) = allowed.and(seat) {
                return Err(self.refuse(device, source, refusal, now).await);
            }
            if device.last_login.as_ref() >= Some(&login) {
                return Err(self.not_newer(&signed, source, now).await);
            }
            // Each login is a write: asked for before it, whatever comes of it.
            if !std::mem::replace(&mut paced, true)
                && self.writes.take(Writer::Login(device.feed), now).is_err()
            {
                return Err(self.hold_up(device, source, now));
            }
            let shown = (signed.claims.hardware(), Showing::by_signature(device));
            let board = self
                .judge_board(device, product, shown, source, now)
                .await?;
            let board = self.fold_board(device, board, now);
            let before = device.keys.current();
            let renewed = product.record.licence.renewed(device.lease_until, now);
            let changed = signed
                .device
                .sign_in(signed.key, login, source, now)
                .on_board(board, now)
                .leased_until(renewed, now);
            let admission = DeviceLogin::of(&changed.device, signed.key);
            if self.commit_seated(changed, &signed.product.record).await? == Commit::Done {
                if before != Some(signed.key) {
                    self.totals.confirmed.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(Admission::Device(admission));
            }
        }
    }

    /// Whether a device has signed this very request, which nobody has shown
    /// before. It must be active and sign already; a request confirms nothing.
    ///
    /// The caller says what is asked: the digest of what it received, the name
    /// that the server which received it has for itself, and where the request
    /// came from. A server that asks for others is not slowed for them.
    pub async fn verify_request(
        &self,
        token: &str,
        request: &RequestDigest,
        audience: &Audience,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<DeviceLogin, NotAdmitted> {
        let verified = match self.bans.covers(source, now) {
            true => Err(Refusal::Banned.into()),
            false => {
                self.verify_signed(token, request, audience, source, now)
                    .await
            }
        };
        if let Err(NotAdmitted::Refused(refusal)) = verified {
            self.count_turned_away(source, refusal);
        }
        verified
    }

    async fn verify_signed(
        &self,
        token: &str,
        request: &RequestDigest,
        audience: &Audience,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<DeviceLogin, NotAdmitted> {
        let signed = self.prove(None, token, source, now).await?;
        let (device, product) = (&signed.device, &signed.product);
        let Some((counter, signed_request)) = signed.claims.request() else {
            return Err(self.disproved(device, source, now));
        };
        if device.keys.current() != Some(signed.key) {
            return Err(self.disproved(device, source, now));
        }
        let same = match signed_request == *request && signed.claims.is_for(audience) {
            true => Ok(()),
            false => Err(Refusal::RequestAltered),
        };
        let allowed = decide::signed_login(device, &product.record, now).and(same);
        if let Err(refusal) = allowed {
            return Err(self.refuse(device, source, refusal, now).await);
        }
        let feed = device.feed;
        if self.writes.take(Writer::Request(feed), now).is_err() {
            return Err(self.hold_up(device, source, now));
        }
        let shown = (signed.claims.hardware(), Showing::Login);
        self.judge_board(device, product, shown, source, now)
            .await?;
        let write = Write::Counted { feed, counter };
        match self.registry.commit(write, Vec::new()).await? {
            Commit::Done => Ok(DeviceLogin::of(device, signed.key)),
            // A request may be sent twice, or come late, by nobody's fault.
            Commit::Lost => {
                let refusal = Refusal::TokenReplayed;
                Err(self.refuse(device, source, refusal, now).await)
            }
        }
    }

    /// The device that signed a token, if the signature holds and it is good
    /// now.
    async fn prove(
        &self,
        username: Option<&str>,
        token: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Signed, NotAdmitted> {
        let unproved = Unproved::read(token).ok_or(Refusal::TokenInvalid)?;
        let name = unproved.name();
        let named = username.map(DeviceName::parse).transpose();
        let named = named.map_err(|_| Refusal::TokenInvalid)?;
        let fits = |named: &DeviceName| {
            named.serial == name.serial
                && (named.product.is_none() || named.product == name.product)
        };
        if !named.as_ref().is_none_or(fits) {
            return Err(Refusal::TokenInvalid.into());
        }
        let Some((device, product)) = self.candidates(name).await?.pop() else {
            return Err(self.stranger(&unproved, source, now).await?);
        };
        let keys = decide::signing_keys(&device, &product, now);
        for &key in &keys {
            let Some(claims) = signed_with(&unproved, &device, &product, &key) else {
                continue;
            };
            if !claims.is_timely(now) || is_of_another_life(&device, &claims, now) {
                let refusal = Refusal::TokenExpired;
                return Err(self.refuse(&device, source, refusal, now).await);
            }
            return Ok(Signed {
                device,
                product,
                key,
                claims,
            });
        }
        self.try_other_keys(&unproved, &keys);
        Err(self.disproved(&device, source, now))
    }

    /// Holds a token against as many keys of each kind as there may be and were
    /// not among these, which nobody has signed with: a device that has no such
    /// key takes no less time than one that has, nor than one that does not
    /// exist.
    fn try_other_keys(&self, unproved: &Unproved<'_>, tried: &[Key]) {
        let derived = tried.iter().filter(|key| matches!(key, Key::Derived(_)));
        for _ in derived.count()..decide::LIVE_SECRETS {
            let key = DeviceKey::derive(&self.decoy, &unproved.name().serial);
            drop(unproved.prove(Verifier::DeviceKey(&key)));
        }
        if !tried.iter().any(|key| matches!(key, Key::Public(_))) {
            drop(unproved.prove(Verifier::Ed25519(&self.decoy_key)));
        }
    }

    /// A token of nobody's, at the price of somebody's.
    async fn stranger(
        &self,
        unproved: &Unproved<'_>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<NotAdmitted, NotAdmitted> {
        if let Some(other) = self.registry.device(self.somebody()).await? {
            self.product_of(&other).await?;
        }
        self.try_other_keys(unproved, &[]);
        let refusal = Refusal::UnknownDevice;
        self.attempts.keep(FeedId::NOBODYS, source, refusal, now);
        Ok(refusal.into())
    }

    /// A login that does not come behind the last one. Where a clock that was
    /// wrong is the reason for it, nothing is suspected: an alarm would put aside
    /// every device that logged in meanwhile.
    async fn not_newer(&self, signed: &Signed, source: IpAddr, now: Timestamp) -> NotAdmitted {
        let refusal = match &signed.device.last_login {
            Some(last) if last.is_floor() => Refusal::TokenExpired,
            Some(last) if last.is_ahead_of(now) => Refusal::TokenReplayed,
            _ => return self.replayed(signed, source, now).await,
        };
        self.refuse(&signed.device, source, refusal, now).await
    }

    /// A token that was used: it may have been recorded on the way, or the key
    /// copied.
    async fn replayed(&self, signed: &Signed, source: IpAddr, now: Timestamp) -> NotAdmitted {
        let (device, product) = (&signed.device, &signed.product);
        // Either may be the copy: a copy whose clock is ahead shuts the original
        // out, and it is the original then that comes too late.
        let evidence = Evidence {
            other: device.last_login_from,
            ..Evidence::from_source(source)
        };
        let signal = CloneSignal::TokenReplayed;
        if let Err(error) = self.suspect(device, product, signal, evidence, now).await {
            return error.into();
        }
        let refusal = Refusal::TokenReplayed;
        self.refuse(device, source, refusal, now).await
    }

    /// A token that this device has not signed, or not for that.
    fn disproved(&self, device: &Device, source: IpAddr, now: Timestamp) -> NotAdmitted {
        let refusal = Refusal::TokenInvalid;
        self.attempts.keep(device.feed, source, refusal, now);
        refusal.into()
    }

    /// A device that has proved itself and goes too fast.
    fn hold_up(&self, device: &Device, source: IpAddr, now: Timestamp) -> NotAdmitted {
        let refusal = Refusal::Throttled;
        self.attempts.keep(device.feed, source, refusal, now);
        refusal.into()
    }

    /// A board whose facts change all the time is written down once a minute.
    fn fold_board(&self, device: &Device, board: Compared, now: Timestamp) -> Compared {
        let is_change = !device.hardware.is_empty() && board.next != device.hardware;
        if is_change && self.folded.due(Folding::Board(device.feed), now).is_none() {
            return Compared::unchanged(&device.hardware);
        }
        board
    }

    /// A device that has proved itself and is kept out.
    async fn refuse(
        &self,
        device: &Device,
        source: IpAddr,
        refusal: Refusal,
        now: Timestamp,
    ) -> NotAdmitted {
        self.refuse_proved(device, source, refusal, now).await;
        refusal.into()
    }
}

/// The claims, if they were signed with this key of the device's.
fn signed_with(
    unproved: &Unproved<'_>,
    device: &Device,
    product: &OpenProduct,
    key: &Key,
) -> Option<Claims> {
    match key {
        Key::Api(_) => None,
        Key::Public(key) => unproved.prove(Verifier::Ed25519(key)),
        Key::Derived(generation) => {
            let secret = product.of_generation(*generation)?;
            let key = DeviceKey::derive(secret, &device.serial);
            unproved.prove(Verifier::DeviceKey(&key))
        }
    }
}

/// Whether it was signed before the device was registered: perhaps by one of
/// the same serial that was removed. A device that was registered in the
/// future, as the clock was wrong then, says nothing about that.
///
/// A login dated in whole seconds may be of the second of the registration: one
/// that was used before it does not come behind the device's first mark. A
/// request has no such mark.
fn is_of_another_life(device: &Device, claims: &Claims, now: Timestamp) -> bool {
    let issued = claims.issued_at().as_millis();
    let registered = device.registered_at.as_millis();
    let counts_seconds = claims.login().is_some() && issued.is_multiple_of(1000);
    let earliest = match counts_seconds {
        true => registered / 1000 * 1000,
        false => registered,
    };
    issued < earliest && device.registered_at <= now
}
