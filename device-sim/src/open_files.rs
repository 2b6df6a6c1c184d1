//! How many connections this process may hold open.
//!
//! Raising the soft limit to the hard one is harmless and needs no rights; a
//! fleet that still does not fit is refused before it starts, in words, rather
//! than half-way through as a thousand failed devices.

use rlimit::{Resource, increase_nofile_limit};

/// Files that are open for other reasons: the runtime's, standard streams,
/// listeners of whoever runs the fleet.
const RESERVE: u64 = 64;

/// Why a fleet does not fit.
#[derive(Debug, thiserror::Error)]
pub enum OpenFilesError {
    /// The hard limit is too low.
    #[error(
        "{needed} connections have to be open at once, but this process may open {allowed} files \
         and keeps {RESERVE} for itself: raise the limit (ulimit -Hn) or ask for fewer devices"
    )]
    TooFew {
        /// Connections at once.
        needed: u64,
        /// The limit, after raising it.
        allowed: u64,
    },
    /// The system would not say.
    #[error("cannot read or raise the limit of open files: {0}")]
    Unknown(#[from] std::io::Error),
}

/// Raises the soft limit to the hard one, for the whole process.
pub(crate) fn raise() -> Result<u64, OpenFilesError> {
    let (_, hard) = Resource::NOFILE.get()?;
    Ok(increase_nofile_limit(hard)?)
}

/// Makes room for `connections` at once.
pub(crate) fn reserve(connections: usize) -> Result<(), OpenFilesError> {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX);
    fits(needed, raise()?)
}

fn fits(needed: u64, allowed: u64) -> Result<(), OpenFilesError> {
    if needed.saturating_add(RESERVE) <= allowed {
        Ok(())
    } else {
        Err(OpenFilesError::TooFew { needed, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_fits_with_its_reserve() {
        assert!(fits(0, RESERVE).is_ok());
        assert!(fits(936, 1_000).is_ok());
        let refusal = fits(937, 1_000).expect_err("one too many");
        assert!(refusal.to_string().starts_with("937 connections"));
        assert!(fits(u64::MAX, 1_000).is_err());
    }
}
