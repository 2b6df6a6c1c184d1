//! `firstwake registry`: the registry as a whole, on this machine.

mod reseal;

use std::path::Path;

use anyhow::Result;

use super::form::Form;

/// The registry as a whole
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Seal all that is sealed with a new sealing key, which takes the place of
    /// the one before; no server may be running
    Reseal,
}

impl Command {
    pub(super) async fn run(self, data_dir: &Path, form: Form) -> Result<()> {
        match self {
            Self::Reseal => reseal::run(data_dir, form).await,
        }
    }
}
