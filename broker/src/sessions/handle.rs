//! What the outside signals one session with: a few words and a waker.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use firstwake::{Entropy, Peer, Refusal, Timestamp};
use tokio::sync::Notify;

use crate::bus::Message;
use crate::edge::Tick;
use crate::mqtt::packet::Farewell;

/// Messages that may be handed to a session before it takes them; more are
/// lost, as their quality allows.
pub(super) const HANDED: usize = 64;
/// Bytes of those, unless it is a single one.
pub(super) const HANDED_BYTES: usize = 256 * 1024;

/// What the outside holds of a session: a few words to end or poke it with.
#[derive(Debug)]
pub(crate) struct Handle {
    waker: AtomicWaker,
    /// A [`Farewell`] once somebody wants the session to end.
    end: AtomicU8,
    poked: AtomicBool,
    /// Something came into the mailbox, or was handed over.
    mail: AtomicBool,
    /// The device's feed has changed, and not by what it sent here.
    values: AtomicBool,
    handed: Mutex<VecDeque<Arc<Message>>>,
    gone: Notify,
    deadline: AtomicU32,
    origin: Origin,
}

/// Where and when a session's peer connected, and what it called itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: IpAddr,
    pub(crate) began: Began,
    /// The beginning of its client id: enough to tell two apart, and to be
    /// shown to an operator.
    pub(crate) client_id: Box<str>,
}

/// When a session began, as a number that no two sessions have, whichever
/// servers they are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Began(u64);

impl Began {
    /// Below the milliseconds: chance, so that of two that began at once one is
    /// the later for everybody.
    const CHANCE: u32 = 20;

    pub(crate) fn draw(at: Timestamp, entropy: &dyn Entropy) -> Self {
        let mut chance = [0; 4];
        entropy.fill(&mut chance);
        let chance = u64::from(u32::from_be_bytes(chance) >> (u32::BITS - Self::CHANCE));
        Self(Self::at(at).0 | chance)
    }

    /// The earliest of this moment.
    pub(crate) fn at(at: Timestamp) -> Self {
        Self(at.as_millis() << Self::CHANCE)
    }

    pub(crate) fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<u64> for Began {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<&Origin> for Peer {
    fn from(origin: &Origin) -> Self {
        Self {
            source: origin.source,
            client_id: origin.client_id.to_string(),
        }
    }
}

impl Origin {
    /// From where the session's peer came.
    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    /// Bytes that are kept of a client id. There are thousands of them.
    const CLIENT_ID: usize = 64;

    pub(crate) fn new(source: IpAddr, client_id: &str, began: Began) -> Self {
        let kept = client_id.floor_char_boundary(Self::CLIENT_ID);
        Self {
            source,
            began,
            client_id: client_id[..kept].into(),
        }
    }
}

impl Handle {
    pub(super) fn new(origin: Origin, deadline: Tick) -> Self {
        Self {
            origin,
            waker: AtomicWaker::new(),
            end: AtomicU8::new(0),
            poked: AtomicBool::new(false),
            mail: AtomicBool::new(false),
            values: AtomicBool::new(false),
            handed: Mutex::default(),
            gone: Notify::new(),
            deadline: AtomicU32::new(deadline.0),
        }
    }

    #[cfg(test)]
    pub(crate) fn unplaced() -> Arc<Self> {
        let long_ago = Began::at(Timestamp::from_millis(0));
        let origin = Origin::new(std::net::Ipv4Addr::LOCALHOST.into(), "", long_ago);
        Arc::new(Self::new(origin, Tick::NEVER))
    }

    /// Whose connection it is.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Has `waker` called at the next signal. Look at the signals after this.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Why the session has to end, if it has.
    pub(crate) fn ended(&self) -> Option<Farewell> {
        match self.end.load(Ordering::Acquire) {
            0 => None,
            n => Some(ENDS[usize::from(n) - 1]),
        }
    }

    /// Whether a newer session is what ended this one: it was open until then.
    pub(crate) fn is_displaced(&self) -> bool {
        matches!(self.ended(), Some(Farewell::TakenOver | Farewell::Replaced))
    }

    /// Whether the session has to check its admission again. Asking clears it.
    pub(crate) fn take_poke(&self) -> bool {
        self.poked.load(Ordering::Acquire) && self.poked.swap(false, Ordering::AcqRel)
    }

    /// Whether there is mail. Asking clears it.
    pub(crate) fn take_mail(&self) -> bool {
        self.mail.load(Ordering::Acquire) && self.mail.swap(false, Ordering::AcqRel)
    }

    /// Whether the feed has changed. Asking clears it.
    pub(crate) fn take_values(&self) -> bool {
        self.values.load(Ordering::Acquire) && self.values.swap(false, Ordering::AcqRel)
    }

    /// What was handed over.
    pub(crate) fn take_handed(&self) -> VecDeque<Arc<Message>> {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *handed)
    }

    /// Tells whoever waits that the session has let go of what it shares.
    pub(crate) fn let_go(&self) {
        self.gone.notify_one();
    }

    /// Waits until the session has let go of what it shares. One waits at most:
    /// the session that took its place.
    pub(crate) async fn gone(&self) {
        self.gone.notified().await;
    }

    /// Puts the deadline off.
    pub(crate) fn set_deadline(&self, deadline: Tick) {
        self.deadline.store(deadline.0, Ordering::Relaxed);
    }

    /// Ends the session; the first reason given is the one it is told.
    pub(crate) fn end(&self, why: Farewell) {
        let position = ENDS.iter().position(|end| *end == why).unwrap_or(0);
        let code = u8::try_from(position + 1).unwrap_or(1);
        let first = self
            .end
            .compare_exchange(0, code, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_ok() {
            self.waker.wake();
        }
    }

    pub(super) fn tell_of_mail(&self) {
        self.mail.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn tell_of_values(&self) {
        self.values.store(true, Ordering::Release);
        self.tell_of_mail();
    }

    pub(super) fn hand(&self, message: Arc<Message>) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = handed.iter().map(|message| message.size()).sum();
        let fits = handed.is_empty() || bytes + message.size() <= HANDED_BYTES;
        if handed.len() < HANDED && fits {
            handed.push_back(message);
        }
        drop(handed);
        self.tell_of_mail();
    }

    pub(super) fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn is_late(&self, now: Tick) -> bool {
        self.deadline.load(Ordering::Relaxed) < now.0
    }
}

/// The ends that come from outside a session.
const ENDS: [Farewell; 7] = [
    Farewell::Administrative(Refusal::Banned),
    Farewell::TakenOver,
    Farewell::Replaced,
    Farewell::KeepAliveTimeout,
    Farewell::MaximumConnectTime,
    Farewell::QuotaExceeded,
    Farewell::ShuttingDown,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_client_id_is_kept_in_part() {
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        let long_ago = Began::at(Timestamp::from_millis(0));
        let kept = |client: &str| Origin::new(source, client, long_ago).client_id.len();
        assert_eq!(kept("LAMP-1"), 6);
        assert_eq!(kept(&"x".repeat(5000)), 64);
        assert_eq!(kept(&"\u{20ac}".repeat(30)), 63, "whole characters");
    }
}
