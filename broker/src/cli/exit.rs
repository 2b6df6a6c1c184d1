//! What a command's exit status says. Scripts rely on it: a number never
//! changes its meaning.

use anyhow::Error;

use crate::control::{Because, Declined, NoToken, Unreachable};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    /// Refused or failed: asking again will not help.
    Failed = 1,
    Usage = 2,
    /// The server or the registry: asking again may help.
    Unreachable = 3,
    NotFound = 4,
    NotAllowed = 5,
}

/// For `--help` and the manual.
pub(super) const TOLD: &str = "\
Exit status:
  0  done
  1  refused or failed: one sentence on standard error says why
  2  wrong usage
  3  the server or the registry cannot be reached or is in trouble; trying again may help
  4  no such thing
  5  not allowed";

impl Exit {
    pub(super) fn after(outcome: &Result<(), Error>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(error) if error.is::<NoToken>() => Self::Usage,
            Err(error) if error.is::<Unreachable>() => Self::Unreachable,
            Err(error) => error
                .downcast_ref::<Declined>()
                .map_or(Self::Failed, |declined| Self::declined(declined.because)),
        }
    }

    fn declined(because: Because) -> Self {
        match because {
            Because::Invalid | Because::Conflict => Self::Failed,
            Because::NotFound => Self::NotFound,
            Because::Forbidden => Self::NotAllowed,
            Because::Busy | Because::TooFast => Self::Unreachable,
        }
    }
}
