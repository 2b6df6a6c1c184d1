//! `firstwake man`: manual pages, one for each command.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;

/// Write the manual pages, one for each command, into a directory
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to put them; it is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Args {
    pub(super) fn run(self, command: Command) -> Result<()> {
        let written = fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(command, &self.dir));
        written.with_context(|| format!("{} cannot be written", self.dir.display()))
    }
}
