//! `firstwake registry`: the registry as a whole.

mod backup;
mod check;
mod reseal;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use firstwake::FeedId;
use firstwake::registry::check::Repair;

use super::form::Form;
use super::place::Place;
use crate::control::Unreachable;
use crate::home::{Home, Lock};

/// The registry as a whole
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Copy the registry as it is now into a directory, also while the server
    /// runs. The sealing key is not in the copy
    Backup {
        /// It is made, or is empty
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Put a backup into a data directory that has no registry
    Restore {
        /// What `registry backup` made
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The last feed that was given out since the backup: the next device
        /// gets the one behind it [default: a million behind the backup's]
        #[arg(long, value_name = "FEED")]
        feeds_after: Option<FeedId>,
    },
    /// Hold every index and count against the devices. The server must not run
    Check {
        /// Put right what can be computed: indexes and counts, never a device
        /// or product
        #[arg(long)]
        repair: bool,
        /// Give up what a damaged registry has lost, so that it opens without
        /// it. The last resort, where there is no backup
        #[arg(long, requires = "repair")]
        accept_loss: bool,
    },
    /// Seal all that is sealed with a new sealing key, which takes the place of
    /// the one before; no server may be running
    Reseal,
}

impl Command {
    pub(super) async fn run(self, place: &Place, form: Form) -> Result<()> {
        match self {
            Self::Backup { directory } => backup::back_up(&directory, place, form).await,
            Self::Restore {
                directory,
                feeds_after,
            } => backup::restore(&directory, feeds_after, place, form),
            Self::Check {
                repair,
                accept_loss,
            } => {
                let repair = match (repair, accept_loss) {
                    (_, true) => Repair::AcceptLoss,
                    (true, false) => Repair::Mend,
                    (false, false) => Repair::Report,
                };
                check::run(repair, place, form).await
            }
            Self::Reseal => reseal::run(place, form).await,
        }
    }
}

/// The data directory of a registry that there is, with the right to touch it,
/// which a running server has.
fn lock_existing(place: &Place) -> Result<Lock> {
    let path = place.data_dir()?;
    if !path.join("lock").exists() {
        return Err(Unreachable::because(anyhow!(
            "there is no data directory {}: name the server's with --data-dir",
            path.display()
        ))
        .into());
    }
    lock(&Home::prepare(&path)?)
}

fn lock(home: &Home) -> Result<Lock> {
    home.try_lock()?.map_err(|in_use| {
        Unreachable::because(anyhow!(
            "the data directory {} is in use by process {}: stop it first",
            home.path().display(),
            in_use.by
        ))
        .into()
    })
}
