//! How far a storm has come, for whoever draws it.
//!
//! The storm counts and never waits for a reader; a caller polls
//! [`Progress::counts`] as often as its screen needs.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::outcome::Outcome;

/// Shared between one storm and those who watch it.
#[derive(Debug)]
pub struct Progress {
    activated: AtomicU64,
    confirmed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    done: AtomicU64,
    stage: watch::Sender<Stage>,
}

/// What the storm is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Devices activate and confirm.
    Storming,
    /// Every device is done, and the confirmed sessions are held open.
    /// Reached only by a plan that holds.
    Holding,
    /// Every connection is closed.
    Over,
}

/// Devices so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Have their answer, whatever came after.
    pub activated: u64,
    /// Were let in with their key.
    pub confirmed: u64,
    /// Were told no.
    pub refused: u64,
    /// Came to any other bad end.
    pub failed: u64,
    /// Came to any end.
    pub done: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            activated: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stage: watch::Sender::new(Stage::Storming),
        }
    }
}

impl Progress {
    /// The counts now; each is right, though not all of the same instant.
    pub fn counts(&self) -> Counts {
        Counts {
            activated: self.activated.load(Ordering::Relaxed),
            confirmed: self.confirmed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
        }
    }

    /// Follows the stages. They only advance, but a storm that cannot start
    /// stays in the first: wait for the storm's own result as well.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(crate) fn device_activated(&self) {
        self.activated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn device_done(&self, outcome: Outcome) {
        match outcome {
            Outcome::Activated
            | Outcome::Enrolled
            | Outcome::LoggedIn
            | Outcome::Secured
            | Outcome::Published => {}
            Outcome::Confirmed => {
                self.confirmed.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::TimedOut(_)
            | Outcome::Closed(_)
            | Outcome::Unreachable(_)
            | Outcome::NoTls(_)
            | Outcome::Malformed(_)
            | Outcome::ForeignAnswer
            | Outcome::NoSocket => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
