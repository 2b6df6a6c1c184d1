//! Values coming in, until there are no more or somebody says stop.
//!
//! The end has two parts: from the moment it is near, a deadline runs; what
//! was read before is still handed out.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::outbox::Room;
use crate::values::Value;

/// What comes in.
pub(crate) enum Taken {
    /// A value.
    Value(Value),
    /// There will be no further value.
    Exhausted,
    /// The end took too long.
    Overtime,
}

pub(crate) struct Intake<S> {
    values: mpsc::Receiver<Value>,
    stop: Pin<Box<S>>,
    /// How long the end may take.
    patience: Duration,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    Open,
    /// Told to stop; what is in the channel still counts.
    Stopping {
        deadline: Instant,
    },
    Exhausted {
        deadline: Instant,
    },
}

impl<S: Future<Output = ()>> Intake<S> {
    pub(crate) fn new(values: mpsc::Receiver<Value>, stop: S, patience: Duration) -> Self {
        Self {
            values,
            stop: Box::pin(stop),
            patience,
            phase: Phase::Open,
        }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self.phase, Phase::Exhausted { .. })
    }

    /// The next thing that happens; without room, no value is taken.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self, room: Room) -> Taken {
        loop {
            let taken = match self.phase {
                Phase::Open => select! {
                    value = self.values.recv(), if room == Room::Left => value,
                    () = &mut self.stop => {
                        self.values.close();
                        self.phase = Phase::Stopping { deadline: self.deadline() };
                        continue;
                    }
                },
                Phase::Stopping { deadline } => select! {
                    value = self.values.recv(), if room == Room::Left => value,
                    () = sleep_until(deadline) => return Taken::Overtime,
                },
                Phase::Exhausted { deadline } => {
                    sleep_until(deadline).await;
                    return Taken::Overtime;
                }
            };
            return match taken {
                Some(value) => Taken::Value(value),
                None => {
                    self.phase = Phase::Exhausted {
                        deadline: self.deadline(),
                    };
                    Taken::Exhausted
                }
            };
        }
    }

    /// The one that runs already, or one from now on.
    fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Open => Instant::now() + self.patience,
            Phase::Stopping { deadline } | Phase::Exhausted { deadline } => deadline,
        }
    }
}
